// StructureDefinitions of a folder, and Medplum's judgement of a resource by them.
const fs = require("fs");
const path = require("path");
const { loadDataType, validateResource } = require("@medplum/core");

// Profiles by url.
function load(folder) {
  const found = new Map();
  for (const name of folder ? fs.readdirSync(folder) : []) {
    if (name.startsWith("StructureDefinition-") && name.endsWith(".json")) {
      const definition = JSON.parse(fs.readFileSync(path.join(folder, name), "utf8"));
      loadDataType(definition);
      found.set(definition.url, definition);
    }
  }
  return found;
}

// Issues of severity error or fatal, by R4 itself or by one profile. Medplum 4.5.2 fires ras-2 (a probability is at most 100)
// where there is no probability; that one is left out.
function errors(resource, profile) {
  let issues;
  try {
    issues = validateResource(resource, { profile }) || [];
  } catch (error) {
    if (!error.outcome) {
      return [{ severity: "fatal", code: "exception", details: { text: String(error) } }];
    }
    issues = error.outcome.issue;
  }
  const probability = JSON.stringify(resource).includes('"probabilityDecimal"');
  return issues.filter((i) => probability || !(i.details?.text ?? "").includes("ras-2"));
}

module.exports = { errors, load };
