"""Steps that hold a place in a lane while they run, beside each other and in other runs."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from tests.support import Connection, value
from tidebase_pg import AsyncRun, AsyncTidebase, NotFound, Run, Tidebase

ACTIVE = "select count(*) from tide.runs_active"


class Room:
    """Counts who is in it at once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self.most = 0

    def __enter__(self) -> None:
        with self._lock:
            self._inside += 1
            self.most = max(self.most, self._inside)

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1


def test_steps_of_many_runs_are_no_more_at_once_than_their_lane_allows(
    tide: Tidebase, connection: Connection
) -> None:
    tide.lanes.set("model", total=2, units=10_000, unit="tokens")
    room = Room()

    @tide.workflow("chat")
    def chat(run: Run, input: Any) -> Any:
        def ask() -> int:
            with room:
                run.usage.add(total_tokens=5)
                return int(input)

        return [run.step("ask", ask, lane="model", lane_key="acme", cost=100) for _ in range(2)]

    runs = [tide.enqueue(chat, input=number).run_id for number in range(6)]
    while value(connection, ACTIVE):
        connection.execute("call tide.reconcile()")
        tide.work(concurrency=6, drain=True)
    assert [tide.runs.get(run_id).result for run_id in runs] == [[n, n] for n in range(6)]
    assert 1 <= room.most <= 2
    assert value(connection, "select count(*) from tide.run_lanes") == 0
    assert tide.lanes.list()[0].used == 60


async def test_steps_beside_each_other_wait_for_their_lane_and_none_is_lost(
    atide: AsyncTidebase, connection: Connection
) -> None:
    await atide.lanes.set("model", total=1)
    room, calls = Room(), []

    @atide.workflow("chat")
    async def chat(run: AsyncRun, input: Any) -> Any:
        async def ask(number: int) -> int:
            with room:
                calls.append(number)
                await asyncio.sleep(0)
            return number

        return await asyncio.gather(
            *(run.step("ask", lambda n=n: ask(n), key=str(n), lane="model") for n in range(3))
        )

    runs = [(await atide.enqueue(chat)).run_id for _ in range(2)]
    while value(connection, ACTIVE):
        # A run parked beside the end that frees its place is woken by the next look.
        connection.execute("call tide.reconcile()")
        await atide.work(concurrency=2, drain=True)
    for run_id in runs:
        assert (await atide.runs.get(run_id)).result == [0, 1, 2]
    assert sorted(calls) == [0, 0, 1, 1, 2, 2]
    assert room.most == 1
    assert value(connection, "select count(*) from tide.lane_slots where run_id is not null") == 0


def test_a_begun_step_holds_its_lane_in_the_block(tide: Tidebase, connection: Connection) -> None:
    tide.lanes.set("model", total=1)
    held: list[int] = []

    @tide.workflow("chat")
    def chat(run: Run, input: Any) -> Any:
        with run.begin_step("turn", lane="model") as step:
            if not step.done:
                held.append(tide.lanes.list()[0].running)
                step.complete("hello")
        held.append(tide.lanes.list()[0].running)
        return step.output

    run_id = tide.enqueue(chat).run_id
    tide.work(drain=True)
    assert tide.runs.get(run_id).result == "hello"
    assert held == [1, 0]


def test_a_step_in_a_lane_that_is_not_set_fails_by_name(tide: Tidebase) -> None:
    @tide.workflow("chat")
    def chat(run: Run, input: Any) -> Any:
        with pytest.raises(NotFound, match="lane 'nowhere' does not exist"):
            run.step("ask", lambda: 1, lane="nowhere")
        return "told"

    run_id = tide.enqueue(chat).run_id
    tide.work(drain=True)
    assert tide.runs.get(run_id).result == "told"
