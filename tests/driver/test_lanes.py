"""The lane a workflow is registered with, and what its runs, children and schedules have of it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from tests.support import Connection
from tidebase_pg import AsyncRun, AsyncTidebase, NotFound, Run, Tidebase
from tidebase_pg.registry import OtherLane

LANES = """
    select r.lane || '/' || coalesce(r.lane_key, '')
    from tide.runs as r
    where r.lane is not null
    order by r.lane, r.lane_key
    """


def customer(input: Any) -> str | None:
    return (input or {}).get("customer")


def lanes(connection: Connection) -> list[str]:
    return [row[0] for row in connection.execute(LANES)]


def test_runs_of_a_workflow_are_in_its_lane_unless_they_name_another(
    tide: Tidebase, connection: Connection
) -> None:
    @tide.workflow("chat", lane="openai", lane_key=customer)
    def chat(run: Run, input: Any) -> None: ...

    for lane in ("openai", "other"):
        tide.lanes.set(lane)
    assert [found.lane for found in tide.lanes.list(lanes=["other", "none"])] == ["other"]
    acme = {"customer": "acme"}
    tide.enqueue(chat, input=acme)
    tide.enqueue("chat")
    tide.enqueue(chat, input=acme, lane_key="bolt")
    tide.enqueue(chat, input=acme, lane="other")
    tide.enqueue_many([{"workflow": chat, "input": acme}, {"workflow": chat, "lane": "other"}])
    tide.schedules.set("daily", cron="0 9 * * *", workflow_name=chat, input=acme)
    tide.schedules.fire("daily")
    assert lanes(connection) == [
        "openai/acme", "openai/acme", "openai/acme", "openai/bolt", "openai/", "other/", "other/",
    ]  # fmt: skip


def test_children_on_a_queue_are_in_the_lane_of_their_workflow(
    tide: Tidebase, connection: Connection
) -> None:
    tide.lanes.set("openai", per_key=1)

    @tide.workflow("part", lane="openai", lane_key=customer)
    def part(run: Run, input: Any) -> str | None:
        return customer(input)

    @tide.workflow("whole")
    def whole(run: Run, input: Any) -> Any:
        inline = run.child(part, name="inline", input={"customer": "none"})
        return [inline, run.child(part, queue="default", input={"customer": "acme"})]

    run_id = tide.enqueue(whole).run_id
    tide.work(drain=True)
    assert tide.runs.get(run_id).result == ["none", "acme"]
    assert lanes(connection) == ["openai/acme"]


def test_runs_of_a_workflow_have_its_cost_unless_they_name_another(
    tide: Tidebase, connection: Connection
) -> None:
    tide.lanes.set("openai", units=500, period=timedelta(seconds=10), unit="tokens")

    @tide.workflow("chat", lane="openai", lane_cost=lambda given: len(given) or None)
    def chat(run: Run, input: Any) -> None: ...

    @tide.workflow("ask", lane="openai", lane_cost=40)
    def ask(run: Run, input: Any) -> None: ...

    tide.enqueue(chat, input="abc")
    tide.enqueue(chat, input="")
    tide.enqueue(chat, input="abcd", cost=7)
    tide.enqueue_many([{"workflow": ask}, {"workflow": ask, "lane": "openai", "cost": 9}])
    tide.enqueue(ask, lane="openai")
    tide.schedules.set("daily", cron="0 9 * * *", workflow_name=ask)
    tide.schedules.fire("daily")
    costs = connection.execute("select coalesce(cost, 0) from tide.runs order by 1").fetchall()
    assert [row[0] for row in costs] == [0, 0, 3, 7, 9, 40, 40]
    with pytest.raises(ValueError, match="cost 501 is more than lane 'openai' ever allows"):
        tide.enqueue(chat, input="abc", cost=501)
    assert tide.lanes.list()[0].used == 0


async def test_runs_of_an_asyncio_workflow_are_in_its_lane(
    atide: AsyncTidebase, connection: Connection
) -> None:
    @atide.workflow("chat", lane="openai", lane_key=customer)
    async def chat(run: AsyncRun, input: Any) -> None: ...

    with pytest.raises(NotFound, match="lane 'openai' does not exist"):
        await atide.enqueue(chat)
    await atide.lanes.set("openai")
    await atide.enqueue(chat, input={"customer": "acme"})
    assert lanes(connection) == ["openai/acme"]


class ProviderDown(Exception):
    pass


BREAKER: Any = {"breaker_failures": 1, "breaker_classes": ["ProviderDown"]}


def test_runs_of_a_provider_that_is_away_wait_and_keep_their_attempts(
    tide: Tidebase, connection: Connection
) -> None:
    tries: list[tuple[str, int]] = []
    row = tide.lanes.set("openai", **BREAKER, breaker_delay=timedelta(seconds=90))
    assert (row.breaker_classes, row.breaker_delay) == (["ProviderDown"], timedelta(seconds=90))

    def ask(name: str) -> str:
        if len(tries) <= 2:
            raise ProviderDown("503")
        return name

    @tide.workflow("w", max_attempts=1, lane="openai")
    def w(run: Run, input: Any) -> Any:
        tries.append((input, run.attempt))
        return run.step("ask", lambda: ask(input))

    run_ids = [tide.enqueue(w, input=name).run_id for name in ("a", "b")]
    tide.work(drain=True, concurrency=1)
    assert tries == [("a", 1)]
    (listed,) = tide.lanes.list()
    assert (listed.failures, listed.failure) == (1, "ProviderDown: 503")
    assert listed.opened_at is not None
    assert [tide.runs.get(run_id).waiting_on for run_id in run_ids] == ["provider"] * 2
    tried = [("b", 1), ("a", 1)]
    for probes in (1, 2):
        connection.execute("update tide.lanes set probe_at = now()")
        connection.execute("call tide.reconcile()")
        tide.work(drain=True, concurrency=1)
        assert tries[1 : 1 + probes] == tried[:probes]
    assert [tide.runs.get(run_id).result for run_id in run_ids] == ["a", "b"]
    assert tries[3:] == [("b", 1)]
    assert tide.lanes.list()[0].opened_at is None


async def test_runs_of_a_provider_that_is_away_wait_in_asyncio(
    atide: AsyncTidebase, connection: Connection
) -> None:
    tries: list[tuple[str, int]] = []
    await atide.lanes.set("openai", **BREAKER)

    @atide.workflow("w", max_attempts=1, lane="openai")
    async def w(run: AsyncRun, input: Any) -> Any:
        tries.append((input, run.attempt))
        if len(tries) == 1:
            raise ProviderDown("503")
        return input

    run_ids = [(await atide.enqueue(w, input=name)).run_id for name in ("a", "b")]
    await atide.work(drain=True, concurrency=1)
    assert tries == [("a", 1)]
    await atide.lanes.lift("openai")
    await atide.work(drain=True, concurrency=1)
    assert tries[1:] == [("a", 1), ("b", 1)]
    assert [(await atide.runs.get(run_id)).result for run_id in run_ids] == ["a", "b"]


def test_a_lane_of_a_workflow_that_makes_no_sense_is_named(tide: Tidebase) -> None:
    with pytest.raises(ValueError, match="lane_key and no lane"):
        tide.workflow("a", lane_key=customer)(lambda run: None)
    with pytest.raises(TypeError, match="must be a function of the input, not str"):
        tide.workflow("b", lane="l", lane_key="acme")(lambda run: None)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="lane_cost and no lane"):
        tide.workflow("d", lane_cost=5)(lambda run: None)
    with pytest.raises(ValueError, match="lane_cost"):
        tide.workflow("e", lane="l", lane_cost=0)(lambda run: None)
    tide.workflow("c", lane="l", lane_key=lambda given: 5)(lambda run: None)  # type: ignore[arg-type,return-value]
    with pytest.raises(TypeError, match="lane_key"):
        tide.enqueue("c")


def test_runs_and_children_may_name_further_lanes(tide: Tidebase, connection: Connection) -> None:
    tide.lanes.set("openai")
    tide.lanes.set("search", total=1)
    others: list[OtherLane] = [{"lane": "search", "lane_key": "acme", "cost": 2}]

    @tide.workflow("part", lane="openai")
    def part(run: Run, input: Any) -> None: ...

    @tide.workflow("whole")
    def whole(run: Run, input: Any) -> None:
        run.child(part, queue="default", also_lanes=others)

    tide.enqueue(part, also_lanes=others)
    tide.enqueue_many([{"workflow": part, "also_lanes": others}])
    tide.enqueue(whole)
    tide.work(drain=True)
    found = connection.execute("select lane, lane_key, cost from tide.run_lanes").fetchall()
    assert found == [("search", "acme", 2)] * 3
    with pytest.raises(NotFound):
        tide.enqueue(part, also_lanes=[{"lane": "nowhere"}])


def test_runs_of_a_workflow_are_in_its_further_lanes_unless_they_name_lanes(
    tide: Tidebase, connection: Connection
) -> None:
    for lane in ("openai", "search", "other"):
        tide.lanes.set(lane)

    def of_customer(given: Any) -> list[OtherLane] | None:
        return [{"lane": "search", "lane_key": given["customer"]}] if given else None

    @tide.workflow("chat", lane="openai", also_lanes=of_customer)
    def chat(run: Run, input: Any) -> None: ...

    @tide.workflow("look", lane="openai", also_lanes=[{"lane": "search", "cost": 3}])
    def look(run: Run, input: Any) -> None: ...

    acme = {"customer": "acme"}
    tide.enqueue(chat, input=acme)
    tide.enqueue(chat)
    tide.enqueue(chat, input=acme, lane="other")
    tide.enqueue(chat, input=acme, also_lanes=[{"lane": "other"}])
    tide.enqueue_many([{"workflow": look}])
    found = connection.execute(
        "select r.workflow, l.lane, l.lane_key, l.cost from tide.run_lanes as l "
        "join tide.runs as r using (run_id) order by r.run_id"
    ).fetchall()
    assert found == [
        ("chat", "search", "acme", None),
        ("chat", "other", None, None),
        ("look", "search", None, 3),
    ]
    with pytest.raises(ValueError, match="also_lanes and no lane"):
        tide.workflow("odd", also_lanes=[{"lane": "search"}])(lambda run: None)
