import asyncio

import psycopg
from peer import QUEUE, Adapter


def _lib():
    # this module is called like the library: import the library by absolute name
    import importlib

    return importlib.import_module("procrastinate")


class Peer(Adapter):
    pending_sql = "select exists(select 1 from procrastinate_jobs where status in ('todo','doing'))"
    left_sql = "select count(*) from procrastinate_jobs where status in ('todo','doing')"

    def app(self, max_size=None):
        pc = _lib()
        kw = {"max_size": max_size, "min_size": max_size} if max_size else {}
        app = pc.App(connector=pc.PsycopgConnector(conninfo=self.dsn, **kw))
        self.on_job = lambda i: None

        @app.task(name="noop", queue=QUEUE)
        async def noop(i):
            self.on_job(i)

        self.noop = noop
        return app

    def setup(self):
        async def go():
            app = self.app()
            async with app.open_async():
                await app.schema_manager.apply_schema_async()

        asyncio.run(go())

    def enqueuer(self):
        loop = asyncio.new_event_loop()
        app = self.app(1)
        loop.run_until_complete(app.open_async().__aenter__())

        def f(ids):
            if len(ids) == 1:
                loop.run_until_complete(self.noop.defer_async(i=ids[0]))
            else:
                loop.run_until_complete(self.noop.batch_defer_async(*[{"i": i} for i in ids]))

        return f

    def drainer(self):
        q = importlib_queries()
        c = psycopg.connect(self.dsn, autocommit=True, prepare_threshold=0)
        wid = c.execute("insert into procrastinate_workers default values returning id").fetchone()[
            0
        ]

        def step(batch):
            if batch > 1:
                raise NotImplementedError("claims one job per call only")
            r = c.execute(q["fetch_job"], {"queues": [QUEUE], "worker_id": wid}).fetchone()
            if r[0] is None:
                return 0
            c.execute(q["finish_job"], {"job_id": r[0], "status": "succeeded", "delete_job": False})
            return 1

        return step

    def worker(self, on_job, concurrency):
        async def go():
            app = self.app(concurrency + 2)
            self.on_job = on_job
            async with app.open_async():
                await app.run_worker_async(
                    queues=[QUEUE], concurrency=concurrency, install_signal_handlers=False
                )

        asyncio.run(go())


def importlib_queries():
    import importlib

    return importlib.import_module("procrastinate.sql").queries
