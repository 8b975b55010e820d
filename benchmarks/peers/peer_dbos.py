import time
import uuid

from peer import QUEUE, Adapter

VERSION = "bench-1"


class Peer(Adapter):
    pending_sql = (
        "select exists(select 1 from dbos.workflow_status where status in ('ENQUEUED','PENDING'))"
    )
    left_sql = "select count(*) from dbos.workflow_status where status in ('ENQUEUED','PENDING')"

    def config(self):
        return {
            "name": "bench",
            "system_database_url": self.dsn.replace("postgresql://", "postgresql+psycopg://"),
            "application_version": VERSION,
            "log_level": "ERROR",
            "run_admin_server": False,
            "sys_db_pool_size": 20,
        }

    def setup(self):
        from dbos import DBOS

        DBOS(config=self.config())
        DBOS.launch()
        DBOS.register_queue(QUEUE, worker_concurrency=20, polling_interval_sec=0.01)
        DBOS.destroy()

    def client(self):
        from dbos import DBOSClient

        return DBOSClient(
            system_database_url=self.dsn.replace("postgresql://", "postgresql+psycopg://"),
            use_listen_notify=False,
        )

    def enqueuer(self):
        c = self.client()

        def f(ids):
            if len(ids) == 1:
                c.enqueue(
                    {"workflow_name": "noop", "queue_name": QUEUE, "app_version": VERSION}, ids[0]
                )
            else:
                # no public bulk enqueue: the batch insert its Kafka consumer uses
                c._sys_db.init_workflows(
                    [
                        c._build_enqueue_status(
                            {"workflow_name": "noop", "queue_name": QUEUE, "app_version": VERSION},
                            i,
                        )[1]
                        for i in ids
                    ]
                )

        return f

    def drainer(self):
        c = self.client()
        q = c.retrieve_queue(QUEUE)
        s = c._sys_db
        out = None

        def step(batch):
            q._worker_concurrency = batch
            xid = str(uuid.uuid4())
            ids, _ = s.start_queued_workflows(q, "local", VERSION, None, 0, owner_xid=xid)
            for i in ids:
                s.update_workflow_outcome(i, "SUCCESS", output=out, owner_xid=xid)
            return len(ids)

        return step

    def worker(self, on_job, concurrency):
        from dbos import DBOS

        DBOS(config=self.config())

        @DBOS.workflow(name="noop")
        def noop(i):
            on_job(i)

        DBOS.launch()
        # polling interval as low as it helps: its default is 1 s
        DBOS.register_queue(QUEUE, worker_concurrency=concurrency * 5, polling_interval_sec=0.02)
        time.sleep(3600)

    def durable_enqueue(self, count):
        c = self.client()
        c._sys_db.init_workflows(
            [
                c._build_enqueue_status(
                    {"workflow_name": "steps", "queue_name": QUEUE, "app_version": VERSION}, i
                )[1]
                for i in range(count)
            ]
        )

    def durable_worker(self, on_step, concurrency):
        from dbos import DBOS

        DBOS(config=self.config())

        @DBOS.step(name="one")
        def one(i):
            on_step(i)
            return i

        @DBOS.workflow(name="steps")
        def steps(i):
            for k in range(20):
                one(k)

        DBOS.launch()
        DBOS.register_queue(QUEUE, worker_concurrency=concurrency, polling_interval_sec=0.02)
        time.sleep(3600)
