"""What an adapter is, and several of its connections at once."""

from __future__ import annotations

import multiprocessing
import os
import time
import traceback

QUEUE = "bench"


class Adapter:
    """One peer; what it cannot do raises NotImplementedError with the reason."""

    pending_sql = ""
    """Whether a job is not finished."""
    left_sql = ""
    """How many."""
    bulk_chunk = 1000

    def __init__(self, dsn):
        self.dsn = dsn

    def setup(self):
        """Install the schema in an empty database."""
        raise NotImplementedError

    def enqueuer(self):
        """A function that enqueues the jobs with these numbers by the best API for so many."""
        raise NotImplementedError

    def drainer(self):
        """A function that claims and finishes up to so many jobs and says how many; 0 = empty."""
        raise NotImplementedError

    def preload(self, ready):
        enqueue = self.enqueuer()
        for first in range(0, ready, self.bulk_chunk):
            enqueue(list(range(first, min(first + self.bulk_chunk, ready))))

    def worker(self, on_job, concurrency):
        """The peer's own worker until the process is ended; on_job(i) as each handler begins."""
        raise NotImplementedError

    def durable_worker(self, on_step, concurrency):
        raise NotImplementedError("has no steps")

    def durable_enqueue(self, count):
        raise NotImplementedError("has no steps")


def drain_here(kind, dsn, batch, barrier, answers, seconds, most):
    try:
        step = kind(dsn).drainer()
        barrier.wait()
        began, done, idle = time.time(), 0, 0
        processor = time.process_time()
        while idle < 3 and done < most and time.time() - began < seconds:
            jobs = step(batch)
            idle = 0 if jobs else idle + 1
            done += jobs
        answers.put((began, time.time(), done, None, time.process_time() - processor))
    except BaseException as error:
        barrier.abort()
        answers.put((0, 0, 0, repr(error) + traceback.format_exc()[-1500:], 0))
    answers.close()
    answers.join_thread()
    os._exit(0)


def drain(kind, dsn, connections, batch, seconds, most):
    """So many processes with a connection each, until the queue is empty."""
    context = multiprocessing.get_context("spawn")
    barrier, answers = context.Barrier(connections), context.Queue()
    arguments = (kind, dsn, batch, barrier, answers, seconds, most // connections)
    processes = [context.Process(target=drain_here, args=arguments) for _ in range(connections)]
    for process in processes:
        process.start()
    tallies = [answers.get(timeout=120) for _ in processes]
    for process in processes:
        process.join(10)
    # A broken barrier is only the echo of the first error.
    for error in sorted((t[3] for t in tallies if t[3]), key=lambda e: "BrokenBarrier" in e):
        raise RuntimeError(error)
    took = max(t[1] for t in tallies) - min(t[0] for t in tallies)
    jobs = sum(t[2] for t in tallies)
    return {"rate": jobs / took, "jobs": jobs, "processor": sum(t[4] for t in tallies)}
