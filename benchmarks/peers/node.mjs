// The peers on Node.js, graphile-worker and pg-boss: same commands and answers as act.py.
//   node node.mjs PEER COMMAND DSN '{"json":"args"}'
// The libraries are resolved from NODE_MODULES_DIR.
import { createRequire } from 'node:module'
import path from 'node:path'
import fs from 'node:fs'
import readline from 'node:readline'
import { pathToFileURL } from 'node:url'

const ND = process.env.NODE_MODULES_DIR
const require = createRequire(path.join(ND, 'x.js'))
const pg = require('pg')
const [peer, cmd, DSN] = process.argv.slice(2, 5)
const a = process.argv[5] ? JSON.parse(process.argv[5]) : {}
const Q = 'bench'
const base = Date.now() / 1000 - performance.now() / 1000
const hr = () => base + performance.now() / 1000
const sleep = (s) => new Promise((r) => setTimeout(r, s * 1000))

const peers = {}

peers.graphile = {
  pending_sql: 'select exists(select 1 from graphile_worker._private_jobs where attempts < max_attempts)',
  left_sql: 'select count(*) from graphile_worker._private_jobs',
  bulk_chunk: 10000,
  async setup () {
    const { runMigrations } = require('graphile-worker')
    await runMigrations({ connectionString: DSN, logger: this.logger() })
    const c = new pg.Client(DSN); await c.connect()
    await c.query("insert into graphile_worker._private_tasks(identifier) values ('noop') on conflict do nothing")
    await c.end()
  },
  logger () {
    const { Logger } = require('graphile-worker')
    return new Logger(() => (level, msg) => { if (level === 'error') console.error(msg) })
  },
  async enqueuer () {
    const c = new pg.Client(DSN); await c.connect()
    return async (ids) => {
      if (ids.length === 1) {
        await c.query({ name: 'one', text: "select graphile_worker.add_job('noop', $1::json)", values: [JSON.stringify({ i: ids[0] })] })
      } else {
        const specs = ids.map((i) => ({ identifier: 'noop', payload: { i } }))
        await c.query({ name: 'many', text: 'select count(*) from graphile_worker.add_jobs((select array_agg(r) from json_populate_recordset(null::graphile_worker.job_spec, $1::json) r))', values: [JSON.stringify(specs)] })
      }
    }
  },
  // its own claim and complete functions, on one connection each
  async drainer () {
    const { processSharedOptions } = require(path.join(ND, 'graphile-worker/dist/lib.js'))
    const { batchGetJobs } = require(path.join(ND, 'graphile-worker/dist/sql/getJobs.js'))
    const { batchCompleteJobs } = require(path.join(ND, 'graphile-worker/dist/sql/completeJobs.js'))
    const c = new pg.Client(DSN); await c.connect()
    const opts = processSharedOptions({ connectionString: DSN, logger: this.logger() })
    const withPgClient = async (f) => f(c)
    withPgClient.withRetries = async (f) => f(c)
    const tasks = { noop: () => {} }
    const id = 'w' + Math.random()
    return async (batch) => {
      const jobs = await batchGetJobs(opts, withPgClient, tasks, id, null, batch)
      if (jobs.length) await batchCompleteJobs(opts, withPgClient, id, jobs)
      return jobs.length
    }
  },
  async worker (onJob, conc) {
    const { run } = require('graphile-worker')
    await run({
      logger: this.logger(),
      preset: { worker: { connectionString: DSN, concurrentJobs: conc, maxPoolSize: conc + 2, pollInterval: 1000, ...(a.latency ? {} : { localQueue: { size: 500, refetchDelay: { durationMs: 10 } }, completeJobBatchDelay: 0, failJobBatchDelay: 0 }) } },
      taskList: { noop: async (p) => { onJob(p.i) } },
      noHandleSignals: true
    })
  }
}

peers.pgboss = {
  pending_sql: "select exists(select 1 from pgboss.job where state < 'completed')",
  left_sql: "select count(*) from pgboss.job where state < 'completed'",
  bulk_chunk: 1000,
  async boss (max, extra = {}) {
    const m = await import(pathToFileURL(path.join(ND, 'pg-boss/dist/index.js')).href)
    const PgBoss = m.PgBoss || m.default
    const b = new PgBoss({ connectionString: DSN, max, ...extra })
    b.on('error', (e) => console.error('pg-boss error', e.message))
    await b.start()
    return b
  },
  async setup () {
    const b = await this.boss(2, { supervise: false, schedule: false })
    await b.createQueue(Q, { notify: true })
    await b.stop({ graceful: false })
  },
  async enqueuer () {
    const b = await this.boss(1, { supervise: false, schedule: false })
    return async (ids) => {
      if (ids.length === 1) await b.send(Q, { i: ids[0] })
      else await b.insert(Q, ids.map((i) => ({ data: { i } })))
    }
  },
  shared: null,
  async drainer () {
    if (!this.shared) this.shared = this.boss(4, { supervise: false, schedule: false })
    const b = await this.shared
    return async (batch) => {
      const jobs = await b.fetch(Q, { batchSize: batch })
      if (jobs.length) await b.complete(Q, jobs.map((j) => j.id))
      return jobs.length
    }
  },
  async worker (onJob, conc) {
    // NOTIFY wake-up is off by default, and its queue must opt in too (setup does)
    const b = await this.boss(conc, { useListenNotify: true })
    // batchSize x localConcurrency; burstWhenBatchFull fetches again at once after a full batch instead of waiting for the poll
    await b.work(Q, { batchSize: a.latency ? 1 : 100, localConcurrency: a.latency ? 4 : 4, pollingIntervalSeconds: 0.5, ...(a.latency ? {} : { burstWhenBatchFull: true }) }, async (jobs) => {
      for (const j of jobs) onJob(j.data.i)
    })
  }
}

function processor () {
  const { user, system } = process.cpuUsage()
  return (user + system) / 1e6
}

async function drain (p, conns, batch, maxSeconds, maxJobs) {
  const steps = []
  for (let k = 0; k < conns; k++) steps.push(await p.drainer())
  const per = maxJobs ? Math.floor(maxJobs / conns) : null
  const t0 = hr(); const before = processor()
  let jobs = 0
  await Promise.all(steps.map(async (step) => {
    let done = 0; let idle = 0
    while (true) {
      const n = await step(batch)
      if (n === 0) { if (++idle >= 3) break; continue }
      idle = 0; done += n; jobs += n
      if (maxSeconds && hr() - t0 > maxSeconds) break
      if (per && done >= per) break
    }
  }))
  const s = hr() - t0
  return { rate: jobs / s, jobs, processor: processor() - before }
}

const p = peers[peer]
const range = (x, y) => Array.from({ length: y - x }, (_, k) => x + k)
const commands = {
  async info () { return { pending_sql: p.pending_sql, left_sql: p.left_sql } },
  async setup () { await p.setup() },
  async preload () {
    const f = await p.enqueuer()
    for (let i = 0; i < a.ready; i += p.bulk_chunk) await f(range(i, Math.min(i + p.bulk_chunk, a.ready)))
  },
  async enqueue () {
    const f = await p.enqueuer()
    const chunk = a.chunk || p.bulk_chunk
    await f(range(0, Math.min(chunk, 10)))
    const began = hr(); const before = processor(); let done = 0
    while (done < a.most && hr() - began < a.seconds) { await f(range(done, done + chunk)); done += chunk }
    return { rate: done / (hr() - began), jobs: done, processor: processor() - before }
  },
  async drain () { return drain(p, a.connections, a.batch, a.seconds, a.most) },
  async paced () {
    const f = await p.enqueuer()
    const sent = []; let tick = hr() + 0.05
    for (let i = 0; i < a.count; i++) {
      const wait = tick - hr()
      if (wait > 0) await sleep(wait)
      await f([i]); sent.push([i, hr()]); tick += a.interval
    }
    return { sent }
  },
  async work () {
    const seen = []
    const end = () => { fs.writeFileSync(a.output, JSON.stringify(seen)); process.exit(0) }
    readline.createInterface({ input: process.stdin }).on('line', end).on('close', end)
    await p.worker((i) => seen.push([i, hr()]), a.concurrency)
    await sleep(3600)
  }
}
console.log('RESULT ' + JSON.stringify((await commands[cmd]()) || {}))
process.exit(0)
