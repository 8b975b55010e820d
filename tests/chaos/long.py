"""The long campaign: the same, beside plain runs in great number, on a server that is killed as
often as it comes back. It goes on until there were as many of both as was asked for."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.chaos import masses_history
from tests.chaos.campaign import NEEDED, Campaign, Fault, Person, Report, absences
from tests.chaos.history import coverage, gather, violations
from tests.chaos.masses import QUEUES, Masses
from tests.support import open_connection

CRITICAL = 50
"""How often a long campaign has to have met what one of ten minutes needs, and what follows."""
NEEDED_OF_MASSES = (
    "batches rolled back", "batches whose lost answer was a commit",
    "batches whose lost answer was none", "ends reported again", "ends refused as lost",
    "ends refused as cancelled", "cancels after the end", "attempts lost in batches",
    "attempts retried in batches", "starts under a rate",
)  # fmt: skip
LEAST_PACE = 100.0
"""Runs a second that are sent in batches, if fewer would do."""
BETWEEN_KILLS = 8.0
"""Seconds at least; what else is done between takes some more."""


@dataclass(frozen=True)
class Goal:
    """What a long campaign goes on for."""

    runs: int
    kills: int


class Long(Campaign):
    """One long campaign; `seconds` is when it gives up."""

    def __init__(self, folder: Path, seconds: float, seed: int, *, goal: Goal) -> None:
        super().__init__(folder, seconds, seed)
        self.goal = goal
        self.killed_at = time.monotonic()
        self.masses = Masses(
            self.logs / "masses",
            self.ended,
            self.connected,
            pace=max(LEAST_PACE, 1.4 * goal.runs / seconds),
        )
        self.own.server.settings |= {
            # A process that is killed in a write may leave half a page.
            "full_page_writes": "on",
            "shared_buffers": "256MB",
            "max_wal_size": "512MB",
            # What autovacuum knows of tables is lost with each kill.
            "autovacuum_naptime": "3s",
        }

    def prepare(self) -> None:
        super().prepare()
        with open_connection(self.dsn) as connection:
            Masses.prepare(connection)

    def prepare_disk(self) -> None:
        self.left_out.append("disk full: make chaos has it; what is left here is too much for one")

    @property
    def colours(self) -> tuple[str, ...]:
        return (*super().colours, "masses sync", "masses async")

    def command(self, kind: str) -> tuple[list[str], str]:
        if kind.startswith("masses "):
            colour = kind.removeprefix("masses ")
            return ["tests.chaos.masses", colour, str(self.masses.folder)], self.dsn
        return super().command(kind)

    def people(self) -> list[Person]:
        masses, wire = self.masses, self.wire
        return [
            *super().people(), masses.produce, masses.produce, masses.produce, masses.work,
            masses.work, masses.work, masses.work, masses.cancel, wire.produce, wire.work,
            wire.work, wire.work, wire.watch, wire.watch, wire.watch, wire.watch, wire.watch,
        ]  # fmt: skip

    def faults_and_weights(self) -> list[tuple[Fault, int]]:
        return [
            (self.kill_worker, 6), (self.stop_worker, 3), (self.end_backends, 4),
            (self.kill_bouncer, 2), (self.move_clock, 1),
        ]  # fmt: skip

    def harm(self) -> None:
        if time.monotonic() - self.killed_at < BETWEEN_KILLS:
            super().harm()
        else:
            self.kill_server()
            self.killed_at = time.monotonic()

    def goes_on(self, began: float) -> bool:
        reached = (
            self.masses.accepted >= self.goal.runs
            and self.faults["servers killed"] >= self.goal.kills
        )
        return not reached and time.monotonic() - began < self.seconds

    def report(self, began: float) -> Report:
        seconds = round(time.monotonic() - began, 1)
        with open_connection(self.dsn) as connection:
            masses_history.load(connection, self.masses.folder)
            found = masses_history.violations(connection)
            met = masses_history.coverage(connection)
            facts = gather(connection, self.logs, self.own.server.log, apart=QUEUES)
        found |= violations(facts)
        met |= coverage(facts)
        met["runs"] += met["runs in batches"]
        return Report(
            seconds, self.seed, dict(self.faults), met, found, self.too_weak(met), self.left_out,
            absences(self.absences),
            {"runs": self.goal.runs, "servers killed": self.goal.kills,
             "minutes": self.seconds / 60},
        )  # fmt: skip

    def too_weak(self, met: Mapping[str, int]) -> list[str]:
        reached = {"runs": met["runs"], "servers killed": self.faults["servers killed"]}
        asked = {"runs": self.goal.runs, "servers killed": self.goal.kills}
        share = min(1.0, self.goal.kills / 200)
        asked |= dict.fromkeys([*NEEDED, *NEEDED_OF_MASSES], int(CRITICAL * share))
        return [
            f"{name}: {found}"
            for name, least in asked.items()
            if (found := (met | reached)[name]) < least
        ]
