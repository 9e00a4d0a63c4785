// An independent FHIR client (fhir-kit-client) against a running service: node client.mjs BASE TOKEN PATIENT_IDENTIFIER.
// Writes what it saw as JSON. It stands for an EHR's integration engine: nothing here knows of our code.
import { Client } from "fhir-kit-client";

const [baseUrl, bearerToken, patient] = process.argv.slice(2);
const client = new Client({ baseUrl, bearerToken });
const seen = {};

const capability = await client.capabilityStatement();
seen.fhirVersion = capability.fhirVersion;
seen.types = capability.rest[0].resource.map((each) => each.type);
seen.smart = await client.smartAuthMetadata();

const all = [];
let pages = 0;
let bundle = await client.search({ resourceType: "Observation", searchParams: { "patient.identifier": patient, _count: 4 } });
seen.total = bundle.total;
while (bundle) {
  pages += 1;
  all.push(...bundle.entry.map((each) => each.resource.id));
  bundle = bundle.link.some((each) => each.relation === "next") ? await client.nextPage({ bundle }) : undefined;
}
seen.pages = pages;
seen.observations = all.length;
seen.distinct = new Set(all).size;

const posted = await client.search({
  resourceType: "DiagnosticReport",
  searchParams: { "patient.identifier": patient, _include: "DiagnosticReport:result" },
  options: { postSearch: true },
});
seen.posted = posted.entry.map((each) => `${each.search.mode} ${each.resource.resourceType}`);
const report = posted.entry[0].resource;

seen.read = (await client.read({ resourceType: "DiagnosticReport", id: report.id })).id === report.id;
seen.vread = (await client.vread({ resourceType: "DiagnosticReport", id: report.id, version: "1" })).meta.versionId;
seen.history = (await client.history({ resourceType: "DiagnosticReport", id: report.id })).type;
seen.resolved = (await client.resolve({ reference: report.result[0].reference })).resourceType;
const plan = await client.operation({
  resourceType: "PlanDefinition", id: "opportunistic-ct-bone", name: "apply",
  input: { resourceType: "Parameters", parameter: [{ name: "subject", valueString: patient }] },
});
seen.applied = `${plan.resourceType} with ${plan.contained[0].action.length > 0 ? "actions" : "nothing"}`;

async function refused(work) {
  try {
    await work();
    return "not refused";
  } catch (error) {
    return `${error.response.status} ${error.response.data.resourceType}`;
  }
}
seen.missing = await refused(() => client.read({ resourceType: "Observation", id: "nothing" }));
seen.unknown = await refused(() => client.search({ resourceType: "Observation", searchParams: { colour: "red" } }));
seen.creating = await refused(() => client.create({ resourceType: "Observation", body: { resourceType: "Observation" } }));
client.bearerToken = "wrong";
seen.wrongToken = await refused(() => client.search({ resourceType: "Observation", searchParams: {} }));

process.stdout.write(JSON.stringify(seen));
