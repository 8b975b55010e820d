"""The measurements: contenders take turns, round by round, each on a fresh copy of a database."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from benchmarks import costs, door, fills, history, steps, studio, upgrades, workers
from benchmarks.crew import Crew, Spent, Step, Task
from benchmarks.others import Others, used
from benchmarks.results import Aim, Result, percentile
from benchmarks.scales import Scale
from benchmarks.stage import RAW, Stage, execute
from benchmarks.workers import Seen
from tidebase_pg import admin

IDLERS: Final = 100
"""The first member of the crew whom no other measurement needs."""


COSTED: Final = ("enqueue_one", "enqueue_many", "one_by_one", "batches_10", "batches_100")
"""Rates beside which processor time is told: their rounds do nothing but the work."""

LEVELS: Final = 2.0
"""How much more a call may touch beside the longest history, whose indexes are levels deeper."""


@dataclass(frozen=True, slots=True)
class Idler:
    """A worker with nothing to do, in a database whose every statement is logged."""

    member: int
    dsn: str
    since: float


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
        crew.server = partial(used, stage.process)
        self.results: list[Result] = []
        self.spent: dict[str, dict[str, list[Spent]]] = {}
        self.seconds: dict[str, float] = {}
        """What each measurement took, with all it had to fill before."""
        self.together = f"{scale.connections} connections"
        self.ending = ExitStack()
        self.idlers: dict[str, Idler] = {}
        self.past: str | None = None
        self.crowded = False
        self.stage.template("raw_loaded", partial(self._load, "raw", fills.RAW))
        self.stage.template("tide_loaded", partial(self._load, "tide", fills.TIDE))

    def run(self, only: Sequence[str]) -> None:
        chosen = [name for name in ORDER if not only or name in only]
        with self.ending:
            if "idle" in chosen:
                self._start_idlers()
            for name in chosen:
                began = time.monotonic()
                getattr(self, name)()
                self.seconds[name] = round(time.monotonic() - began, 1)

    # How

    def _load(self, kind: str, fill: str, dsn: str) -> None:
        """What is in a template: the tables, jobs ready to be taken, nothing to be vacuumed."""
        if kind == "raw":
            execute(dsn, RAW)
        else:
            admin.install(dsn)
        execute(dsn, fill.format(count=self.scale.loaded), "vacuum analyze", "checkpoint")

    def _rate(self, make: Callable[..., Step], connections: int, **options: Any) -> float:
        return self.crew.rate(
            make, connections, **{"seconds": self.scale.seconds, "warm": self.scale.warm} | options
        )

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
                        else:
                            self.note(result, name, self.crew.spent)
        result.others = others.cores
        return self.keep(result)

    def note(self, rate: Result, contender: str, spent: Spent) -> None:
        """What a round of a rate cost; nothing where it was too short for the system's clock."""
        if rate.name in COSTED and spent.server > 0 and spent.client > 0:
            values = self.spent.setdefault(rate.name, {}).setdefault(contender, [])
            values.append(spent)

    def show_spent(self) -> None:
        """After the peers: processor time of the rates that all were measured by."""
        for rate in list(self.results):
            for part in ("server", "client") if rate.name in self.spent else ():
                self.keep(
                    Result(
                        f"{rate.name}_{part}",
                        f"{rate.title}: processor time of the {part}",
                        "µs/run",
                        rate.base,
                        {
                            contender: [1e6 * getattr(spent, part) for spent in values]
                            for contender, values in self.spent[rate.name].items()
                        },
                        others=rate.others,
                    )
                )

    def keep(self, result: Result) -> Result:
        self.results.append(result)
        self.show(result)
        return result

    def rate(
        self,
        make: Callable[..., Step],
        connections: int | None = None,
        *settings: str,
        template: str | None = None,
        before: Sequence[str] = (),
        most: int | None = None,
        port: int | None = None,
        **options: Any,
    ) -> float:
        """Jobs a second on a fresh copy of the template of `make`'s kind."""
        kind = "tide" if make.__name__.startswith("tide") else "raw"
        connections = connections or self.scale.connections
        if most is None:
            # A tenth is left for the steps that warm the connections.
            most = self.scale.loaded * 9 // 10 // connections
        with self.stage.database(template or f"{kind}_loaded", *settings) as dsn:
            execute(dsn, *before)
            if port is not None:
                dsn = dsn.replace(f":{self.stage.port}/", f":{port}/")
            return self._rate(make, connections, most=most, dsn=dsn, **options)

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
        many = min(10_000, self.scale.bulk)

        def bulk(make: Callable[..., Step]) -> float:
            with self.stage.database(make.__name__.split("_")[0]) as dsn:
                return self.crew.rate(
                    make, 1, seconds=60, most=self.scale.bulk, warm=1, dsn=dsn, many=many
                )

        self.compare(
            Result(
                "enqueue_many", f"Enqueue {self.scale.bulk:,} in calls of {many:,}", "runs/s",
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
                "one_by_one", f"Claim and finish one by one, {self.together}", "runs/s", "raw",
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
        for many in (10, 100):
            self.compare(
                Result(
                    f"batches_{many}", f"Claim and finish in batches of {many}, {self.together}",
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

    def costs(self) -> None:
        """The figures that hold on every machine, whatever its disk and its processors."""
        for kilobytes in costs.SIZES:
            for many, how in ((1, "one by one"), (100, "in hundreds")):
                self._costs(kilobytes, many, f"{kilobytes} kB {how}")

    def _costs(self, kilobytes: int, many: int, title: str) -> None:
        results = {
            part: Result(f"cost_{part}_{kilobytes}_{many}", f"{title}, {what}", unit, "raw")
            for part, what, unit in (
                ("server", "processor time of the server", "µs/run"),
                ("client", "processor time of the client", "µs/run"),
                ("wal", "write-ahead log", "bytes/run"),
            )
        }
        if kilobytes == max(costs.SIZES):
            most = 1.15 * len(costs.payload(kilobytes)) + 3000
            results["wal"].aims.append(Aim("tide", round(most), at_most=True))
        runs = min(self.scale.loaded, 2_000 if many > 1 else 500)
        with Others(self.roots) as others:
            for _ in range(self.scale.rounds):
                for kind in ("raw", "tide"):
                    with self.stage.database(kind) as dsn:
                        task = Task(
                            costs.spend,
                            {
                                "kind": kind, "dsn": dsn, "many": many, "kilobytes": kilobytes,
                                "runs": runs, "warm": self.scale.warm,
                            },
                        )  # fmt: skip
                        (spent,) = self.crew.all([task])
                    for part, result in results.items():
                        result.values.setdefault(kind, []).append(getattr(spent, part))
        for result in results.values():
            result.others = others.cores
            self.keep(result)

    def limits(self) -> None:
        many = self.scale.connections
        self._limits(
            "limits", f"Limits, settle_and_claim one by one, {many} connections", 0.5, many
        )

    def slow_commits(self) -> None:
        """As on a disk, or a replica, that takes 5 ms to confirm a commit."""
        many = self.scale.slow_connections
        self._limits(
            "slow_commits", f"The same at commits of 5 ms, {many} connections", 0.8,
            many,
            "commit_delay = 5000", "commit_siblings = 0",
        )  # fmt: skip

    def allowances(self) -> None:
        """The row that all update is held for as long as a commit takes."""
        many = 4 * self.scale.slow_connections
        settings = ("commit_delay = 5000", "commit_siblings = 0")
        self.compare(
            Result(
                "allowances",
                f"Calls that reserve and settle, at commits of 5 ms, {many} connections",
                "calls/s",
                "one row",
                aims=[Aim("allowance", 10, "one row")],
            ),
            {
                "one row": partial(
                    self.rate, steps.raw_spend, many, *settings, template="raw",
                    before=[
                        "create table spendable (amount numeric, spent numeric, reserved numeric)",
                        "insert into spendable values (1e12, 0, 0)",
                    ],
                ),
                "allowance": partial(
                    self.rate, steps.tide_spend, many, *settings, template="tide",
                    before=["select from tide.set_allowance('house', 'tokens', 1e12)"],
                ),
            },
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
                f"raw, {self.together}",
                aims=[
                    Aim(name, times, peer)
                    for peer, times in (("absurd", 3), ("dbos", 12))
                    for name in ("worker", "asyncio worker")
                ],
            ),
            {
                f"raw, {self.together}": partial(self.rate, steps.raw_steps, steps=each),
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
                    Aim(f"{name}, 100 at once", times, peer)
                    for peer, times in (("pgqueuer", 1.5), ("dbos", 20), ("absurd", 20))
                    for name in ("worker", "asyncio worker")
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
            rounds=min(2, self.scale.rounds),
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
        listening: dict[str, tuple[str, str, Callable[..., Seen]]] = {
            "raw LISTEN": ("raw", "raw notify", workers.raw_worker),
            "worker": ("tide", "tide", workers.tide_sync),
            "asyncio worker": ("tide", "tide", workers.tide_async),
        }
        idle = dict(listening)
        if not self.scale.brief:
            idle["raw poll"] = ("raw", "raw", partial(workers.raw_worker, listen=False))
        few, many = self.scale.pickups, self.scale.pickups * 6
        for name, title, contenders, jobs, interval in (
            ("pickup_idle", "Pickup, an enqueue each 50 ms", idle, few, 0.05),
            ("pickup_rare", "Pickup, an enqueue each 400 ms", listening, max(few // 10, 2), 0.4),
            ("pickup_load", "Pickup, 300 enqueues a second", listening, many, 1 / 300),
        ):
            if name != "pickup_rare" or not self.scale.brief:
                with Others(self.roots) as others:
                    found = {
                        who: self._pickup(*how, jobs, interval) for who, how in contenders.items()
                    }
                self._latencies(name, title, found, others.cores)

    def _latencies(
        self, name: str, title: str, found: Mapping[str, list[float]], others: float
    ) -> None:
        for percent, most in ((50, 2.0), (99, 6.0)):
            self.keep(
                Result(
                    f"{name}_p{percent}", f"{title}, p{percent}", "ms", "raw LISTEN",
                    {who: [percentile(times, percent)] for who, times in found.items()},
                    [Aim("worker", most, at_most=True), Aim("asyncio worker", most, at_most=True)]
                    if name != "pickup_load"
                    else [],
                    others,
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
                dsn=dsn, kind=kind, jobs=jobs, many=1, interval=interval,
                delay=self.scale.lead_seconds,
            )  # fmt: skip
            sent = dict(self.crew.answer(1))
            seen: Seen = self.crew.answer(0)
        first = dict(reversed(seen["handled"]))
        return [(first[job] - sent[job]) * 1000 for job in sent]

    def _start_idlers(self) -> None:
        """They idle while the rest is measured, and ask no more of the machine than is counted."""
        contenders = {"worker": workers.tide_sync, "asyncio worker": workers.tide_async}
        for member, (name, function) in enumerate(contenders.items(), start=IDLERS):
            dsn = self.ending.enter_context(self.stage.database("tide", "log_statement = 'all'"))
            self.crew.start(member, function, dsn=dsn, runs=1, concurrency=16)
            self.idlers[name] = Idler(member, dsn, time.time())

    def idle(self) -> None:
        """Statements of a worker with nothing to do, as the server logged them."""
        settled, watched = self.scale.idle_seconds
        found: dict[str, list[float]] = {}
        for name, idler in self.idlers.items():
            since = idler.since + settled
            time.sleep(max(0.0, since + watched - time.time()))
            until = time.time()
            statements = self.stage.statements(idler.dsn, since, until)
            found[name] = [statements * 10 / (until - since)]
        for idler in self.idlers.values():
            workers.pace(idler.dsn, "tide", 1, 1, 0)
            self.crew.answer(idler.member)
        self.keep(
            Result(
                "idle", "Statements of an idle worker in 10 s", "statements", "worker", found,
                [Aim(name, 1.0, at_most=True) for name in found],
            )
        )  # fmt: skip

    def heartbeats(self) -> None:
        def beat(template: str, make: Callable[..., Step], *before: str) -> float:
            with self.stage.database(template) as dsn:
                execute(dsn, *before)
                self.stage.settle(dsn)
                return self._rate(make, 1, dsn=dsn)

        count = self.scale.running
        claims = (
            "select count(*) "
            f"from tide.claim('{{bench}}', max_runs => {count // 10}, lease => '1 hour')"
        )
        self.compare(
            Result(
                "heartbeats", f"Heartbeats of {count:,} running runs in one call", "runs/s", "raw"
            ),
            {
                "raw": partial(
                    beat, "raw_loaded", steps.raw_heartbeat,
                    f"update q set state = 1 where id <= {count}",
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

    def growth(self) -> None:
        """Buffers that calls touch beside histories of different lengths."""
        found: dict[str, dict[str, list[float]]] = {}
        sizes = [f"{count:,}" for count in self.scale.histories]
        for count, size in zip(self.scale.histories, sizes, strict=True):
            for call, buffers in history.touched(self._history(count)).items():
                found.setdefault(call, {})[size] = [buffers]
        for call, values in found.items():
            self.keep(
                Result(
                    f"growth_{call.replace(' ', '_')}", f"{call}, by finished runs", "buffers",
                    sizes[0], values, [Aim(sizes[-1], LEVELS, sizes[0], at_most=True)],
                )
            )  # fmt: skip

    def _history(self, count: int) -> str:
        """The database with at least so many finished runs; it grows and stays until the end."""
        if self.past is None:
            self.past = self.ending.enter_context(self.stage.database("tide"))
            self.length = 0
        if count > self.length:
            history.lengthen(self.past, self.length, count)
            self.length = count
        return self.past

    def backlog(self) -> None:
        count = self.scale.backlog
        longest = self.scale.histories[-1]
        both = [fills.QUEUED, fills.PARKED, fills.GATES]
        beside = {
            "raw": ("raw", [fills.RAW]),
            "raw beside queued": ("raw", [fills.BACKLOG_RAW]),
            "empty": ("tide", [fills.TIDE]),
            "queued": ("tide", [fills.QUEUED]),
            "parked": ("tide", [fills.TIDE, *both[1:]]),
            "all three": ("history", both),
        }
        if self.scale.brief:
            beside = {name: beside[name] for name in ("empty", "all three")}
        with ExitStack() as opened, ThreadPoolExecutor(2) as pool:
            dsns = {
                name: self._history(longest)
                if template == "history"
                else opened.enter_context(self.stage.database(template))
                for name, (template, _) in beside.items()
            }
            self.crowded = True
            longest_first = sorted(beside, key=lambda name: -len(beside[name][1]))
            for done in [
                pool.submit(self._fill, dsns[name], beside[name][1]) for name in longest_first
            ]:
                done.result()
            self.compare(
                Result(
                    "backlog",
                    f"Claim and finish one by one beside {count:,} queued, {count:,} parked, "
                    f"{longest:,} finished",
                    "runs/s", "empty",
                    aims=[
                        Aim(name, round(1 / 1.3, 2), "empty")
                        for name in ("queued", "parked", "all three")
                        if name in beside
                    ],
                ),
                {
                    name: partial(
                        self._take_some,
                        steps.raw_drain if name.startswith("raw") else steps.tide_fused,
                        dsn,
                    )
                    for name, dsn in dsns.items()
                },
            )  # fmt: skip

    def _crowd(self) -> str:
        """The longest history with queued and parked runs beside it; made once."""
        dsn = self._history(self.scale.histories[-1])
        if not self.crowded:
            self._fill(dsn, [fills.QUEUED, fills.PARKED, fills.GATES])
            self.crowded = True
        return dsn

    def _fill(self, dsn: str, statements: Sequence[str]) -> None:
        for statement in statements:
            alone = statement in (fills.RAW, fills.TIDE)
            count = self.scale.loaded if alone else self.scale.backlog
            execute(dsn, statement.format(count=count))
        self.stage.settle(dsn)

    def _take_some(self, make: Callable[..., Step], dsn: str) -> float:
        execute(dsn, "vacuum", "checkpoint")
        most = self.scale.loaded // (self.scale.connections * self.scale.rounds)
        return self._rate(make, self.scale.connections, most=min(most, 1000), dsn=dsn)

    def studio(self) -> None:
        """Pages of Studio beside a full house, and what it costs that many are open."""
        dsn = self._crowd()
        laned = fills.LANED.format(count=self.scale.backlog // 20)
        execute(dsn, fills.LANES.format(), laned, *studio.SETTLED)
        waiting, ended = self.scale.backlog, self.scale.histories[-1]
        beside = f"beside {waiting:,} queued, {waiting:,} parked, {ended:,} finished"
        with Others(self.roots) as others:
            found = studio.looks(dsn, self.scale.rounds)
        time_of = Result(
            "studio_time", f"A page of Studio {beside}", "ms", "overview",
            {name: look.milliseconds for name, look in found.items()},
            [Aim(name, 150, at_most=True) for name in found if name != studio.EXAMINED],
            others.cores,
        )  # fmt: skip
        self.keep(time_of)
        self.keep(
            Result(
                "studio_buffers", f"Calls of a page of Studio {beside}", "buffers", "overview",
                {name: [float(look.buffers)] for name, look in found.items()},
            )
        )  # fmt: skip
        pages, (_, seconds) = self.scale.studio_pages, self.scale.idle_seconds
        with door.gateway(dsn, studio=True) as port:
            self.compare(
                Result(
                    "studio_open",
                    f"Time of the database for {pages} open pages of Studio {beside}",
                    "cores", "database", aims=[Aim("database", 0.05, at_most=True)],
                ),
                {"database": partial(studio.watched, dsn, port, pages, seconds)},
                rounds=1,
            )  # fmt: skip

    def upgrade(self) -> None:
        """From the release before to this one, and what the dry run said of it."""
        finished, active = self.scale.upgraded
        beside = f"{finished:,} finished and {active:,} active runs of {upgrades.RELEASE}"
        with self.stage.database("empty") as dsn:
            upgrades.fill(dsn, finished, active)
            with Others(self.roots) as others:
                found = upgrades.upgrade(dsn)
        for name, title, unit, first, values in (
            (
                "upgrade_time", f"Upgrade with {beside}", "s", "whole",
                {"whole": found.seconds, "indexes, foretold": found.foretold_seconds},
            ),
            (
                "upgrade_wait", f"The slowest of {found.enqueued:,} enqueues beside an upgrade",
                "ms", "enqueue", {"enqueue": found.longest_wait},
            ),
            (
                "upgrade_room", f"What an upgrade writes with {beside}", "bytes", "on disk",
                {
                    "on disk": float(found.growth),
                    "indexes, foretold": float(found.foretold_growth),
                    "WAL": float(found.wal),
                },
            ),
        ):  # fmt: skip
            listed = {key: [value] for key, value in values.items()}
            self.keep(Result(name, title, unit, first, listed, [], others.cores))

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
        fill = fills.RAW if kind == "raw" else fills.TIDE
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
                    dsn=dsn, kind=pacing, jobs=jobs, many=25, interval=0.05,
                    delay=self.scale.lead_seconds,
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
                    rate = self._rate(make, 1, seconds=4, most=min(400, jobs), dsn=dsn)
                    found.setdefault(name, []).append(rate)
            holder.rollback()

    def pooler(self) -> None:
        with self.stage.bouncer() as port:
            if port is None:
                print("  no PgBouncer here: left out")
                return
            self.compare(
                Result(
                    "pooler", f"settle_and_claim one by one, {self.together}, PgBouncer", "runs/s",
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

    def door(self) -> None:
        """Through the HTTP door, beside the driver."""
        one_call = [Aim("gateway", 1 / 3, "driver")]
        for name, title, direct, through, connections, aims in (
            ("enqueue", "Enqueue", door.driver_enqueue, door.door_enqueue, 1, one_call),
            ("run", "Enqueue, claim, finish", door.driver_drain, door.door_drain, 1, []),
            ("step", "A step", door.driver_step, door.door_step, 1, one_call),
            (
                "many", "Enqueue", door.driver_enqueue, door.door_enqueue, 16,
                [Aim("gateway", 0.4, "driver")],
            ),
        ):  # fmt: skip
            self.compare(
                Result(
                    f"door_{name}",
                    f"{title} over HTTP, {connections} kept connection{'s'[: connections - 1]}",
                    "calls/s",
                    "driver",
                    aims=aims,
                ),
                {
                    "driver": partial(self._direct, direct, connections),
                    "gateway": partial(self._through, through, connections),
                },
            )

        self._door_beside_a_backlog()
        self._door_of_idle_workers()

    def _door_beside_a_backlog(self) -> None:
        """What a Tidebase server does seven to nine times a second with as much before it."""
        count = self.scale.door_backlog
        with self.stage.database("tide") as dsn:
            execute(dsn, fills.TIDE.format(count=count))
            self.stage.settle(dsn)
            with door.gateway(dsn) as port:
                self.compare(
                    Result(
                        "door_backlog",
                        f"Enqueue, claim, finish beside {count:,} queued, 1 kept connection",
                        "runs/s", "driver", aims=[Aim("gateway", 9)],
                    ),
                    {
                        "driver": partial(self._rate, door.driver_drain, 1, dsn=dsn),
                        "gateway": partial(self._rate, door.door_drain, 1, port=port),
                    },
                )  # fmt: skip

    def _door_of_idle_workers(self) -> None:
        """Each asks once a second, as the SDKs do."""
        _, watched = self.scale.idle_seconds
        workers = self.scale.door_workers
        with self.stage.database("tide") as dsn, door.gateway(dsn) as port:
            self.compare(
                Result(
                    "door_idle",
                    f"Time of the database for {workers} idle workers over HTTP",
                    "cores", "database", aims=[Aim("database", 0.05, at_most=True)],
                ),
                {"database": partial(door.polled, dsn, port, workers, watched)},
                rounds=1,
            )  # fmt: skip

    def _direct(self, make: Callable[..., Step], connections: int) -> float:
        with self.stage.database("tide") as dsn:
            return self._rate(make, connections, dsn=dsn)

    def _through(self, make: Callable[..., Step], connections: int) -> float:
        with self.stage.database("tide") as dsn, door.gateway(dsn) as port:
            return self._rate(make, connections, port=port)


ORDER: Final = (
    "enqueue_one", "enqueue_many", "one_by_one", "batches", "costs", "limits", "slow_commits",
    "allowances", "steps", "worker", "pickup", "heartbeats", "gates", "pooler", "held_snapshot",
    "growth", "backlog", "studio", "upgrade", "door", "idle",
)  # fmt: skip
"""The methods above, as the report shows them."""
