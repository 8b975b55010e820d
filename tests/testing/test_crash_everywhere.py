"""The search names what is paid twice and what differs, and finds nothing in a sound workflow."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tidebase_pg import AsyncRun, AsyncTidebase, Run, Tidebase
from tidebase_pg.testing import CrashReport, KitError, TestServer, TideTest

NOWHERE = "postgresql:///a_database_that_is_never_used"
Searching = Callable[..., CrashReport]


@pytest.fixture
def search(tide_server: TestServer) -> Searching:
    def search(workflow: Callable[[Run, Any], Any], **options: Any) -> CrashReport:
        app = Tidebase(NOWHERE)
        app.workflow("tried", queue="tries")(workflow)
        with tide_server.tide_test(app) as kit:
            return kit.crash_everywhere("tried", **options)

    return search


def test_a_workflow_whose_effects_are_keyed_has_no_findings(search: Searching) -> None:
    def sound(run: Run, input: Any) -> list[Any]:
        first = run.step("first", lambda: 1)
        decision = run.gate("ask", "Go on?")
        return [first, decision.approved, run.step("second", lambda: 2)]

    report = search(sound, keyed=["first", "second"])
    assert report.findings == []
    assert len(report.points) >= 12
    assert any("before effect of step 'first'" in point for point in report.points)
    assert any("tide.open_gate" in point for point in report.points)


def test_a_step_paid_twice_is_named_with_the_point(search: Searching) -> None:
    def unkeyed(run: Run, input: Any) -> int:
        return run.step("pay", lambda: 7)

    with pytest.raises(AssertionError, match="after effect of step 'pay': the function of"):
        search(unkeyed)


def test_a_declared_effect_that_an_operator_decides_about_is_paid_once(search: Searching) -> None:
    def reviewed(run: Run, input: Any) -> int:
        return run.step("pay", lambda: 7, side_effects=["card"])

    assert search(reviewed).findings == []


def test_code_outside_of_steps_that_differs_is_found(search: Searching, tmp_path: Path) -> None:
    count = tmp_path / "count"

    def differs(run: Run, input: Any) -> int:
        with count.open("a") as file:
            file.write("x")
        run.step("one", lambda: 1)
        return len(count.read_text())

    with pytest.raises(AssertionError, match="code outside of steps differs between attempts"):
        search(differs, keyed=["one"])


def test_steps_in_an_order_that_differs_are_found(search: Searching, tmp_path: Path) -> None:
    marks = tmp_path / "marks"

    def shuffled(run: Run, input: Any) -> int:
        turn = len(list(tmp_path.iterdir()))
        (tmp_path / f"{marks.name}{turn}").touch()
        for name in ("a", "b") if turn % 2 else ("b", "a"):
            run.step(name, lambda: 1)
        return 1

    with pytest.raises(AssertionError, match=r"the steps were \['[ab]', '[ab]'\], undisturbed"):
        search(shuffled, keyed=["a", "b"])


def test_a_workflow_that_fails_undisturbed_is_refused(search: Searching) -> None:
    def broken(run: Run, input: Any) -> None:
        raise RuntimeError("always")

    with pytest.raises(KitError, match="undisturbed, the run ends as failed"):
        search(broken, max_attempts=1)


def test_too_many_points_are_refused_before_anything_is_killed(search: Searching) -> None:
    def long(run: Run, input: Any) -> int:
        return sum(run.step(f"step {number}", lambda: 1) for number in range(9))

    with pytest.raises(KitError, match="points to kill at: raise max_points"):
        search(long, max_points=10)


def test_an_async_application_is_drained_and_crashed_alike(tide_server: TestServer) -> None:
    app = AsyncTidebase(NOWHERE)
    numbers = itertools.count()

    @app.workflow("greet", queue="greetings")
    async def greet(run: AsyncRun, input: dict[str, str]) -> str:
        async def hello() -> str:
            next(numbers)
            return f"hello {input['name']}"

        return await run.step("hello", hello)

    kit: TideTest
    with tide_server.tide_test(app) as kit:
        run = kit.enqueue(greet, input={"name": "Ann"})
        assert kit.drain().attempts(run) == ["completed"]
        assert (run.result, next(numbers)) == ("hello Ann", 1)
        killed = kit.enqueue(greet, input={"name": "Bob"}, max_attempts=2)
        kit.crash(killed, step="hello", after="commit")
        assert kit.drain().attempts(killed) == ["lost", "completed"]
        assert killed.steps["hello"].executions == 1
        report = kit.crash_everywhere(greet, input={"name": "Cid"}, keyed=["hello"])
        assert (report.findings, len(report.points) >= 6) == ([], True)


async def test_adrain_works_inside_a_running_loop(tide_server: TestServer) -> None:
    app = AsyncTidebase(NOWHERE)

    @app.workflow("greet", queue="greetings")
    async def greet(run: AsyncRun, input: Any) -> str:
        return "hello"

    with tide_server.tide_test(app) as kit:
        run = kit.enqueue("greet")
        assert (await kit.adrain()).completed == [run]
