// A program without any SDK: node-postgres and the functions of the schema.
import assert from "node:assert/strict";
import { createRequire } from "node:module";

const { default: pg } = await import(createRequire(process.env.NODE_HOME).resolve("pg"));
const client = new pg.Client({ connectionString: process.env.TIDEBASE_DSN });
await client.connect();
const one = async (text, values) => (await client.query(text, values)).rows[0];

await client.query("create temporary table orders (id integer, run_id uuid)");

// A run is enqueued with the row it belongs to, or not at all.
const enqueue = async (order) => {
  await client.query("begin");
  const run = await one(
    "select * from tide.enqueue('ship', input => $1, queue => 'orders', dedupe_key => $2)",
    [{ order }, `order:${order}`],
  );
  await client.query("insert into orders values ($1, $2)", [order, run.run_id]);
  return run;
};
await enqueue(1);
await client.query("rollback");
assert.equal((await one("select count(*)::int as n from tide.runs")).n, 0);
const made = await enqueue(2);
await client.query("commit");

const run = await one("select * from tide.claim(queues => '{orders}', worker => 'node')");
assert.equal(run.run_id, made.run_id);
assert.deepEqual(run.input, { order: 2 });
const held = [run.run_id, run.lease_id];
const begin = () => one("select * from tide.begin_step($1, $2, 'label')", held);
assert.equal((await begin()).action, "execute");

// The checkpoint and the row it is about are one commit.
await client.query("begin");
await client.query("update orders set id = 20 where id = 2");
await one("select tide.complete_step($1, $2, 'label', $3)", [...held, { label: "A7" }]);
await client.query("commit");
const replayed = await begin();
assert.deepEqual([replayed.action, replayed.output], ["replay", { label: "A7" }]);

await one("select tide.complete($1, $2, $3)", [...held, { shipped: true }]);
await assert.rejects(
  one("select tide.fail($1, gen_random_uuid())", [run.run_id]),
  ({ code }) => code === "TD003",
);
const done = await one("select status, result from tide.get_run($1)", [run.run_id]);
assert.deepEqual(done, { status: "completed", result: { shipped: true } });
const events = await client.query("select type from tide.list_events($1)", [run.run_id]);
assert.deepEqual(
  events.rows.map(({ type }) => type),
  ["run.enqueued", "run.claimed", "step.started", "step.completed", "run.completed"],
);
await client.end();
console.log("done");
