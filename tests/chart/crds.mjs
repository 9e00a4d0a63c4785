// Holds custom resources against models made from the upstream CRDs (@kubernetes-models): their own validators know
// patterns, enums and what is required; the TypeScript compiler knows fields that do not exist.
// In: a JSON list of objects on standard input. Out: a JSON list of complaints for each of them.
import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import ts from "typescript";

const HERE = dirname(fileURLToPath(import.meta.url));
const PACKAGES = {
  "gateway.networking.k8s.io": "gateway-api",
  "monitoring.coreos.com": "prometheus-operator",
  "keda.sh": "keda",
  "external-secrets.io": "external-secrets",
};

const objects = JSON.parse(readFileSync(0, "utf8"));
const complaints = objects.map(() => []);
const modules = objects.map((each) => {
  const group = each.apiVersion.split("/")[0];
  return `@kubernetes-models/${PACKAGES[group]}/${each.apiVersion}/${each.kind}`;
});

for (const [index, object] of objects.entries()) {
  const found = await import(modules[index]);
  try {
    new found[object.kind](object).validate();
  } catch (error) {
    complaints[index].push(String(error.message));
  }
}

const lines = [...new Set(modules)].map((name) => {
  const kind = name.split("/").at(-1);
  return `import type { I${kind} } from ${JSON.stringify(name)};`;
});
const first = lines.length;
for (const [index, object] of objects.entries()) {
  lines.push(`export const object${index}: I${object.kind} = ${JSON.stringify(object)};`);
}
const file = join(HERE, "objects.ts");
const options = { noEmit: true, strict: true, skipLibCheck: true, module: ts.ModuleKind.ESNext, target: ts.ScriptTarget.ES2022, moduleResolution: ts.ModuleResolutionKind.Bundler, types: [] };
const host = ts.createCompilerHost(options);
const [exists, read, source] = [host.fileExists, host.readFile, host.getSourceFile];
const text = lines.join("\n");
host.fileExists = (name) => name === file || exists.call(host, name);
host.readFile = (name) => (name === file ? text : read.call(host, name));
host.getSourceFile = (name, ...rest) =>
  name === file ? ts.createSourceFile(name, text, options.target) : source.call(host, name, ...rest);
for (const problem of ts.getPreEmitDiagnostics(ts.createProgram([file], options, host))) {
  const line = problem.file?.fileName === file ? problem.file.getLineAndCharacterOfPosition(problem.start).line : -1;
  const message = ts.flattenDiagnosticMessageText(problem.messageText, "\n");
  if (line >= first) complaints[line - first].push(message);
  else for (const each of complaints) each.push(`models unusable: ${message}`);
}
process.stdout.write(JSON.stringify(complaints));
