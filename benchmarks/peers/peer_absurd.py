import asyncio
import subprocess

import psycopg
from peer import QUEUE, Adapter


class Peer(Adapter):
    active = f"from absurd.t_{QUEUE} where state in ('pending', 'running', 'sleeping')"
    pending_sql = f"select exists (select 1 {active})"
    left_sql = f"select count(*) {active}"

    def setup(self):
        subprocess.run(
            ["absurdctl", "init", "-d", self.dsn], check=True
        )  # from PyPI; it carries its schema
        with psycopg.connect(self.dsn, autocommit=True) as c:
            c.execute("select absurd.create_queue(%s)", (QUEUE,))

    def enqueuer(self):
        from absurd_sdk import Absurd

        a = Absurd(self.dsn, queue_name=QUEUE)
        a.register_task("noop")(lambda params, ctx: None)
        c = a._conn

        def f(ids):
            if len(ids) == 1:
                a.spawn("noop", {"i": ids[0]})
            else:  # no bulk API: spawn_task once per row inside one SQL statement
                c.execute(
                    "select count(*) from unnest(%s::bigint[]) i, "
                    "absurd.spawn_task(%s, 'noop', jsonb_build_object('i', i), '{}'::jsonb)",
                    (ids, QUEUE),
                )

        return f

    def drainer(self):
        c = psycopg.connect(self.dsn, autocommit=True, prepare_threshold=0)

        def step(batch):
            rows = c.execute(
                "select run_id from absurd.claim_task(%s, 'w', 120, %s)", (QUEUE, batch)
            ).fetchall()
            if len(rows) == 1:
                c.execute("select absurd.complete_run(%s, %s, 'null'::jsonb)", (QUEUE, rows[0][0]))
            elif rows:
                c.execute(
                    "select absurd.complete_run(%s, r, 'null'::jsonb) from unnest(%s::uuid[]) r",
                    (QUEUE, [r[0] for r in rows]),
                )
            return len(rows)

        return step

    def worker(self, on_job, concurrency):
        from absurd_sdk import AsyncAbsurd

        async def go():
            async def one():
                a = AsyncAbsurd(self.dsn, queue_name=QUEUE)

                @a.register_task("noop")
                async def noop(params, ctx):
                    on_job(params["i"])

                await a.start_worker(
                    concurrency=concurrency, batch_size=concurrency, poll_interval=0.25
                )

            # its SDK uses one connection per worker, so four workers in this process
            await asyncio.gather(*[one() for _ in range(4)])

        asyncio.run(go())

    def durable_enqueue(self, count):
        with psycopg.connect(self.dsn, autocommit=True) as c:
            c.execute(
                "select count(*) from generate_series(1, %s) i, "
                "absurd.spawn_task(%s, 'steps', jsonb_build_object('i', i), '{}'::jsonb)",
                (count, QUEUE),
            )

    def durable_worker(self, on_step, concurrency):
        from absurd_sdk import AsyncAbsurd

        async def go():
            async def one():
                a = AsyncAbsurd(self.dsn, queue_name=QUEUE)

                @a.register_task("steps")
                async def steps(params, ctx):
                    for k in range(20):

                        async def s(k=k):
                            on_step(k)
                            return k

                        await ctx.step(f"s{k}", s)

                await a.start_worker(concurrency=5, batch_size=5, poll_interval=0.25)

            # its SDK uses one connection per worker, so several workers in this process
            await asyncio.gather(*[one() for _ in range(4)])

        asyncio.run(go())
