"""A storm around one worker of each colour: everything that may happen to its connections, its
server, its rows, its event loop and itself, at once. Then the checks of the campaign, and three
more: what is executed again, what is left behind, and whether it ends."""

from __future__ import annotations

import contextlib
import itertools
import os
import random
import signal
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator

import psycopg

from tests.chaos.application import LEASE
from tests.chaos.besieged import SLOTS
from tests.chaos.campaign import Campaign, Fault, Person, Report
from tests.chaos.history import Facts, Log, gather, read, violations
from tests.chaos.line import Line
from tests.servers import ROOT
from tests.support import open_connection

COLOURS = ("sync", "async")
ENDING = 120.0
"""Seconds a worker has to let go of things, and to end after a signal, once all is quiet."""
MOST_SOCKETS = 24
"""Those of the places of its Tidebase, of its own, and of its pipes to itself."""
MOST_TASKS = SLOTS + 8
MOST_THREADS = SLOTS + 14
"""Slots, what is beside them, and the threads asyncio keeps for calls that block."""
NEEDED = {
    "lines cut": 100, "lines frozen": 50, "lines slowed": 50, "servers killed": 3,
    "sessions limited": 20, "backends stopped": 10, "workers stopped beyond their lease": 10,
    "workers killed": 3, "rows held": 50, "loops blocked": 10,
}  # fmt: skip
"""Faults a storm of ten minutes has to have met, or it was too weak to say anything."""


def only_what_was_in_flight_at_a_death_is_executed_again(facts: Facts) -> Iterator[str]:
    executed: dict[tuple[str, str], list[float]] = defaultdict(list)
    for line in facts.of("effect"):
        if not facts.in_flight_at_a_stop(line):
            executed[line["run_id"], line["step"]].append(line["at"])
    for (run_id, step), times in executed.items():
        times.sort()
        taken = [
            at
            for _, kind, payload, at in facts.events.get(run_id, [])
            if kind == "run.cancelled"
            or (kind == "run.requeued" and payload.get("reason") == "lease_expired")
        ]
        for first, again in itertools.pairwise(times):
            if not any(first <= at <= again for at in taken):
                yield f"step {step} of {run_id} was executed at {first:.3f} and at {again:.3f}"


def no_run_fails_because_of_the_database(facts: Facts) -> Iterator[str]:
    """A part touches the database through the driver alone, so no error of it is its own."""
    for run_id, events in facts.events.items():
        for _, kind, payload, _ in events:
            failed = kind == "run.failed" and payload.get("failure_class") != "max_retries"
            if failed and payload["error"].get("type") not in ("Fail", "RuntimeError"):
                yield f"run {run_id} failed: {payload['error'].get('type')}"


def nothing_is_left_behind(facts: Facts) -> Iterator[str]:
    last = {line["pid"]: line for line in facts.of("census")}
    alive = {line["pid"] for line in facts.of("alive at the end")}
    for pid, line in last.items():
        if pid not in alive:
            continue
        if line["sockets"] > MOST_SOCKETS:
            yield f"the {line['colour']} worker holds {line['sockets']} sockets"
        if line["tasks"] > MOST_TASKS:
            yield f"the {line['colour']} worker has {line['tasks']} tasks"
        if len(line["threads"]) > MOST_THREADS:
            yield f"the {line['colour']} worker has these threads: {line['threads']}"


def a_worker_ends_when_told_to(facts: Facts) -> Iterator[str]:
    for line in facts.of("did not end"):
        yield f"the {line['colour']} worker did not end: {line['stacks']}"


CHECKS: list[Callable[[Facts], Iterator[str]]] = [
    only_what_was_in_flight_at_a_death_is_executed_again,
    no_run_fails_because_of_the_database,
    nothing_is_left_behind,
    a_worker_ends_when_told_to,
]


class Storm(Campaign):
    """One storm; `run` returns its report."""

    line: Line

    def prepare_disk(self) -> None:
        """Disks are filled by the campaign."""

    def prepare_lines(self) -> None:
        with open_connection(self.dsn) as connection:
            connection.execute("create role besieged login in role tide_worker, tide_client")
            connection.execute("grant all on ledger, outbox to besieged")
        self.line = Line(self.server.dsn("postgres").replace("postgres@", "besieged@", 1))

    @property
    def colours(self) -> tuple[str, ...]:
        return COLOURS

    def people(self) -> list[Person]:
        return [
            self.produce, self.produce, self.decide, self.operate, self.help_along,
            self.hold_rows, self.block,
        ]  # fmt: skip

    def faults_and_weights(self) -> list[tuple[Fault, int]]:
        return [
            (self.cut_lines, 8), (self.freeze_lines, 6), (self.slow_lines, 5),
            (self.limit_sessions, 4), (self.stop_backends, 3), (self.stop_worker, 3),
            (self.end_backends, 2), (self.kill_server, 1), (self.kill_worker, 1),
        ]  # fmt: skip

    def start_worker(self, colour: str) -> None:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.chaos.besieged", colour, str(self.logs)],
            cwd=ROOT, env={**os.environ, "TIDEBASE_DSN": self.line.dsn},
            stdout=subprocess.DEVNULL, stderr=(self.folder / "stderr").open("ab"),
        )  # fmt: skip
        self.workers[process] = colour

    def block(self, log: Log, chance: random.Random) -> None:
        """Runs that hold up the event loop, or a slot, for longer than a lease."""
        while not self.ended.wait(8 + 8 * chance.random()):
            with self.connected(log, "enqueue") as connection:
                row = connection.execute(
                    "select run_id "
                    "from tide.enqueue('blocker', queue => 'blockers', max_attempts => 30)"
                ).fetchone()
                log.write("enqueued", run_id=row.run_id)
                self.faults["loops blocked"] += 1

    def cut_lines(self) -> None:
        self.faults["lines cut"] += self.line.cut(self.chance.choice([0.2, 0.5, 1.0]))

    def freeze_lines(self) -> None:
        seconds = self.chance.choice([0.3, 1.0, LEASE * 1.5, 3600.0])
        self.faults["lines frozen"] += self.line.freeze(self.chance.choice([0.3, 1.0]), seconds)

    def slow_lines(self) -> None:
        self.faults["lines slowed"] += self.line.slow(self.chance.choice([0.5, 1.0]), 2.0)

    def limit_sessions(self) -> None:
        """The time-outs hold for sessions that begin after they were set."""
        with contextlib.suppress(psycopg.Error), open_connection(self.dsn) as connection:
            name = self.chance.choice(["statement_timeout", "lock_timeout"])
            length = self.chance.choice([5, 20, 100, 500])
            connection.execute(f"alter role besieged set {name} = '{length} ms'".encode())
            self.line.cut(1.0)
            self.ended.wait(1 + 2 * self.chance.random())
            self.faults["sessions limited"] += 1
        self.end_limits()

    def end_limits(self) -> None:
        with self.reach() as connection:
            connection.execute("alter role besieged reset all")
        self.line.cut(1.0)

    def stop_backends(self) -> None:
        with contextlib.suppress(psycopg.Error), open_connection(self.dsn) as connection:
            pids = [
                row.pid
                for row in connection.execute(
                    "select a.pid from pg_stat_activity as a where a.usename = 'besieged' "
                    "order by random() limit 3"
                )
            ]
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGSTOP)
            self.ended.wait(self.chance.random() * LEASE)
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)
            self.faults["backends stopped"] += len(pids)

    def quieten(self) -> None:
        self.end_limits()
        super().quieten()
        log = Log(self.logs, "storm")
        self.await_quiet()
        for process in self.workers:
            log.write("alive at the end", pid=process.pid)
        for process, colour in self.workers.items():
            process.send_signal(signal.SIGUSR1)
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(ENDING)
            except subprocess.TimeoutExpired:
                log.write("did not end", colour=colour, stacks=self.stacks(process, colour)[-6000:])

    def await_quiet(self) -> None:
        """Until a census of each worker, begun after all was quiet, finds nothing left behind."""
        quiet = time.time()
        give_up_at = time.monotonic() + ENDING
        while time.monotonic() < give_up_at:
            told = list(read(self.logs))
            alive = [{"kind": "alive at the end", "pid": process.pid} for process in self.workers]
            counted = {
                line["pid"] for line in told if line["kind"] == "census" and line["at"] > quiet
            }
            left = nothing_is_left_behind(Facts(told=[*told, *alive], runs={}, events={}))
            if counted >= {process.pid for process in self.workers} and not any(left):
                return
            time.sleep(0.1)

    def stacks(self, process: subprocess.Popen[bytes], colour: str) -> str:
        """Where the threads of a worker were before and are now, if it still says so."""
        path = self.logs / f"stacks-{colour}-{process.pid}.txt"
        before = path.read_text()
        process.send_signal(signal.SIGUSR1)
        give_up_at = time.monotonic() + ENDING
        while path.read_text() == before and time.monotonic() < give_up_at:
            time.sleep(0.1)
        return path.read_text()

    def report(self, began: float) -> Report:
        with open_connection(self.dsn) as connection:
            facts = gather(connection, self.logs, self.own.server.log)
        found = violations(facts)
        for check in CHECKS:
            if problems := list(check(facts)):
                found[check.__name__] = problems
        scale = min(1.0, self.seconds / 600)
        weak = [
            f"{name}: {self.faults[name]}"
            for name, least in NEEDED.items()
            if self.faults[name] < int(least * scale)
        ]
        met = {
            "runs": len(facts.runs),
            "steps executed": sum(1 for _ in facts.of("effect")),
            "leases lost": sum(
                kind == "run.requeued" and payload.get("reason") == "lease_expired"
                for events in facts.events.values()
                for _, kind, payload, _ in events
            ),
        }
        seconds = round(time.monotonic() - began, 1)
        return Report(seconds, self.seed, dict(self.faults), met, found, weak)
