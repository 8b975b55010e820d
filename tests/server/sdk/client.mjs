// What the npm SDK of Tidebase sends, by fetch and a reader of event streams as browsers have them:
// paths pasted together, JSON bodies, a loop of claims, one fail after any error but a cancellation.
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";

const url = process.env.TIDEBASE_URL;

class Failed extends Error {
  constructor(status, text) {
    super(`Tidebase request failed: ${status} ${text}`);
    this.status = status;
    this.text = text;
  }
}

class RunCancelled extends Error {}

async function request(method, path, body) {
  const headers = { "content-type": "application/json" };
  if (process.env.TIDEBASE_API_KEY) headers.authorization = `Bearer ${process.env.TIDEBASE_API_KEY}`;
  const answer = await fetch(url + path, {
    method,
    headers,
    body: body === undefined ? undefined : JSON.stringify(body),
  });
  const text = await answer.text();
  if (answer.ok) return JSON.parse(text);
  if (JSON.parse(text).code === "run_cancelled") throw new RunCancelled(path);
  throw new Failed(answer.status, text);
}

const sorted = (value) =>
  Array.isArray(value)
    ? value.map(sorted)
    : value && typeof value === "object"
      ? Object.fromEntries(Object.keys(value).sort().map((key) => [key, sorted(value[key])]))
      : value;
const hash = (value) =>
  createHash("sha256").update(JSON.stringify(sorted(value ?? null))).digest("hex");
const fresh = (word) => `${word}-${Math.random().toString(36).slice(2)}`;

class Context {
  constructor(runId, leaseOwner) {
    Object.assign(this, { runId, leaseOwner });
  }
  at(rest) {
    return `/runs/${this.runId}${rest}`;
  }
  async step(name, work, options = {}) {
    const begin = await request("POST", this.at("/steps/begin"), {
      name,
      inputHash: hash(options.input),
      input: options.input,
      options,
      leaseOwner: this.leaseOwner,
    });
    if (begin.action === "return") return begin.output;
    if (begin.action === "cancelled") throw new RunCancelled(this.runId);
    if (begin.action !== "execute") throw new Error(begin.action);
    const about = this.at(`/steps/${begin.step.id}`);
    try {
      const output = await work();
      await request("POST", `${about}/complete`, { leaseOwner: begin.leaseOwner, output });
      return output;
    } catch (error) {
      if (error instanceof RunCancelled) throw error;
      const report = { message: error.message, name: error.name };
      await request("POST", `${about}/fail`, { leaseOwner: begin.leaseOwner, error: report });
      throw error;
    }
  }
  async gate(name, prompt, data) {
    let { action, gate } = await request("POST", this.at("/gates/begin"), { name, prompt, data });
    while (action === "wait" && gate.status === "pending") {
      await sleep(20);
      const polled = await request("GET", this.at(`/gates/${gate.id}`));
      if (polled.runStatus === "cancelled") throw new RunCancelled(this.runId);
      gate = polled.gate;
    }
    return gate;
  }
  async child(name, workflowName, workflow, input) {
    const { run } = await request("POST", this.at("/children"), { name, workflowName, input });
    return attempt(run.id, workflow);
  }
}

async function attempt(runId, workflow) {
  const known = (await request("GET", `/runs/${runId}`)).run;
  if (known.status === "completed") return known.result;
  const { run, leaseOwner } = await request("POST", `/runs/${runId}/begin`);
  return execute(run, leaseOwner, workflow);
}

async function execute(run, leaseOwner, workflow) {
  try {
    const result = await workflow(new Context(run.id, leaseOwner), run.input);
    await request("POST", `/runs/${run.id}/complete`, { result });
    return result;
  } catch (error) {
    if (error instanceof RunCancelled) throw error;
    const report = { message: error.message, name: error.name };
    await request("POST", `/runs/${run.id}/fail`, { error: report }).catch(() => {});
    throw error;
  }
}

async function work(queues, workflows, stop) {
  while (!stop()) {
    const claim = await request("POST", "/queues/claim", { queues, limit: 1 });
    for (const run of claim.runs) {
      await execute(run, claim.leaseOwner, workflows[run.workflowName]).catch(() => {});
    }
    if (!claim.runs.length) await sleep(20);
  }
}

// As an EventSource: unnamed frames, the last id is sent when it connects again.
async function* listen(runId, lastEventId) {
  const headers = { accept: "text/event-stream" };
  if (lastEventId !== undefined) headers["last-event-id"] = lastEventId;
  const token = encodeURIComponent(process.env.TIDEBASE_API_KEY ?? "");
  const answer = await fetch(`${url}/runs/${runId}/events?after=0&token=${token}`, { headers });
  assert.equal(answer.status, 200);
  let text = "";
  for await (const bytes of answer.body) {
    text += new TextDecoder().decode(bytes);
    for (let end; (end = text.indexOf("\n\n")) >= 0; text = text.slice(end + 2)) {
      const frame = Object.fromEntries(
        text.slice(0, end).split("\n").filter((line) => !line.startsWith(":")).map((line) => {
          const colon = line.indexOf(":");
          return [line.slice(0, colon), line.slice(colon + 1).trim()];
        }),
      );
      assert.equal(frame.event, undefined);
      if (frame.data) yield { lastEventId: frame.id, ...JSON.parse(frame.data) };
    }
  }
}

const create = async (workflow, body = {}) =>
  (await request("POST", `/runs/${encodeURIComponent(workflow)}`, body)).run.id;
const refused = (status, promise) =>
  assert.rejects(promise, (error) => error instanceof Failed && error.status === status);

const scenarios = {
  async "steps replay and runs are resumed"() {
    const done = { a: 0, b: 0 };
    let broken = true;
    const workflow = async (run) => {
      await run.step("a", async () => ++done.a, { input: { y: 1, x: 1 } });
      return run.step("b/ü", async () => {
        done.b += 1;
        if (broken) throw new Error("not yet");
        return { n: 0.1, text: "ü" };
      });
    };
    const runId = await create("steps/of a name".replaceAll(" ", "-"));
    await assert.rejects(attempt(runId, workflow), /not yet/);
    broken = false;
    assert.deepEqual(await attempt(runId, workflow), { n: 0.1, text: "ü" });
    assert.deepEqual(await attempt(runId, workflow), { n: 0.1, text: "ü" });
    assert.deepEqual(done, { a: 1, b: 2 });
  },
  async "gates are decided once and cancellation is seen"() {
    const waiting = async () => {
      const runId = await create("gates");
      const ending = attempt(runId, (run) => run.gate("ok", "May I?", { n: 1 }));
      ending.catch(() => {});
      for (;;) {
        const { gates } = await request("GET", `/runs/${runId}`);
        if (gates.length) return { runId, ending, gate: gates[0] };
        await sleep(20);
      }
    };
    const first = await waiting();
    const path = `/runs/${first.runId}/gates/${first.gate.id}/resolve`;
    const body = { token: first.gate.resolveToken, decision: "approved", actor: "ann" };
    await refused(409, request("POST", path, { ...body, token: "wrong" }));
    await request("POST", path, body);
    await refused(409, request("POST", path, { ...body, decision: "rejected" }));
    assert.equal((await first.ending).decision, "approved");
    const second = await waiting();
    await request("POST", `/runs/${second.runId}/cancel`, { reason: "no" });
    await assert.rejects(second.ending, RunCancelled);
  },
  async "children and state"() {
    let times = 0;
    const child = async (run, n) => {
      times += 1;
      return n * 2;
    };
    const runId = await create("parent");
    const result = await attempt(runId, async (run) => {
      await request("PUT", run.at("/state"), { value: { a: { b: 1 }, c: 1 } });
      const { state } = await request("PATCH", run.at("/state"), { value: { a: null } });
      assert.deepEqual(state.value, { a: null, c: 1 });
      await request("POST", run.at("/usage"), { kind: "llm", inputTokens: 3, outputTokens: 4 });
      const both = [run.child("l", "child", child, 1), run.child("r", "child", child, 2)];
      return [...(await Promise.all(both)), await run.child("l", "child", child, 1)];
    });
    assert.deepEqual(result, [2, 4, 2]);
    assert.equal(times, 2);
    const detail = await request("GET", `/runs/${runId}`);
    assert.equal(detail.childRuns.length, 2);
    assert.equal(detail.usage[0].totalTokens, 7);
  },
  async "a worker works a queue off"() {
    const queue = fresh("queue");
    const body = { workflowName: "job", input: { n: 21 }, dedupeKey: "k" };
    const made = await request("POST", `/queues/${queue}/enqueue`, body);
    const again = await request("POST", `/queues/${queue}/enqueue`, body);
    assert.deepEqual([made.deduplicated, again.deduplicated], [false, true]);
    await request("POST", `/queues/${queue}/enqueue`, { workflowName: "bad", maxAttempts: 2 });
    const later = { workflowName: "job", delayMs: 3600000, deadlineMs: 7200000 };
    await request("POST", `/queues/${queue}/enqueue`, later);
    let calls = 0;
    await work(
      [queue],
      {
        job: async (run, input) => (calls++, run.step("s", async () => input.n * 2)),
        bad: async () => (calls++, Promise.reject(new Error("no"))),
      },
      () => calls === 2,
    );
    assert.equal((await request("GET", `/runs/${made.run.id}`)).run.result, 42);
    const { queues } = await request("GET", "/queues");
    assert.equal(queues.find(({ name }) => name === queue).queued, 2);
    const settings = { concurrency: 1, ratePerMinute: 100 };
    const { config } = await request("PUT", `/queues/${queue}/config`, settings);
    assert.deepEqual([config.concurrency, config.ratePerMinute], [1, 100]);
  },
  async "an event stream is taken up where it broke"() {
    const runId = await create("events");
    const seen = [];
    for await (const event of listen(runId)) {
      seen.push(event);
      break;
    }
    await attempt(runId, async (run) => {
      for (const name of ["a", "b", "c"]) await run.step(name, async () => name);
    });
    for await (const event of listen(runId, seen[0].lastEventId)) {
      seen.push(event);
      if (event.type === "run.completed") break;
    }
    assert.deepEqual(seen.map(({ seq }) => seq), seen.map((_, place) => place + 1));
    assert.equal(seen.filter(({ type }) => type === "step.completed").length, 3);
  },
  async "schedules and errors"() {
    const name = fresh("nightly");
    const body = { cron: "0 9 * * *", workflowName: "digest" };
    const { schedule } = await request("PUT", `/schedules/${name}`, body);
    assert.match(schedule.nextRunAt, /^\d{4}-\d\d-\d\dT09:00:00\.000Z$/);
    await refused(400, request("PUT", `/schedules/${name}`, { ...body, cron: "61 * * * *" }));
    assert.deepEqual(await request("DELETE", `/schedules/${name}`), { deleted: name });
    await refused(404, request("DELETE", `/schedules/${name}`));
    await refused(404, request("GET", `/runs/run_${"0".repeat(32)}`));
    await refused(400, request("POST", "/queues/q/enqueue", { workflowName: 1 }));
  },
};

for (const [name, scenario] of Object.entries(scenarios)) {
  await scenario();
  console.log(name);
}
process.exit(0);
