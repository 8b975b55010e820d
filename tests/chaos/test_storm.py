"""The storm around a worker, for seconds; and that each of its checks finds what it is for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.chaos.campaign import FEWEST_FAULTS, conduct
from tests.chaos.history import Facts
from tests.chaos.storm import CHECKS, MOST_SOCKETS, Storm

RUN = "019a8f4e-5b7c-7d3e-9f10-2b4c6d8e0f12"
EXPIRED = {"reason": "lease_expired"}


@pytest.mark.timeout(900)
def test_a_worker_of_either_colour_outlives_a_storm() -> None:
    report = conduct(Storm, 20, seed=7)
    assert report.violations == {}, report.kept
    assert report.met["runs"] > 10
    assert sum(report.faults.values()) >= FEWEST_FAULTS


def sound() -> Facts:
    effect = {"kind": "effect", "run_id": RUN, "step": "first"}
    return Facts(
        told=[
            {**effect, "at": 1.0},
            {**effect, "at": 3.0},
            {
                "kind": "census", "pid": 1, "colour": "sync", "sockets": 9, "tasks": 0,
                "threads": ["MainThread"],
            },
            {"kind": "alive at the end", "pid": 1},
        ],
        runs={RUN: ("failed", None)},
        events={
            RUN: [
                (1, "run.claimed", {}, 0.5),
                (2, "run.requeued", EXPIRED, 2.0),
                (3, "run.failed", {"failure_class": "max_retries", "error": {}}, 4.0),
            ]
        },
    )  # fmt: skip


def told(**line: Any) -> Callable[[Facts], None]:
    return lambda facts: facts.told.append(line)


def failed(facts: Facts) -> None:
    error = {"type": "QueryCanceled"}
    facts.events[RUN].append((4, "run.failed", {"failure_class": "error", "error": error}, 5.0))


BREAKS: dict[str, Callable[[Facts], None]] = {
    "only_what_was_in_flight_at_a_death_is_executed_again": told(
        kind="effect", run_id=RUN, step="first", at=3.5
    ),
    "no_run_fails_because_of_the_database": failed,
    "nothing_is_left_behind": told(
        kind="census", pid=1, colour="sync", sockets=MOST_SOCKETS + 1, tasks=0, threads=[]
    ),
    "a_worker_ends_when_told_to": told(kind="did not end", colour="sync", stacks="a lock"),
}


def test_a_sound_storm_passes_every_check() -> None:
    assert {check.__name__ for check in CHECKS} == BREAKS.keys()
    assert [list(check(sound())) for check in CHECKS] == [[] for _ in CHECKS]


@pytest.mark.parametrize("check", CHECKS)
def test_a_check_of_the_storm_finds_what_it_is_for(check: Callable[[Facts], Any]) -> None:
    facts = sound()
    BREAKS[check.__name__](facts)
    assert list(check(facts)) != []
