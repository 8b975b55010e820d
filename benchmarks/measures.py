"""The measurements: contenders take turns, round by round, each on a fresh copy of a database."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from benchmarks import steps, workers
from benchmarks.crew import Crew, Step, Task
from benchmarks.others import Others
from benchmarks.results import Aim, Result, percentile
from benchmarks.stage import RAW, Stage, execute
from benchmarks.workers import Seen
from tidebase_pg import schema

CONNECTIONS: Final = 4


@dataclass(frozen=True, slots=True)
class Scale:
    """How much of everything."""

    rounds: int
    seconds: float  # of one round of one contender
    bulk: int
    loaded: int  # jobs that wait when a round of claims begins
    backlog: int
    held_seconds: float
    steps_runs: int
    idle_seconds: float
    brief: bool = False
    """Leave out what is between two other contenders."""


QUICK: Final = Scale(3, 0.7, 50_000, 30_000, 100_000, 10, 60, 0, brief=True)
FULL: Final = Scale(3, 1.5, 100_000, 60_000, 1_000_000, 60, 200, 30)

FILL_RAW: Final = """
insert into q (payload) select jsonb_build_object('i', n) from generate_series(1, {count}) as n
"""
FILL_TIDE: Final = """
select count(*)
from generate_series(0, {count} - 1, 10000) as first,
  lateral tide.enqueue_many(
    'bench',
    (
      select jsonb_agg(
        jsonb_build_object('workflow', 'noop', 'input', jsonb_build_object('i', n))
      )
      from generate_series(first + 1, least(first + 10000, {count})) as n
    )
  )
"""

# Of a backlog every tenth is ready; the rest lies in the future.
BACKLOG_RAW: Final = """
insert into q (payload, run_at)
select
  jsonb_build_object('i', n),
  now() + case when n % 10 = 0 then interval '-1 hour' else interval '1 day' end
from generate_series(1, {count}) as n
order by md5(n::text)
"""
QUEUED: Final = """
insert into tide.runs_active (
  run_id, workflow, queue, status, last_seq, ready, run_at, created_at, input
)
select
  tide._uuid7(), 'noop', 'bench', 'queued', 1, n % 10 = 0,
  now() + case when n % 10 = 0 then interval '-1 hour' else interval '1 day' end
    + n * interval '1 ms',
  now(), jsonb_build_object('i', n)
from generate_series(1, {count}) as n
order by md5(n::text)
"""
FINISHED: Final = """
insert into tide.runs_finished (
  run_id, workflow, queue, status, run_at, created_at, finished_at, input
)
select
  tide._uuid7(), 'noop', 'bench', 'completed', now(), now(), now() - n * interval '1 ms',
  jsonb_build_object('i', n)
from generate_series(1, {count}) as n
"""
PARKED: Final = """
insert into tide.runs_active (
  run_id, workflow, queue, status, run_at, created_at, waiting_on, waiting_for, last_seq,
  open_gates
)
select
  md5('run' || n)::uuid, 'noop', 'bench', 'queued', 'infinity', now(), 'gate', 'approve', 1, 1
from generate_series(1, {count}) as n;
insert into tide.gates (
  run_id, name, gate_id, status, prompt, data, expires_at, on_timeout, created_at
)
select
  md5('run' || n)::uuid, 'approve', md5('gate' || n)::uuid, 'pending', 'Go on?', '{{}}',
  now() + interval '1 day' + n * interval '1 second', 'rejected', now()
from generate_series(1, {count}) as n
"""


def reason(error: RuntimeError) -> str:
    """The line that says what went wrong in another process."""
    lines = [line for line in str(error).splitlines() if "rror" in line.partition(":")[0]]
    return lines[-1] if lines else str(error)


class Measures:
    """All of them, in the order of the report; `show` gets each result as it comes."""

    def __init__(
        self, stage: Stage, crew: Crew, scale: Scale, show: Callable[[Result], None]
    ) -> None:
        self.stage = stage
        self.crew = crew
        self.scale = scale
        self.show = show
        self.roots = [os.getpid(), stage.process]
        self.results: list[Result] = []
        self.stage.template("raw_loaded", partial(self._load, "raw", FILL_RAW))
        self.stage.template("tide_loaded", partial(self._load, "tide", FILL_TIDE))

    def run(self, only: Sequence[str]) -> None:
        for name in ORDER:
            if not only or name in only:
                getattr(self, name)()

    # How

    def _load(self, kind: str, fill: str, dsn: str) -> None:
        """What is in a template: the tables, jobs ready to be taken, nothing to be vacuumed."""
        if kind == "raw":
            execute(dsn, RAW)
        else:
            schema.install(dsn)
        execute(dsn, fill.format(count=self.scale.loaded), "vacuum analyze", "checkpoint")

    def compare(
        self,
        result: Result,
        contenders: Mapping[str, Callable[[], float]],
        rounds: int | None = None,
    ) -> Result:
        """Let the contenders take turns; one that fails does not stop the others."""
        with Others(self.roots) as others:
            for _ in range(rounds or self.scale.rounds):
                for name, measure in contenders.items():
                    if name not in result.skipped:
                        try:
                            result.values.setdefault(name, []).append(measure())
                        except RuntimeError as error:
                            result.skipped[name] = reason(error)
        result.others = others.cores
        return self.keep(result)

    def keep(self, result: Result) -> Result:
        self.results.append(result)
        self.show(result)
        return result

    def rate(
        self,
        make: Callable[..., Step],
        connections: int = CONNECTIONS,
        *settings: str,
        template: str | None = None,
        before: Sequence[str] = (),
        most: int | None = None,
        port: int | None = None,
        **options: Any,
    ) -> float:
        """Jobs a second on a fresh copy of the template of `make`'s kind."""
        kind = "tide" if make.__name__.startswith("tide") else "raw"
        if most is None:
            # A tenth is left for the steps that warm the connections.
            most = self.scale.loaded * 9 // 10 // connections
        with self.stage.database(template or f"{kind}_loaded", *settings) as dsn:
            execute(dsn, *before)
            if port is not None:
                dsn = dsn.replace(f":{self.stage.port}/", f":{port}/")
            return self.crew.rate(
                make, connections, seconds=self.scale.seconds, most=most, dsn=dsn, **options
            )

    # What

    def enqueue_one(self) -> None:
        self.compare(
            Result(
                "enqueue_one", "Enqueue one by one, 1 connection", "runs/s", "raw insert",
                aims=[Aim("enqueue", 0.7, "raw insert")],
            ),
            {
                "raw insert": partial(
                    self.rate, steps.raw_insert, 1, template="raw", most=10**9
                ),
                "enqueue": partial(
                    self.rate, steps.tide_enqueue, 1, template="tide", most=10**9
                ),
            },
        )  # fmt: skip

    def enqueue_many(self) -> None:
        def bulk(make: Callable[..., Step]) -> float:
            with self.stage.database(make.__name__.split("_")[0]) as dsn:
                return self.crew.rate(
                    make, 1, seconds=60, most=self.scale.bulk, warm=1, dsn=dsn, many=10_000
                )

        self.compare(
            Result(
                "enqueue_many", f"Enqueue {self.scale.bulk:,} in calls of 10,000", "runs/s",
                "raw copy", aims=[Aim("enqueue_many", 0.4, "raw insert of many")],
            ),
            {
                "raw copy": partial(bulk, steps.raw_copy),
                "raw insert of many": partial(bulk, steps.raw_insert_many),
                "enqueue_many": partial(bulk, steps.tide_enqueue_many),
            },
        )  # fmt: skip

    def one_by_one(self) -> None:
        self.compare(
            Result(
                "one_by_one", "Claim and finish one by one, 4 connections", "runs/s", "raw",
                aims=[Aim("settle_and_claim", 1.3, "raw")],
            ),
            {
                "raw": partial(self.rate, steps.raw_drain),
                "raw, rows kept": partial(self.rate, steps.raw_drain, finish="update"),
                "claim, settle": partial(self.rate, steps.tide_drain),
                "settle_and_claim": partial(self.rate, steps.tide_fused),
            },
        )  # fmt: skip

    def batches(self) -> None:
        for many in (100,) if self.scale.brief else (10, 100):
            self.compare(
                Result(
                    f"batches_{many}", f"Claim and finish in batches of {many}, 4 connections",
                    "runs/s", "raw",
                    aims=[Aim("settle_and_claim", 0.55, "raw")] if many == 100 else [],
                ),
                {
                    "raw": partial(self.rate, steps.raw_drain, many=many),
                    "raw, rows kept": partial(
                        self.rate, steps.raw_drain, many=many, finish="update"
                    ),
                    "claim, settle": partial(self.rate, steps.tide_drain, many=many),
                    "settle_and_claim": partial(self.rate, steps.tide_fused, many=many),
                },
            )  # fmt: skip

    def limits(self) -> None:
        self._limits(
            "limits", "Limits, settle_and_claim one by one, 4 connections", 0.5, CONNECTIONS
        )

    def slow_commits(self) -> None:
        """As on a disk, or a replica, that takes 5 ms to confirm a commit."""
        self._limits(
            "slow_commits", "The same at commits of 5 ms, 16 connections", 0.8, 16,
            "commit_delay = 5000", "commit_siblings = 0",
        )  # fmt: skip

    def _limits(self, name: str, title: str, least: float, size: int, *settings: str) -> None:
        def fused(queue_settings: str | None) -> float:
            before = [f"select from tide.set_queue('bench', '{queue_settings}')"]
            return self.rate(
                steps.tide_fused, size, *settings, before=before if queue_settings else ()
            )

        self.compare(
            Result(
                name, title, "runs/s", "uncapped",
                aims=[Aim("capped", least, "uncapped"), Aim("rated", least, "uncapped")],
            ),
            {
                "raw": partial(self.rate, steps.raw_drain, size, *settings),
                "uncapped": partial(fused, None),
                "capped": partial(fused, '{"concurrency": 100}'),
                "rated": partial(fused, '{"rate_limit": 10000, "rate_period": "1 second"}'),
            },
        )  # fmt: skip

    def steps(self) -> None:
        each = 20

        def worked(function: Callable[..., Seen]) -> float:
            return each * self._work("tide_loaded", function, self.scale.steps_runs, 20, steps=each)

        self.compare(
            Result(
                "steps",
                f"Steps, {each} a run",
                "steps/s",
                "raw, 4 connections",
                aims=[Aim("worker", 3, "absurd"), Aim("worker", 12, "dbos")],
            ),
            {
                "raw, 4 connections": partial(self.rate, steps.raw_steps, steps=each),
                "worker": partial(worked, workers.tide_sync),
                "asyncio worker": partial(worked, workers.tide_async),
            },
        )

    def worker(self) -> None:
        runs = self.scale.loaded
        self.compare(
            Result(
                "worker",
                f"Python worker end to end, {runs:,} no-ops",
                "runs/s",
                "raw loop",
                aims=[
                    Aim("worker, 100 at once", times, peer)
                    for peer, times in (("pgqueuer", 1.5), ("dbos", 20), ("absurd", 20))
                ],
            ),
            {
                "raw loop": partial(self._work, "raw_loaded", workers.raw_worker, runs, 100),
                **{
                    f"{name}, {concurrency} at once": partial(
                        self._work, "tide_loaded", function, runs, concurrency
                    )
                    for name, function in (
                        ("worker", workers.tide_sync),
                        ("asyncio worker", workers.tide_async),
                    )
                    for concurrency in ((100,) if self.scale.brief else (16, 100))
                },
            },
            rounds=2,
        )

    def _work(
        self,
        template: str,
        function: Callable[..., Seen],
        runs: int,
        concurrency: int,
        **options: Any,
    ) -> float:
        """From the first handler to the end of the worker."""
        with self.stage.database(template) as dsn:
            arguments = {"dsn": dsn, "runs": runs, "concurrency": concurrency, **options}
            seen: Seen = self.crew.all([Task(function, arguments)])[0]
        return len(seen["handled"]) / (seen["ended"] - seen["handled"][0][1])

    def pickup(self) -> None:
        listening = {
            "raw LISTEN": ("raw", "raw notify", workers.raw_worker),
            "worker": ("tide", "tide", workers.tide_sync),
            "asyncio worker": ("tide", "tide", workers.tide_async),
        }
        polling = ("raw", "raw", partial(workers.raw_worker, listen=False))
        idle = {name: self._pickup(*how, 100, 0.05) for name, how in listening.items()}
        idle["raw poll"] = self._pickup(*polling, 100, 0.05)
        self._latencies("pickup_idle", "Pickup, an enqueue each 50 ms", idle)
        if not self.scale.brief:
            rare = {name: self._pickup(*how, 16, 0.4) for name, how in listening.items()}
            self._latencies("pickup_rare", "Pickup, an enqueue each 400 ms", rare)
        load = {name: self._pickup(*how, 1200, 1 / 300) for name, how in listening.items()}
        self._latencies("pickup_load", "Pickup, 300 enqueues a second", load)

    def _latencies(self, name: str, title: str, found: Mapping[str, list[float]]) -> None:
        for percent, most in ((50, 2.0), (99, 6.0)):
            self.keep(
                Result(
                    f"{name}_p{percent}", f"{title}, p{percent}", "ms", "raw LISTEN",
                    {who: [percentile(times, percent)] for who, times in found.items()},
                    [Aim("worker", most, at_most=True), Aim("asyncio worker", most, at_most=True)]
                    if name != "pickup_load"
                    else [],
                )
            )  # fmt: skip

    def _pickup(
        self, template: str, kind: str, function: Callable[..., Seen], jobs: int, interval: float
    ) -> list[float]:
        """Milliseconds from the return of the enqueue to the handler."""
        listen = {} if isinstance(function, partial) else {"listen": True}
        with self.stage.database(template) as dsn:
            self.crew.start(0, function, dsn=dsn, runs=jobs, concurrency=16, **listen)
            self.crew.start(
                1, workers.pace,
                dsn=dsn, kind=kind, jobs=jobs, many=1, interval=interval, delay=1.5,
            )  # fmt: skip
            sent = dict(self.crew.answer(1))
            seen: Seen = self.crew.answer(0)
        first = dict(reversed(seen["handled"]))
        return [(first[job] - sent[job]) * 1000 for job in sent]

    def idle(self) -> None:
        """Transactions of a worker with nothing to do, in ten seconds."""
        if not self.scale.idle_seconds:
            return
        count = "select pg_stat_force_next_flush(), pg_stat_clear_snapshot()"
        read = "select xact_commit from pg_stat_database where datname = current_database()"
        with self.stage.database("tide") as dsn:
            self.crew.start(0, workers.tide_async, dsn=dsn, runs=1, concurrency=16)
            time.sleep(20)
            before = execute(dsn, count, read)[0][0]
            time.sleep(self.scale.idle_seconds)
            # Two statements of our own are counted too.
            done = execute(dsn, count, read)[0][0] - before - 2
            self.crew.all([])
            workers.pace(dsn, "tide", 1, 1, 0)
            self.crew.answer(0)
        self.keep(
            Result(
                "idle", "Transactions of an idle worker in 10 s", "transactions",
                "asyncio worker",
                {"asyncio worker": [max(0, done) * 10 / self.scale.idle_seconds]},
                [Aim("asyncio worker", 1.0, at_most=True)],
            )
        )  # fmt: skip

    def heartbeats(self) -> None:
        def beat(template: str, make: Callable[..., Step], *before: str) -> float:
            with self.stage.database(template) as dsn:
                execute(dsn, *before)
                self.stage.settle(dsn)
                return self.crew.rate(make, 1, seconds=self.scale.seconds, dsn=dsn)

        claims = "select count(*) from tide.claim('{bench}', max_runs => 1000, lease => '1 hour')"
        self.compare(
            Result("heartbeats", "Heartbeats of 10,000 running runs in one call", "runs/s", "raw"),
            {
                "raw": partial(
                    beat, "raw_loaded", steps.raw_heartbeat,
                    "update q set state = 1 where id <= 10000",
                ),
                "heartbeat": partial(
                    beat, "tide_loaded", steps.tide_heartbeat, *[claims] * 10
                ),
            },
        )  # fmt: skip

    def gates(self) -> None:
        self.compare(
            Result(
                "gates",
                "Park at a gate, decide, claim again, finish; 1 connection",
                "runs/s",
                "raw",
            ),
            {
                "raw": partial(self.rate, steps.raw_park, 1),
                "gate": partial(self.rate, steps.tide_park, 1),
            },
        )

    def backlog(self) -> None:
        count = self.scale.backlog
        fills = {
            "raw": ("raw", [FILL_RAW.format(count=self.scale.loaded)]),
            "raw beside queued": ("raw", [BACKLOG_RAW.format(count=count)]),
            "empty": ("tide", [FILL_TIDE.format(count=self.scale.loaded)]),
            "queued": ("tide", [QUEUED]),
            "finished": ("tide", [FILL_TIDE.format(count=self.scale.loaded), FINISHED]),
            "parked": ("tide", [FILL_TIDE.format(count=self.scale.loaded), PARKED]),
            "all three": ("tide", [QUEUED, FINISHED, PARKED]),
        }
        if self.scale.brief:
            fills = {name: fills[name] for name in ("empty", "all three")}
        with ExitStack() as opened:
            contenders = {}
            for name, (template, statements) in fills.items():
                dsn = opened.enter_context(self.stage.database(template))
                execute(dsn, *(statement.format(count=count) for statement in statements))
                self.stage.settle(dsn)
                make = steps.raw_drain if template == "raw" else steps.tide_fused
                contenders[name] = partial(self._take_some, make, dsn)
            self.compare(
                Result(
                    "backlog", f"Claim and finish one by one beside {count:,} others", "runs/s",
                    "empty",
                    aims=[
                        Aim(name, round(1 / 1.3, 2), "empty")
                        for name in ("queued", "finished", "parked", "all three")
                    if name in fills
                    ],
                ),
                contenders,
            )  # fmt: skip

    def _take_some(self, make: Callable[..., Step], dsn: str) -> float:
        self.stage.settle(dsn)
        most = self.scale.loaded // (CONNECTIONS * self.scale.rounds)
        return self.crew.rate(
            make, CONNECTIONS, seconds=self.scale.seconds, most=min(most, 1000), dsn=dsn
        )

    def held_snapshot(self) -> None:
        """Claims after a time at 500/s while a transaction elsewhere keeps all dead rows, against
        a control at the same time in a database of its own, whose dead rows are vacuumed."""
        found: dict[str, list[float]] = {}
        growth: dict[str, list[float]] = {}
        kept: dict[str, list[float]] = {}
        with Others(self.roots) as others:
            for kind, function, pacing in (
                ("raw", workers.raw_worker, "raw"),
                ("tide", workers.tide_async, "tide many"),
            ):
                self._hold(kind, function, pacing, found, growth, kept)
        aim = Aim("tide, held", 0.8, "tide, control")
        seconds = f"{self.scale.held_seconds:g} s at 500/s under a held snapshot"
        self.keep(
            Result(
                "held_snapshot", f"Claims, 1 connection, after {seconds}", "runs/s",
                "tide, control", found, [aim], others.cores,
            )
        )  # fmt: skip
        self.keep(Result("held_rate", f"Handled in {seconds}", "runs/s", "raw, control", kept))
        self.keep(
            Result("held_growth", f"Growth in {seconds}", "bytes/run", "raw, control", growth)
        )

    def _hold(
        self,
        kind: str,
        function: Callable[..., Seen],
        pacing: str,
        found: dict[str, list[float]],
        growth: dict[str, list[float]],
        kept: dict[str, list[float]],
    ) -> None:
        jobs = int(500 * self.scale.held_seconds)
        fill = FILL_RAW if kind == "raw" else FILL_TIDE
        make = steps.raw_drain if kind == "raw" else steps.tide_drain
        size = "select pg_database_size(current_database())"
        with ExitStack() as opened:
            dsns = {
                f"{kind}, {name}": opened.enter_context(self.stage.database(kind))
                for name in ("control", "held")
            }
            sizes = {name: execute(dsn, size)[0][0] for name, dsn in dsns.items()}
            holder = opened.enter_context(workers.hold_snapshot(dsns[f"{kind}, held"]))
            for number, dsn in enumerate(dsns.values()):
                self.crew.start(2 * number, function, dsn=dsn, runs=jobs, concurrency=100)
                self.crew.start(
                    2 * number + 1, workers.pace,
                    dsn=dsn, kind=pacing, jobs=jobs, many=25, interval=0.05, delay=1.0,
                )  # fmt: skip
            for number, name in enumerate(dsns):
                sent = self.crew.answer(2 * number + 1)
                seen: Seen = self.crew.answer(2 * number)
                kept[name] = [jobs / (seen["ended"] - sent[0][1])]
            for name, dsn in dsns.items():
                growth[name] = [(execute(dsn, size)[0][0] - sizes[name]) / jobs]
                execute(dsn, fill.format(count=3000), "vacuum analyze")
            for _ in range(self.scale.rounds):
                for name, dsn in dsns.items():
                    rate = self.crew.rate(make, 1, seconds=4, most=400, dsn=dsn)
                    found.setdefault(name, []).append(rate)
            holder.rollback()

    def pooler(self) -> None:
        with self.stage.bouncer() as port:
            if port is None:
                print("  no PgBouncer here: left out")
                return
            self.compare(
                Result(
                    "pooler", "settle_and_claim one by one, 4 connections, PgBouncer", "runs/s",
                    "raw, direct",
                ),
                {
                    f"{name}, {how}": partial(
                        self.rate, make, port=at, prepare=False
                    )
                    for name, make in (("raw", steps.raw_drain), ("tide", steps.tide_fused))
                    for how, at in (("direct", None), ("pooled", port))
                },
            )  # fmt: skip


ORDER: Final = (
    "enqueue_one", "enqueue_many", "one_by_one", "batches", "limits", "slow_commits", "steps",
    "worker", "pickup", "idle", "heartbeats", "gates", "backlog", "held_snapshot", "pooler",
)  # fmt: skip
"""The methods above, as the report shows them."""
