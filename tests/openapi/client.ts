// Drives an engine through the client that is generated from schema/openapi.yaml: SERVER and TOKEN
// name it. Prints one line for each step; throws at the first thing that is not as described.
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import createClient from "openapi-fetch";
import type { components, paths } from "./api.js";

type Problem = components["schemas"]["Problem"];
type Request = components["schemas"]["Request"];

const VMS = 5;
const { SERVER, TOKEN } = process.env;
assert(SERVER && TOKEN, "SERVER and TOKEN are set");
const engine = createClient<paths>({
  baseUrl: SERVER,
  headers: { Authorization: `Bearer ${TOKEN}` },
});

function domain(name: string): string {
  return `<domain type='kvm'><name>${name}</name><uuid>${randomUUID()}</uuid>` +
    "<memory unit='MiB'>16</memory><vcpu>1</vcpu><os><type arch='x86_64'>hvm</type></os></domain>";
}

function refused(error: Problem | undefined, status: number, wanted: Problem["error_class"]) {
  assert(error, `a ${wanted} is refused`);
  assert.equal(error.status, status);
  assert.equal(error.error_class, wanted);
  assert(error.title && error.detail, "a problem says what is wrong");
}

async function define(): Promise<string[]> {
  const names = Array.from({ length: VMS }, (_, i) => `api-${i}`);
  const xml = `<domains>${names.map(domain).join("")}</domains>`;
  const { data, error } = await engine.POST("/v1/vms", {
    body: { xml, priority: 70, labels: { set: "generated" } },
  });
  assert(data, error?.detail);
  assert.deepEqual(data.vms.map((vm) => vm.vm_name), names);
  assert(data.vms.every((vm) => vm.state === "stopped" && vm.priority === 70));
  return data.vms.map((vm) => vm.vm_id);
}

async function start(key: string): Promise<Request> {
  const { data, error, response } = await engine.POST("/v1/requests", {
    params: { header: { "Idempotency-Key": key } },
    body: { selector: { set: "generated" } },
  });
  assert(data, error?.detail);
  assert.equal(response.status, 202);
  assert("request_id" in data, "no dry run was asked for");
  assert.equal(data.total, VMS);
  return data;
}

/** Follows the events of a request until its stream ends: its last state. */
async function follow(id: string): Promise<Partial<Request>> {
  const { data, error } = await engine.GET("/v1/requests/{id}/events", {
    params: { path: { id } },
    parseAs: "stream",
  });
  assert(data, error?.detail);
  let known: Partial<Request> = {};
  let rest = "";
  for await (const piece of data.pipeThrough(new TextDecoderStream())) {
    const events = (rest + piece).split("\n\n");
    rest = events.pop() ?? "";
    for (const event of events) {
      const field = (name: string) =>
        event.split("\n").find((line) => line.startsWith(`${name}: `))?.slice(name.length + 2);
      const text = field("data");
      if (text === undefined) continue;
      assert.match(field("id") ?? "", /^\d+-\d+$/);
      known = field("event") === "delta" ? { ...known, ...JSON.parse(text) } : JSON.parse(text);
    }
  }
  return known;
}

const ids = await define();
console.log(`defined ${ids.length} VMs`);

const dry = await engine.POST("/v1/requests", {
  params: { query: { dry_run: true } },
  body: { all: true },
});
assert(dry.data && "dry_run" in dry.data, dry.error?.detail);
assert(dry.data.vms.every((vm) => vm.host === "h1"));
console.log("a dry run names their host");

const key = randomUUID();
const request = await start(key);
assert.equal((await start(key)).request_id, request.request_id);
console.log("one bulk request, the same for the same key");
const reused = await engine.POST("/v1/requests", {
  params: { header: { "Idempotency-Key": key } },
  body: { all: true },
});
refused(reused.error, 422, "key_reused");

const last = await follow(request.request_id);
assert.equal(last.state, "succeeded");
assert.equal(last.running, VMS);
const shown = await engine.GET("/v1/requests/{id}", {
  params: { path: { id: request.request_id } },
});
assert(shown.data, shown.error?.detail);
assert.deepEqual({ ...shown.data }, { ...last });
console.log(`followed to ${last.state} in ${last.batches} batches`);

const history = await engine.GET("/v1/history", {
  params: { query: { request: request.request_id, outcome: "succeeded", limit: 100 } },
});
assert(history.data, history.error?.detail);
assert(typeof history.data !== "string", "a page is JSON");
const attempts = history.data.attempts;
assert.deepEqual(attempts.map((attempt) => attempt.vm_id).sort(), [...ids].sort());
assert(attempts.every((attempt) => attempt.host === "h1" && attempt.state === "running"));
assert(attempts.every((attempt) => Date.parse(attempt.running_at ?? "") > 0));
console.log(`${attempts.length} attempts in the history`);

const nobody = await engine.GET("/v1/vms/{vm}", { params: { path: { vm: "nobody" } } });
refused(nobody.error, 404, "not_found");
const running = await engine.DELETE("/v1/vms/{vm}", { params: { path: { vm: ids[0]! } } });
refused(running.error, 409, "busy");
const stranger = await createClient<paths>({ baseUrl: SERVER }).GET("/v1/hosts");
refused(stranger.error, 401, "unauthenticated");
console.log("errors are problem documents");

const stopped = await engine.POST("/v1/vms:stop", { body: { vms: ids, force: true } });
assert(stopped.data, stopped.error?.detail);
assert.equal(stopped.data.vms.length, VMS);
console.log("stopped");
