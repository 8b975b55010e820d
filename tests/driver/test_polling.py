"""How often an idle worker looks: soon at first, then ever later, never in a tight loop."""

from __future__ import annotations

import time
from itertools import pairwise

import pytest

from tidebase_pg.worker import polling
from tidebase_pg.worker.polling import Polling
from tidebase_pg.worker.ticker import TickSchedule

NEVER = polling.LONGEST_STEP + polling.MARGIN
"""What await_work answers when nothing is foreseen: as long as the registration holds."""


class Worker:
    """An idle worker in simulated time, whose claims give nothing."""

    def __init__(self, *, poll: float = 1.0, lease: float = 60.0, listens: bool = True) -> None:
        self.polling = Polling(poll, lease, listens=listens)
        self.now = self.next = 1000.0
        self.claims: list[float] = []
        self.registrations: list[float] = []

    def work(self, seconds: float, foreseen: float = NEVER) -> None:
        """For so long; `foreseen` is what every registration answers."""
        until = self.now + seconds
        while self.next <= until:
            self.now = self.next
            if self.polling.due(self.now):
                self.registrations.append(self.now)
                self.polling.register(foreseen)
            self.claims.append(self.now)
            self.next = self.polling.nothing(self.now)
        self.now = until

    def hear(self) -> None:
        self.polling.notified(alone=True)
        self.next = self.now


def gaps(times: list[float]) -> list[float]:
    return [after - before for before, after in pairwise(times)]


def test_a_worker_that_does_not_listen_polls() -> None:
    worker = Worker(listens=False, poll=1.0)
    worker.work(60)
    assert worker.registrations == []
    assert 60 < len(worker.claims) < 70
    assert not worker.polling.resting


def test_a_worker_is_quick_before_it_registers() -> None:
    worker = Worker()
    worker.work(polling.QUICK * 0.9)
    assert worker.registrations == []
    assert len(worker.claims) == 4
    worker.work(polling.QUICK)
    assert len(worker.registrations) == 1


def test_an_idle_worker_sends_less_than_a_statement_in_ten_seconds() -> None:
    worker, ticks = Worker(), TickSchedule(5.0)
    ticks.resting = True
    worker.work(60)
    before = len(worker.claims) + len(worker.registrations)
    assert before < 30
    worker.work(600)
    sent = len(worker.claims) + len(worker.registrations) - before
    begun = time.monotonic()
    ticked = sum(ticks.tick_is_due(begun + second) for second in range(600))
    assert worker.polling.resting
    assert sent + ticked < 60


def test_a_worker_registers_anew_before_its_registration_ends() -> None:
    worker = Worker()
    worker.work(600)
    assert max(gaps(worker.registrations)) < worker.polling.duration


def test_what_began_before_the_registration_is_found_after_at_most_as_long_again() -> None:
    worker = Worker()
    worker.work(60)
    first = worker.registrations[0]
    for before, after in pairwise(worker.claims):
        if before > first:
            assert after - first <= 2 * (before - first) + polling.SHORTEST_STEP + 1e-6


@pytest.mark.parametrize("lease", [0.1, 1.0, 3.0])
def test_a_lease_that_begins_while_a_worker_waits_is_seen_before_it_ends(lease: float) -> None:
    worker = Worker(lease=lease)
    worker.work(60)
    assert max(gaps(worker.registrations)) <= lease + 1e-6


def test_what_is_foreseen_is_claimed_when_it_is_due() -> None:
    worker = Worker()
    worker.work(20)
    worker.hear()
    heard = worker.now
    worker.work(4.0, foreseen=1.0)
    assert heard in worker.claims
    # Registered at 0.1, 0.3, 0.7 and 1.5 seconds, and then no look before the moment foreseen.
    assert any(abs(at - heard - 2.5) < 1e-6 for at in worker.claims)


@pytest.mark.parametrize("foreseen", [0.0, 0.001])
def test_what_is_due_and_not_to_be_had_makes_no_tight_loop(foreseen: float) -> None:
    worker = Worker()
    worker.work(10, foreseen=foreseen)
    settled = len(worker.claims)
    assert settled < 60
    worker.work(100, foreseen=foreseen)
    assert len(worker.claims) - settled <= 2 * 101
    assert not worker.polling.resting


def test_a_notification_leads_to_a_new_registration() -> None:
    worker = Worker()
    worker.work(60)
    before = len(worker.registrations)
    worker.hear()
    assert not worker.polling.registered
    worker.work(0.01)
    assert len(worker.registrations) == before + 1
    assert worker.polling.registered


def test_a_worker_that_could_not_register_polls_for_a_while() -> None:
    worker = Worker(poll=1.0)
    worker.polling.cannot_listen(worker.now)
    worker.work(polling.DEAF - 0.1)
    assert worker.registrations == []
    worker.work(10)
    assert len(worker.registrations) > 0


def test_a_resting_worker_ticks_less_often() -> None:
    before = time.monotonic()
    rhythm = TickSchedule(5.0)
    begun = time.monotonic()
    assert not rhythm.tick_is_due(before + 4)
    assert rhythm.tick_is_due(begun + 6)
    rhythm.resting = True
    assert not rhythm.tick_is_due(begun + 60)
    rhythm.resting = False
    assert rhythm.tick_is_due(begun + 60)
    rhythm.resting = True
    assert rhythm.tick_is_due(begun + 121)
