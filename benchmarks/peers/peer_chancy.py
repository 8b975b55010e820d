import asyncio
import logging
from datetime import UTC

from peer import QUEUE, Adapter

ON_JOB = [lambda i: None]


async def noop(i):
    ON_JOB[0](i)


def quiet():
    log = logging.getLogger("chancy-bench")
    log.setLevel(logging.ERROR)
    return log


class Peer(Adapter):
    pending_sql = (
        "select exists(select 1 from chancy_jobs where state in ('pending','running','retrying'))"
    )
    left_sql = "select count(*) from chancy_jobs where state in ('pending','running','retrying')"

    def app(self, n=2):
        from chancy import Chancy

        return Chancy(self.dsn, min_connection_pool_size=n, max_connection_pool_size=n, log=quiet())

    def queue(self, concurrency):
        from chancy import Chancy, Queue

        return Queue(
            QUEUE,
            concurrency=concurrency,
            executor=Chancy.Executor.Async,
            polling_interval=1,
            eager_polling=True,
        )

    def setup(self):
        async def go():
            async with self.app() as c:
                await c.migrate()
                await c.declare(self.queue(20), upsert=True)

        asyncio.run(go())

    def job(self, i):
        from chancy import Job

        return Job(func="peer_chancy.noop", queue=QUEUE, kwargs={"i": i})

    def enqueuer(self):
        loop = asyncio.new_event_loop()
        c = self.app(1)
        loop.run_until_complete(c.__aenter__())

        async def many(jobs):
            async for _ in c.push_many(jobs):
                pass

        def f(ids):
            if len(ids) == 1:
                loop.run_until_complete(c.push(self.job(ids[0])))
            else:
                loop.run_until_complete(many([self.job(i) for i in ids]))

        return f

    def drainer(self):
        from dataclasses import replace
        from datetime import datetime

        from chancy import Worker
        from chancy.job import QueuedJob

        loop = asyncio.new_event_loop()

        async def mk():
            c = self.app(1)
            await c.__aenter__()
            return c, Worker(c, register_signal_handlers=False)

        c, w = loop.run_until_complete(mk())
        q = self.queue(20)

        async def step(batch):
            async with c.pool.connection() as conn:
                jobs = await w.fetch_jobs(q, conn, up_to=batch)
            now = datetime.now(UTC)
            for j in jobs:
                await w.queue_update(
                    replace(
                        j,
                        state=QueuedJob.State.SUCCEEDED,
                        completed_at=now,
                        attempts=j.attempts + 1,
                    )
                )
            if jobs:
                await w.flush()
            return len(jobs)

        return lambda batch: loop.run_until_complete(step(batch))

    def worker(self, on_job, concurrency):
        from chancy import Worker

        ON_JOB[0] = on_job

        async def go():
            async with self.app(6) as c:
                await c.declare(self.queue(concurrency * 5), upsert=True)
                async with Worker(c, register_signal_handlers=False) as w:
                    await w.wait_for_shutdown()

        asyncio.run(go())
