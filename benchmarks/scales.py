"""How much of everything: full, quick, and the smallest that still calls all of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Scale:
    """The size of each measurement; what takes time is bounded by seconds, not by counts."""

    rounds: int
    seconds: float
    """Of one round of one contender."""
    warm: int
    """Steps of each connection before the clock starts."""
    bulk: int
    loaded: int
    """Jobs that wait when a round of claims begins."""
    running: int
    """Runs whose leases one heartbeat extends."""
    backlog: int
    histories: tuple[int, ...]
    """Finished runs, from the shortest history to the longest."""
    held_seconds: float
    connections: int
    slow_connections: int
    """How many share a commit that takes 5 ms."""
    steps_runs: int
    pickups: int
    lead_seconds: float
    """Until a worker stands ready for the first job."""
    idle_seconds: tuple[float, float]
    """A worker settles down, then is watched for at least so long."""
    door_backlog: int = 200_000
    door_workers: int = 200
    studio_pages: int = 50
    upgraded: tuple[int, int] = (1_000_000, 100_000)
    """Finished and active runs of a database that is upgraded."""
    peers: bool = False
    brief: bool = False
    """Leave out what lies between two other contenders."""
    settings: Mapping[str, str] | None = None
    """Of the server, besides those of all scales; its figures mean nothing without durability."""


SCALES: Final = {
    "full": Scale(
        rounds=5,
        seconds=0.6,
        warm=6,
        bulk=100_000,
        loaded=60_000,
        running=10_000,
        backlog=1_000_000,
        histories=(10_000, 100_000, 1_000_000, 10_000_000),
        held_seconds=60,
        connections=4,
        slow_connections=16,
        steps_runs=120,
        pickups=120,
        lead_seconds=1.0,
        idle_seconds=(20, 30),
        peers=True,
    ),
    "quick": Scale(
        rounds=3,
        seconds=0.4,
        warm=6,
        bulk=50_000,
        loaded=30_000,
        running=10_000,
        backlog=100_000,
        histories=(10_000, 100_000),
        held_seconds=10,
        connections=4,
        slow_connections=16,
        steps_runs=60,
        pickups=100,
        lead_seconds=1.0,
        idle_seconds=(20, 30),
        upgraded=(100_000, 10_000),
        brief=True,
    ),
    "smoke": Scale(
        rounds=1,
        seconds=0.02,
        warm=1,
        bulk=1_000,
        loaded=1_000,
        running=100,
        backlog=1_000,
        histories=(100, 1_000),
        held_seconds=0.2,
        connections=2,
        slow_connections=2,
        steps_runs=4,
        pickups=5,
        lead_seconds=0.3,
        idle_seconds=(0.2, 0.5),
        door_backlog=1_000,
        door_workers=5,
        studio_pages=10,
        upgraded=(1_000, 100),
        brief=True,
        settings={"fsync": "off"},
    ),
}
