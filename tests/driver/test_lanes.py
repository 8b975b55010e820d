"""The lane a workflow is registered with, and what its runs, children and schedules have of it."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support import Connection
from tidebase_pg import AsyncRun, AsyncTidebase, NotFound, Run, Tidebase

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


def test_a_lane_of_a_workflow_that_makes_no_sense_is_named(tide: Tidebase) -> None:
    with pytest.raises(ValueError, match="lane_key and no lane"):
        tide.workflow("a", lane_key=customer)(lambda run: None)
    with pytest.raises(TypeError, match="must be a function of the input, not str"):
        tide.workflow("b", lane="l", lane_key="acme")(lambda run: None)  # type: ignore[arg-type]
    tide.workflow("c", lane="l", lane_key=lambda given: 5)(lambda run: None)  # type: ignore[arg-type,return-value]
    with pytest.raises(TypeError, match="lane_key"):
        tide.enqueue("c")
