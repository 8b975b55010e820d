"""What a worker decides, in simulated time: how much to ask for, when to wait for more."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import cast
from uuid import UUID, uuid4

import psycopg
import pytest

from tidebase_pg import DefaultCodec, LeaseLost, flows
from tidebase_pg.errors import SchemaTooOld
from tidebase_pg.types import LeasedRun, Settlement, Verdict
from tidebase_pg.worker.active_run import ActiveRun
from tidebase_pg.worker.ahead import LAST_CHANCE, LONGEST
from tidebase_pg.worker.state import (
    BUSY_PAUSE,
    LINGER,
    MOST_HELD,
    Request,
    WorkerState,
    worker_options,
)

EMPTY = Settlement([], [])


class Clock:
    now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[Clock]:
    """The clock of the state; it stands still unless it is moved."""
    clock = Clock()
    monkeypatch.setattr("tidebase_pg.worker.state.time", clock)
    yield clock


def begin(concurrency: int, **options: bool) -> WorkerState:
    return WorkerState(worker_options(["q"], ["w"], concurrency=concurrency, **options))


def leased(run_id: UUID | None = None) -> LeasedRun:
    return LeasedRun(run_id or uuid4(), uuid4(), "w", 1, 1, "{}", "{}", fresh=True)


def answer(state: WorkerState, request: Request, runs: int) -> list[ActiveRun]:
    return state.settled(request, Settlement([], [leased() for _ in range(runs)]))


def ask(state: WorkerState) -> Request:
    request = state.request()
    assert request is not None
    return request


def end(state: WorkerState, *runs: ActiveRun) -> None:
    for run in runs:
        state.ended(run, flows.completed(run.leased, None, DefaultCodec()))


def test_half_the_slots_work_while_the_other_half_is_reported(clock: Clock) -> None:
    state = begin(100)
    first = answer(state, ask(state), 50)
    request = ask(state)
    assert (request.room, len(request.outcomes)) == (50, 0)
    end(state, *first)
    second = answer(state, request, 50)
    assert len(state.held) == 50
    for _ in range(10):
        request = ask(state)
        assert (request.room, len(request.outcomes)) == (50, 50)
        end(state, *second)
        second = answer(state, request, 50)


@pytest.mark.parametrize("limited", [True, False], ids=["limited", "not limited"])
@pytest.mark.parametrize("concurrency", [1, 2, 16, 100, 1000])
def test_only_so_many_runs_are_held_beyond_the_slots(
    clock: Clock, concurrency: int, limited: bool
) -> None:
    dice = random.Random(concurrency)
    state = begin(concurrency)
    most = 0
    for _ in range(300):
        request = state.request()
        if request is not None:
            assert request.slots <= max(0, concurrency - len(state.held))
            assert request.room <= max(concurrency, MOST_HELD) - len(state.held)
            clock.now += dice.choice([0.0005, 0.005])
            given = request.slots if limited else request.room
            answer(state, request, dice.choice([given, given, dice.randint(0, given)]))
        most = max(most, len(state.held))
        held = list(state.held.values())[:concurrency]
        end(state, *dice.sample(held, dice.randint(0, len(held))))
        clock.now += dice.choice([0.0, 0.0005, 0.005])
    assert most <= concurrency if limited or concurrency == 1000 else most > concurrency


def work(clock: Clock, state: WorkerState, *, each: float, trip: float, seconds: float) -> Request:
    """So many seconds of a full queue whose runs, and claims, take so long; the last request."""
    request, until = None, clock.now + seconds
    while clock.now < until:
        while request is None:
            request = state.request()
            if request is None:
                begun(clock, state, each)
        answered = clock.now + trip
        while clock.now < answered and state.held:
            begun(clock, state, each)
        clock.now = max(clock.now, answered)
        answer(state, request, request.room)
        last, request = request, None
    return last


def begun(clock: Clock, state: WorkerState, each: float) -> None:
    """Those that have slots begin and end."""
    held = list(state.held.values())[: state.options.concurrency]
    for run in held:
        run.begun_at = clock.now
    clock.now += each
    end(state, *held)


def test_reports_and_claims_of_short_runs_are_as_large_with_few_slots_as_with_many(
    clock: Clock,
) -> None:
    for concurrency in (4, 16, 100):
        request = work(clock, begin(concurrency), each=0.0001, trip=0.005, seconds=1.0)
        assert request.room >= 100
        assert len(request.outcomes) >= 100


def test_no_more_is_held_beyond_the_slots_than_a_tenth_of_a_second_of_work(clock: Clock) -> None:
    for each in (0.001, 0.01, 0.03, 0.1, 1.0):
        for trip in (0.001, 0.01, 0.1, 1.0):
            state = begin(16)
            work(clock, state, each=each, trip=trip, seconds=30 * max(each, trip))
            beyond = max(0, len(state.held) - 16)
            assert beyond / 16 * each <= LONGEST


def test_what_is_not_short_is_not_claimed_ahead(clock: Clock) -> None:
    state = begin(16)
    request = work(clock, state, each=1.0, trip=0.002, seconds=100)
    assert request.room == request.slots


def test_runs_with_steps_are_not_claimed_ahead(clock: Clock) -> None:
    state = begin(16)
    assert work(clock, state, each=0.0001, trip=0.005, seconds=1.0).room > 16
    for run in list(state.held.values()):
        run.names.claim("step", "one")
        run.end()
        end(state, run)
    request = ask(state)
    assert (request.room, request.slots) == (16, 16)


def test_what_waits_too_long_for_a_slot_is_handed_back_and_nothing_more_is_held(
    clock: Clock,
) -> None:
    state = begin(2)
    work(clock, state, each=0.0005, trip=0.005, seconds=1.0)
    answer(state, ask(state), 0)
    waiting = list(state.held.values())[2:]
    assert waiting
    assert not state.gives_back()
    pause = state.pause()
    assert pause is not None
    assert pause <= LONGEST
    clock.now += 10 * LONGEST  # the whole process was held up
    assert not state.gives_back()
    assert state.pause() == pytest.approx(LAST_CHANCE)
    clock.now += LAST_CHANCE
    assert state.gives_back()
    state.give_back(waiting)
    assert len(state.held) == 2
    assert not state.gives_back()
    outcomes = [outcome for outcome in ask(state).outcomes if outcome.kind == "released"]
    assert [outcome.run for outcome in outcomes] == [run.leased for run in waiting]
    assert ask(state).room == 0


def test_what_was_handed_back_unbegun_does_not_count_for_max_runs(clock: Clock) -> None:
    state = WorkerState(worker_options(["q"], ["w"], concurrency=2, max_runs=200))
    while not (waiting := list(state.held.values())[2:]):
        request = ask(state)
        clock.now += 0.001
        answer(state, request, request.room)
        if len(state.held) <= 2:
            begun(clock, state, 0.0005)
    clock.now += LONGEST
    state.give_back(waiting)
    while not state.over():
        if (request := state.request()) is not None:
            answer(state, request, request.room)
        begun(clock, state, 0.0005)
    assert state.report().claimed == 200 + len(waiting)
    assert state.report().completed == 200


def test_a_schema_that_cannot_claim_ahead_is_not_asked_to(clock: Clock) -> None:
    state = begin(2)
    state.on_error(ask(state), SchemaTooOld("made by 0.1.0"))
    request = work(clock, state, each=0.0005, trip=0.005, seconds=1.0)
    assert "ahead" not in request.call.arguments
    assert request.room == request.slots


def test_the_first_of_many_short_runs_is_reported_with_the_others(clock: Clock) -> None:
    state = begin(16)
    held = answer(state, ask(state), 16)
    clock.now += 0.0001
    end(state, held[0])
    assert state.request() is None
    assert state.awaited == 15
    assert state.pause() == pytest.approx(LINGER)
    end(state, *held[1:])
    assert len(ask(state).outcomes) == 16


def test_a_report_waits_for_others_no_longer_than_a_millisecond(clock: Clock) -> None:
    state = begin(16)
    held = answer(state, ask(state), 16)
    end(state, held[0])
    clock.now += LINGER / 2
    end(state, held[1])
    assert state.request() is None
    clock.now += LINGER / 2
    assert len(ask(state).outcomes) == 2
    assert LINGER <= 0.001


def test_a_run_that_took_long_is_reported_at_once(clock: Clock) -> None:
    state = begin(16)
    held = answer(state, ask(state), 16)
    clock.now += 0.1
    end(state, held[0])
    assert state.awaited == 1
    assert len(ask(state).outcomes) == 1


def test_a_short_run_does_not_wait_for_those_that_take_long(clock: Clock) -> None:
    state = begin(16)
    answer(state, ask(state), 5)
    clock.now += 1.0
    (short,) = answer(state, ask(state), 1)
    end(state, short)
    assert state.awaited == 1
    assert len(ask(state).outcomes) == 1


def test_the_only_run_is_reported_at_once(clock: Clock) -> None:
    state = begin(16)
    (only,) = answer(state, ask(state), 1)
    end(state, only)
    assert len(ask(state).outcomes) == 1


def test_a_claim_that_gave_less_than_asked_for_is_not_repeated_at_once(clock: Clock) -> None:
    state = begin(16)
    answer(state, ask(state), 16 // 2)
    assert state.request() is None
    pause = state.pause()
    assert pause is not None
    assert 0 < pause < 0.01
    clock.now += pause
    assert ask(state).room == 8


def test_a_worker_that_drains_asks_again_before_it_ends(clock: Clock) -> None:
    state = begin(16, drain=True)
    (only,) = answer(state, ask(state), 1)
    end(state, only)
    state.settled(ask(state), EMPTY)
    assert not state.over()
    state.settled(ask(state), EMPTY)
    assert state.over()


def test_who_still_works_on_an_earlier_attempt_is_told(clock: Clock) -> None:
    state = begin(16)
    run_id = uuid4()
    (stale,) = state.settled(ask(state), Settlement([], [leased(run_id)]))
    told: list[Exception] = []
    stale.on_stop = told.append
    clock.now += 0.01
    (fresh,) = state.settled(ask(state), Settlement([], [leased(run_id)]))
    assert isinstance(stale.stop, LeaseLost)
    assert told == [stale.stop]
    end(state, stale)
    assert list(state.held.values()) == [fresh]
    assert state.report().dropped == 0


def test_everything_is_reported_when_nothing_more_is_claimed(clock: Clock) -> None:
    state = begin(100)
    held = answer(state, ask(state), 50) + answer(state, ask(state), 50)
    end(state, *held)
    state.stop()
    request = ask(state)
    assert (request.room, len(request.outcomes)) == (0, 100)
    state.settled(request, EMPTY)
    assert state.over()


def holding(request: Request) -> set[UUID]:
    return set(cast("list[UUID]", request.call.arguments["holding"]))


def test_a_run_begun_and_lost_here_does_not_come_back_as_the_same_attempt(clock: Clock) -> None:
    state = begin(8)
    kept, lost, refused = answer(state, ask(state), 3)
    lost.interrupt(LeaseLost("could not be renewed"))
    state.ended(lost, None)
    end(state, refused)
    clock.now += LINGER
    state.on_error(ask(state), psycopg.OperationalError("the answer was lost"))
    clock.now += 1
    request = ask(state)
    assert holding(request) == {kept.run_id, lost.run_id, refused.run_id}
    answer(state, request, 0)
    clock.now += 10 * state.options.lease
    state.on_error(ask(state), psycopg.OperationalError("the answer was lost"))
    clock.now += 1
    assert holding(ask(state)) == {kept.run_id}


def test_a_report_that_fails_does_not_end_the_search_for_runs_of_a_lost_claim(
    clock: Clock,
) -> None:
    state = begin(1)
    (run,) = answer(state, ask(state), 1)
    end(state, run)
    clock.now += LINGER
    state.on_error(ask(state), psycopg.OperationalError("the answer was lost"))
    clock.now += 1
    timeout = psycopg.errors.QueryCanceled("canceling statement due to statement timeout")
    for room in (1, 0):
        request = ask(state)
        assert (request.room, len(request.outcomes)) == (room, 1)
        state.on_error(request, timeout)
    assert holding(ask(state)) == {run.run_id}


def test_what_is_reported_in_place_of_a_refused_result_keeps_its_lease_and_is_repeated(
    clock: Clock,
) -> None:
    state = begin(1)
    (run,) = answer(state, ask(state), 1)
    end(state, run)
    clock.now += LINGER

    def refuse(reason: str) -> Request:
        request = ask(state)
        state.settled(request, Settlement([Verdict(run.run_id, False, reason)], []))
        return request

    refuse("payload_too_large")
    assert list(state.leased.values()) == [run]
    instead = refuse("busy").outcomes
    clock.now += BUSY_PAUSE
    assert (ask(state).outcomes, [outcome.kind for outcome in instead]) == (instead, ["failed"])
    state.settled(ask(state), EMPTY)
    assert (state.leased, state.report().failed, state.report().dropped) == ({}, 1, 0)
