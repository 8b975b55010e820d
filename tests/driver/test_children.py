"""Children: run here or on a queue, replayed by name, fanned out, followed by cancellation."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from tests.driver.conftest import Background
from tidebase_pg import (
    AsyncRun,
    AsyncTidebase,
    ChildFailed,
    Fail,
    InvalidArgument,
    NotFound,
    Run,
    RunFinished,
    Tidebase,
)
from tidebase_pg.registry import NewChild

PATIENCE = 60


@pytest.fixture
def called() -> list[Any]:
    return []


@pytest.fixture
def family(tide: Tidebase, called: list[Any]) -> Tidebase:
    """Workflows for children: `double`, and `broken` for odd numbers."""

    @tide.workflow("double", queue="children")
    def double(run: Run, input: Any) -> Any:
        return run.step("double", lambda: called.append(input["n"]) or 2 * input["n"])

    @tide.workflow("broken", queue="children")
    def broken(run: Run, input: Any) -> Any:
        called.append(input["n"])
        if input["n"] % 2:
            raise Fail(f"{input['n']} is odd")
        return input["n"]

    return tide


@pytest.fixture
def afamily(atide: AsyncTidebase, called: list[Any]) -> AsyncTidebase:
    @atide.workflow("double", queue="children")
    async def double(run: AsyncRun, input: Any) -> Any:
        return await run.step("double", lambda: called.append(input["n"]) or 2 * input["n"])

    @atide.workflow("broken", queue="children")
    async def broken(run: AsyncRun, input: Any) -> Any:
        called.append(input["n"])
        if input["n"] % 2:
            raise Fail(f"{input['n']} is odd")
        return input["n"]

    return atide


def test_a_child_runs_here_and_its_result_is_replayed(family: Tidebase, called: list[Any]) -> None:
    @family.workflow("parent", max_attempts=2)
    def parent(run: Run, input: Any) -> Any:
        results = [run.child("double", input={"n": n}, name=f"{n}") for n in (1, 2)]
        if run.attempt == 1:
            raise OSError("again")
        return results

    run_id = family.enqueue(parent, backoff={"base": 0, "jitter": 0}).run_id
    family.work(drain=True, queues=["default"])
    assert family.runs.get(run_id).result == [2, 4]
    assert called == [1, 2]
    children = family.runs.children(run_id)
    assert [(child.edge, child.workflow, child.status) for child in children] == [
        ("1", "double", "completed"),
        ("2", "double", "completed"),
    ]
    assert family.runs.get(children[0].child_id).parent_id == run_id


async def test_an_async_child_runs_here(afamily: AsyncTidebase, called: list[Any]) -> None:
    @afamily.workflow("parent")
    async def parent(run: AsyncRun, input: Any) -> Any:
        first = await run.child("double", input={"n": 1})
        return [first, await run.child("double", input={"n": 1})]

    assert await afamily.run(parent) == [2, 2]
    assert called == [1, 1]  # the same name again is the next child


def test_a_child_on_a_queue_parks_its_parent(family: Tidebase, called: list[Any]) -> None:
    @family.workflow("parent")
    def parent(run: Run, input: Any) -> Any:
        return run.child("double", input={"n": 3}, queue="children")

    run_id = family.enqueue(parent).run_id
    assert family.work(drain=True, queues=["default"]).dropped == 1
    row = family.runs.get(run_id)
    assert (row.waiting_on, row.attempt, called) == ("children", 0, [])
    assert family.work(drain=True).completed == 2
    assert (family.runs.get(run_id).result, called) == (6, [3])


async def test_an_async_child_on_a_queue_parks_its_parent(afamily: AsyncTidebase) -> None:
    @afamily.workflow("parent")
    async def parent(run: AsyncRun, input: Any) -> Any:
        return await run.child("double", input={"n": 3}, queue="children")

    run_id = (await afamily.enqueue(parent)).run_id
    report = await afamily.work(drain=True)
    assert (report.completed, report.dropped) == (2, 1)
    assert (await afamily.runs.get(run_id)).result == 6


def test_a_parent_run_inline_waits_for_a_queued_child(
    family: Tidebase, background: Background
) -> None:
    @family.workflow("parent")
    def parent(run: Run, input: Any) -> Any:
        result = run.child("double", input={"n": 3}, queue="children")
        run.step("after", lambda: None)
        return result

    background.start(family, queues=["children"])
    assert family.run(parent, lease=3) == 6


@pytest.mark.parametrize("queue", [None, "children"])
def test_a_failed_child_is_raised_with_its_edge_and_error(
    family: Tidebase, queue: str | None
) -> None:
    failures: list[ChildFailed] = []

    @family.workflow("parent")
    def parent(run: Run, input: Any) -> Any:
        try:
            run.child("broken", input={"n": 1}, name="odd", queue=queue)
        except ChildFailed as failure:
            failures.append(failure)
            return failure.error["type"]

    run_id = family.enqueue(parent).run_id
    family.work(drain=True)
    assert family.runs.get(run_id).result == "Fail"
    (failure,) = failures
    assert (failure.edge, failure.status) == ("odd", "failed")
    assert "1 is odd" in str(failure)


def test_a_child_with_attempts_left_is_tried_again_here(tide: Tidebase) -> None:
    tried: list[int] = []

    @tide.workflow("flaky")
    def flaky(run: Run, input: Any) -> Any:
        tried.append(run.attempt)
        if len(tried) < 3:
            raise OSError("not yet")
        return "done"

    @tide.workflow("parent")
    def parent(run: Run, input: Any) -> Any:
        return run.child(flaky, max_attempts=3, backoff={"base": 0.01, "jitter": 0})

    assert tide.run(parent) == "done"
    assert tried == [1, 2, 3]


def test_spawned_children_are_awaited_by_name(family: Tidebase, called: list[Any]) -> None:
    @family.workflow("parent")
    def parent(run: Run, input: Any) -> Any:
        made = [run.spawn("double", input={"n": n}, name=f"{n}") for n in (1, 2, 3)]
        ended = run.await_children(["1", "3"])
        assert [child.child_id for child in ended] == [made[0].child_id, made[2].child_id]
        return [child.result for child in ended]

    run_id = family.enqueue(parent).run_id
    family.work(drain=True)
    assert family.runs.get(run_id).result == [2, 6]
    assert sorted(called) == [1, 2, 3]


async def test_async_spawned_children_are_awaited(afamily: AsyncTidebase) -> None:
    @afamily.workflow("parent")
    async def parent(run: AsyncRun, input: Any) -> Any:
        await run.spawn("double", input={"n": 1}, name="a")
        await run.spawn("double", input={"n": 2}, name="b")
        return [child.result for child in await run.await_children()]

    run_id = (await afamily.enqueue(parent)).run_id
    await afamily.work(drain=True)
    assert (await afamily.runs.get(run_id)).result == [2, 4]


@pytest.mark.parametrize("queue", [None, "children"])
def test_a_fanout_gives_results_in_the_order_given(
    family: Tidebase, called: list[Any], queue: str | None
) -> None:
    @family.workflow("parent", max_attempts=2)
    def parent(run: Run, input: Any) -> Any:
        children: list[Any] = [{"workflow": "double", "input": {"n": n}} for n in range(20)]
        results = run.fanout("all", children, queue=queue, concurrency=4)
        if run.attempt == 1:
            raise OSError("again")
        return results

    run_id = family.enqueue(parent, backoff={"base": 0, "jitter": 0}).run_id
    family.work(drain=True, concurrency=4)
    assert family.runs.get(run_id).result == [2 * n for n in range(20)]
    assert sorted(called) == list(range(20))
    assert {child.edge_type for child in family.runs.children(run_id)} == {"fanout"}


@pytest.mark.parametrize("queue", [None, "children"])
async def test_an_async_fanout_gives_results_in_the_order_given(
    afamily: AsyncTidebase, called: list[Any], queue: str | None
) -> None:
    @afamily.workflow("parent")
    async def parent(run: AsyncRun, input: Any) -> Any:
        children: list[Any] = [{"workflow": "double", "input": {"n": n}} for n in range(20)]
        return await run.fanout("all", children, queue=queue, concurrency=4)

    run_id = (await afamily.enqueue(parent)).run_id
    await afamily.work(drain=True, concurrency=4)
    assert (await afamily.runs.get(run_id)).result == [2 * n for n in range(20)]
    assert sorted(called) == list(range(20))


@pytest.mark.parametrize("queue", [None, "children"])
def test_a_fanout_collects_failures_in_place_of_results(
    family: Tidebase, queue: str | None
) -> None:
    @family.workflow("parent")
    def parent(run: Run, input: Any) -> Any:
        children: list[Any] = [
            {"workflow": "broken", "name": f"n{n}", "input": {"n": n}} for n in range(4)
        ]
        results = run.fanout("all", children, queue=queue, on_failure="collect")
        return [one.edge if isinstance(one, ChildFailed) else one for one in results]

    run_id = family.enqueue(parent).run_id
    family.work(drain=True)
    assert family.runs.get(run_id).result == [0, "all/n1", 2, "all/n3"]


@pytest.mark.parametrize("queue", [None, "children"])
def test_a_fanout_that_fails_fast_raises_the_failure(family: Tidebase, queue: str | None) -> None:
    @family.workflow("parent")
    def parent(run: Run, input: Any) -> Any:
        children: list[Any] = [{"workflow": "broken", "input": {"n": n}} for n in (1, 2, 4)]
        run.fanout("all", children, queue=queue, concurrency=1)

    run_id = family.enqueue(parent).run_id
    family.work(drain=True)
    row = family.runs.get(run_id)
    assert (row.status, row.error["type"]) == ("failed", "ChildFailed")
    assert "child 'all/0'" in row.error["message"]


async def test_an_async_fanout_that_fails_fast_raises_the_failure(afamily: AsyncTidebase) -> None:
    @afamily.workflow("parent")
    async def parent(run: AsyncRun, input: Any) -> Any:
        children: list[Any] = [{"workflow": "broken", "input": {"n": n}} for n in (1, 2, 4)]
        await run.fanout("all", children, concurrency=1)

    with pytest.raises(ChildFailed, match="all/0"):
        await afamily.run(parent)


def test_cancel_reaches_children_at_once_and_an_empty_fanout_is_empty(family: Tidebase) -> None:
    @family.workflow("parent")
    def parent(run: Run, input: Any) -> Any:
        assert run.fanout("none", [], queue="children") == []
        children: list[Any] = [{"workflow": "double", "input": {"n": n}} for n in range(30)]
        return run.fanout("all", children, queue="children")

    run_id = family.enqueue(parent).run_id
    family.work(drain=True, queues=["default"])
    family.runs.cancel(run_id, reason="over", actor="ann")
    assert {child.status for child in family.runs.children(run_id)} == {"cancelled"}
    with pytest.raises(NotFound):
        family.runs.children("00000000-0000-0000-0000-000000000000")


def test_a_child_cancelled_by_hand_is_a_failure_of_the_child_not_of_the_lease(
    tide: Tidebase,
) -> None:
    begun = threading.Event()

    @tide.workflow("long")
    def long(run: Run, input: Any) -> Any:
        begun.set()
        run.cancelled.wait(PATIENCE)
        run.step("never", lambda: None)

    @tide.workflow("parent")
    def parent(run: Run, input: Any) -> Any:
        try:
            run.child(long)
        except ChildFailed as failure:
            status = failure.status
            return run.step("after", lambda: status)

    run_id = tide.runs.create("parent").run_id
    results: list[Any] = []
    thread = threading.Thread(
        target=lambda: results.append(tide.run(parent, run_id=run_id, lease=3))
    )
    thread.start()
    assert begun.wait(PATIENCE)
    (child,) = tide.runs.children(run_id)
    tide.runs.cancel(child.child_id)
    thread.join(PATIENCE)
    assert results == ["cancelled"]


def test_a_name_used_again_is_the_next_child(family: Tidebase) -> None:
    with family.runs.attach("parent") as run:
        for number in (1, 2):
            assert run.spawn("double", input={"n": number}, name="a").created
        assert [child.edge for child in family.runs.children(run.id)] == ["a", "a:2"]
        with pytest.raises(NotFound):
            run.await_children(["b"])
        run.complete()
        with pytest.raises(RunFinished):
            run.spawn("double", name="c")


@pytest.mark.parametrize(
    ("children", "options", "error", "words"),
    [
        ([{"workflow": "unknown"}], {}, ValueError, "not a registered workflow"),
        ([{"input": {}}], {}, ValueError, "not a registered workflow"),
        ([{"workflow": "double"}], {"on_failure": "x"}, ValueError, "on_failure"),
        ([{"workflow": "double"}], {"concurrency": 0}, ValueError, "concurrency"),
        ([{"workflow": "double", "name": "a"}] * 2, {}, ValueError, "same name"),
        ([{"workflow": "double", "colour": 1}], {"queue": "q"}, ValueError, "colour"),
    ],
)
def test_a_wrong_fanout_is_refused(
    family: Tidebase, children: Any, options: Any, error: type[Exception], words: str
) -> None:
    with family.runs.attach("parent") as run:
        with pytest.raises(error, match=words):
            run.fanout("all", children, **options)
        assert family.runs.children(run.id) == []


def test_children_that_come_after_others_run_on_workers_in_their_order(
    family: Tidebase, called: list[Any]
) -> None:
    @family.workflow("parent")
    def parent(run: Run, input: Any) -> Any:
        first = run.spawn("double", input={"n": 1}, name="first")
        run.spawn("double", input={"n": 2}, name="second", after=["first"])
        # Without a queue it would run here, and never begin.
        third = run.child("double", input={"n": 3}, name="third", after=["second", first.child_id])
        return [*(child.result for child in run.await_children(["first", "second"])), third]

    run_id = family.enqueue(parent).run_id
    family.work(drain=True)
    assert family.runs.get(run_id).result == [2, 4, 6]
    assert called == [1, 2, 3]
    assert family.runs.get(family.runs.children(run_id)[2].child_id).queue == "children"


async def test_async_children_that_come_after_others_run_in_their_order(
    afamily: AsyncTidebase, called: list[Any]
) -> None:
    @afamily.workflow("parent")
    async def parent(run: AsyncRun, input: Any) -> Any:
        await run.spawn("double", input={"n": 1}, name="first")
        return await run.child("double", input={"n": 2}, name="second", after=["first"])

    run_id = (await afamily.enqueue(parent)).run_id
    await afamily.work(drain=True)
    assert (await afamily.runs.get(run_id)).result == 4
    assert called == [1, 2]


@pytest.mark.parametrize("queue", [None, "children"])
def test_children_of_a_fanout_come_after_each_other_by_name_and_place(
    family: Tidebase, called: list[Any], queue: str | None
) -> None:
    @family.workflow("parent", max_attempts=2)
    def parent(run: Run, input: Any) -> Any:
        children: list[NewChild] = [
            {"workflow": "double", "input": {"n": 1}, "name": "one"},
            {"workflow": "double", "input": {"n": 2}},
            {"workflow": "double", "input": {"n": 3}, "after": ["one", 1]},
            {"workflow": "double", "input": {"n": 4}, "after": ["2"], "after_mode": "any"},
        ]
        return run.fanout("graph", children, queue=queue)

    run_id = family.enqueue(parent).run_id
    family.work(drain=True)
    assert family.runs.get(run_id).result == [2, 4, 6, 8]
    assert (sorted(called[:2]), called[2:]) == ([1, 2], [3, 4])
    assert {child.edge for child in family.runs.children(run_id)} == {
        "graph/one",
        "graph/1",
        "graph/2",
        "graph/3",
    }


async def test_children_of_an_async_fanout_come_after_those_run_here(
    afamily: AsyncTidebase, called: list[Any]
) -> None:
    @afamily.workflow("parent")
    async def parent(run: AsyncRun, input: Any) -> Any:
        children: list[NewChild] = [
            {"workflow": "double", "input": {"n": 1}},
            {"workflow": "double", "input": {"n": 2}, "after": [0]},
        ]
        return await run.fanout("graph", children)

    run_id = (await afamily.enqueue(parent)).run_id
    await afamily.work(drain=True)
    assert (await afamily.runs.get(run_id)).result == [2, 4]
    assert called == [1, 2]


@pytest.mark.parametrize("queue", [None, "children"])
def test_a_fanout_that_fails_fast_leaves_nobody_waiting_for_who_failed(
    family: Tidebase, called: list[Any], queue: str | None
) -> None:
    @family.workflow("parent")
    def parent(run: Run, input: Any) -> Any:
        children: list[NewChild] = [
            {"workflow": "broken", "input": {"n": 1}},
            {"workflow": "double", "input": {"n": 2}, "after": [0], "after_failure": "run"},
            {"workflow": "double", "input": {"n": 3}, "after": [1]},
        ]
        try:
            return run.fanout("graph", children, queue=queue)
        except ChildFailed as failure:
            return failure.edge

    run_id = family.enqueue(parent).run_id
    family.work(drain=True)
    assert family.runs.get(run_id).result == "graph/0"
    ends = [child.status for child in family.runs.children(run_id)]
    assert ends[0] == "failed"
    if queue is None:
        assert ends[1:] == ["cancelled", "cancelled"]
        assert called == [1]


def test_a_fanout_names_who_is_not_there_to_come_after(family: Tidebase) -> None:
    said: list[str] = []

    @family.workflow("parent")
    def parent(run: Run, input: Any) -> None:
        for after in ([7], ["nobody"], [1]):
            child: NewChild = {"workflow": "double", "after": after}
            with pytest.raises((ValueError, InvalidArgument)) as refusal:
                run.fanout("graph", [{"workflow": "double"}, child], queue="children")
            said.append(str(refusal.value))

    run_id = family.enqueue(parent).run_id
    family.work(drain=True)
    assert family.runs.get(run_id).status == "completed"
    assert "no child 7" in said[0]
    assert "nobody" in said[1]
    assert "itself" in said[2]
