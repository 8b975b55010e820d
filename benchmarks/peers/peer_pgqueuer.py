import asyncio
import json
from datetime import timedelta

from peer import Adapter


class Peer(Adapter):
    pending_sql = "select exists(select 1 from pgqueuer)"
    left_sql = "select count(*) from pgqueuer"

    def setup(self):
        import asyncpg
        from pgqueuer.db import AsyncpgDriver
        from pgqueuer.queries import Queries

        async def go():
            c = await asyncpg.connect(self.dsn)
            q = Queries(AsyncpgDriver(c))
            await q.install()
            await q.optimize_autovacuum()
            await c.close()

        asyncio.run(go())

    def _conn(self):
        import asyncpg
        import uvloop
        from pgqueuer.db import AsyncpgDriver
        from pgqueuer.queries import Queries

        loop = uvloop.new_event_loop()
        c = loop.run_until_complete(asyncpg.connect(self.dsn))

        async def mk():
            return Queries(AsyncpgDriver(c))

        return loop, c, loop.run_until_complete(mk())

    def enqueuer(self):
        loop, _, q = self._conn()

        def f(ids):
            if len(ids) == 1:
                loop.run_until_complete(q.enqueue("noop", b'{"i": %d}' % ids[0], 0))
            else:
                loop.run_until_complete(
                    q.enqueue(["noop"] * len(ids), [b'{"i": %d}' % i for i in ids], [0] * len(ids))
                )

        return f

    def drainer(self):
        import uuid

        from pgqueuer.queries import EntrypointExecutionParameter

        loop, _, q = self._conn()
        qm = uuid.uuid4()
        ep = {"noop": EntrypointExecutionParameter(concurrency_limit=0)}

        async def step(batch):
            jobs = await q.dequeue(
                batch_size=batch,
                entrypoints=ep,
                queue_manager_id=qm,
                global_concurrency_limit=None,
                heartbeat_timeout=timedelta(seconds=30),
            )
            if jobs:
                await q.log_jobs([(j, "successful", None) for j in jobs])
            return len(jobs)

        return lambda batch: loop.run_until_complete(step(batch))

    def worker(self, on_job, concurrency):
        import asyncpg
        import uvloop
        from pgqueuer import PgQueuer
        from pgqueuer.db import AsyncpgDriver

        async def go():
            c = await asyncpg.connect(self.dsn)
            pgq = PgQueuer(AsyncpgDriver(c))

            @pgq.entrypoint("noop")
            async def noop(job):
                on_job(json.loads(job.payload)["i"])

            await pgq.run(batch_size=100, dequeue_timeout=timedelta(seconds=30))

        uvloop.run(go())
