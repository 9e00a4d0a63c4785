// Loads the StructureDefinitions of a folder into Medplum's index; gives them by url.
const fs = require("fs");
const path = require("path");
const { loadDataType } = require("@medplum/core");

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

module.exports = { load };
