"""What a worker decides, in simulated time: how much to ask for, when to wait for more."""

from __future__ import annotations

import random
from collections.abc import Iterator
from uuid import UUID, uuid4

import pytest

from tidebase_pg import LeaseLost, flows
from tidebase_pg.types import LeasedRun, Settlement
from tidebase_pg.worker.active_run import Holding
from tidebase_pg.worker.state import LINGER, Request, Shift, terms

EMPTY = Settlement([], [])


class Clock:
    now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[Clock]:
    """The clock of the shift; it stands still unless it is moved."""
    clock = Clock()
    monkeypatch.setattr("tidebase_pg.worker.state.time", clock)
    yield clock


def begin(concurrency: int, **options: bool) -> Shift:
    return Shift(terms(["q"], ["w"], concurrency=concurrency, **options))


def leased(run_id: UUID | None = None) -> LeasedRun:
    return LeasedRun(run_id or uuid4(), uuid4(), "w", 1, 1, "{}", "{}", fresh=True)


def answer(shift: Shift, request: Request, runs: int) -> list[Holding]:
    return shift.settled(request, Settlement([], [leased() for _ in range(runs)]))


def ask(shift: Shift) -> Request:
    request = shift.request()
    assert request is not None
    return request


def end(shift: Shift, *holdings: Holding) -> None:
    for holding in holdings:
        shift.ended(holding, flows.completed(holding.leased, None))


def test_half_the_slots_work_while_the_other_half_is_reported(clock: Clock) -> None:
    shift = begin(100)
    first = answer(shift, ask(shift), 50)
    request = ask(shift)
    assert (request.room, len(request.outcomes)) == (50, 0)
    end(shift, *first)
    second = answer(shift, request, 50)
    assert len(shift.held) == 50
    for _ in range(10):
        request = ask(shift)
        assert (request.room, len(request.outcomes)) == (50, 50)
        end(shift, *second)
        second = answer(shift, request, 50)


@pytest.mark.parametrize("concurrency", [1, 2, 16, 100, 1000])
def test_never_more_runs_are_held_than_there_are_slots(clock: Clock, concurrency: int) -> None:
    dice = random.Random(concurrency)
    shift = begin(concurrency)
    for _ in range(300):
        request = shift.request()
        if request is not None:
            assert len(shift.held) + request.room <= concurrency
            answer(shift, request, dice.randint(0, request.room))
        held = list(shift.held.values())
        end(shift, *dice.sample(held, dice.randint(0, len(held))))
        clock.now += dice.choice([0.0, 0.0005, 0.005])
    assert len(shift.held) <= concurrency


def test_the_first_of_many_short_runs_is_reported_with_the_others(clock: Clock) -> None:
    shift = begin(16)
    held = answer(shift, ask(shift), 16)
    clock.now += 0.0001
    end(shift, held[0])
    assert shift.request() is None
    assert shift.awaited == 15
    assert shift.pause() == pytest.approx(LINGER)
    end(shift, *held[1:])
    assert len(ask(shift).outcomes) == 16


def test_a_report_waits_for_others_no_longer_than_a_millisecond(clock: Clock) -> None:
    shift = begin(16)
    held = answer(shift, ask(shift), 16)
    end(shift, held[0])
    clock.now += LINGER / 2
    end(shift, held[1])
    assert shift.request() is None
    clock.now += LINGER / 2
    assert len(ask(shift).outcomes) == 2
    assert LINGER <= 0.001


def test_a_run_that_took_long_is_reported_at_once(clock: Clock) -> None:
    shift = begin(16)
    held = answer(shift, ask(shift), 16)
    clock.now += 0.1
    end(shift, held[0])
    assert shift.awaited == 1
    assert len(ask(shift).outcomes) == 1


def test_a_short_run_does_not_wait_for_those_that_take_long(clock: Clock) -> None:
    shift = begin(16)
    answer(shift, ask(shift), 5)
    clock.now += 1.0
    (short,) = answer(shift, ask(shift), 1)
    end(shift, short)
    assert shift.awaited == 1
    assert len(ask(shift).outcomes) == 1


def test_the_only_run_is_reported_at_once(clock: Clock) -> None:
    shift = begin(16)
    (only,) = answer(shift, ask(shift), 1)
    end(shift, only)
    assert len(ask(shift).outcomes) == 1


def test_a_claim_that_gave_less_than_asked_for_is_not_repeated_at_once(clock: Clock) -> None:
    shift = begin(16)
    answer(shift, ask(shift), 16 // 2)
    assert shift.request() is None
    pause = shift.pause()
    assert pause is not None
    assert 0 < pause < 0.01
    clock.now += pause
    assert ask(shift).room == 8


def test_a_worker_that_drains_asks_again_before_it_ends(clock: Clock) -> None:
    shift = begin(16, drain=True)
    (only,) = answer(shift, ask(shift), 1)
    end(shift, only)
    shift.settled(ask(shift), EMPTY)
    assert not shift.over()
    shift.settled(ask(shift), EMPTY)
    assert shift.over()


def test_who_still_works_on_an_earlier_attempt_is_told(clock: Clock) -> None:
    shift = begin(16)
    run_id = uuid4()
    (stale,) = shift.settled(ask(shift), Settlement([], [leased(run_id)]))
    told: list[Exception] = []
    stale.interrupt = told.append
    clock.now += 0.01
    (fresh,) = shift.settled(ask(shift), Settlement([], [leased(run_id)]))
    assert isinstance(stale.stop, LeaseLost)
    assert told == [stale.stop]
    end(shift, stale)
    assert list(shift.held.values()) == [fresh]
    assert shift.report().dropped == 0


def test_everything_is_reported_when_nothing_more_is_claimed(clock: Clock) -> None:
    shift = begin(100)
    held = answer(shift, ask(shift), 50) + answer(shift, ask(shift), 50)
    end(shift, *held)
    shift.stop()
    request = ask(shift)
    assert (request.room, len(request.outcomes)) == (0, 100)
    shift.settled(request, EMPTY)
    assert shift.over()
