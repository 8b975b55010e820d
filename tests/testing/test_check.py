"""The check finds every incompatible change on every run it concerns, and writes nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from click.testing import CliRunner

from tidebase_pg import AsyncRun, AsyncTidebase, Run, Tidebase
from tidebase_pg.cli import main
from tidebase_pg.testing import TestServer, TideTest
from tidebase_pg.testing.check import Verdict, check

NOWHERE = "postgresql:///a_database_that_is_never_used"
Code = Callable[[Run, Any], Any]


def original(run: Run, input: Any) -> Any:
    """Runs of it are parked at the gate `last`, with everything before it done."""
    first = run.step("first", lambda: input["n"], input={"n": input["n"]})
    with run.transaction("ledger") as tx:
        if not tx.done:
            tx.complete({"kept": True})
    run.state.set({"at": "second"})
    second = run.step("second", lambda: first + 1)
    run.gate("early", "Go on?", data={"n": first})
    run.sleep("nap", 0.01)
    told = run.wait_event("told", timeout=60)
    assert told is not None
    made = run.child("part", input={"n": second}, name="part", queue="parts")
    third = run.step("third", lambda: made)
    run.usage.record(kind="llm", cost_usd=0.1, request_key="once")
    run.gate("last", "Finish?", data={"n": third})
    return run.step("fourth", lambda: third)


def part(run: Run, input: Any) -> Any:
    return run.step("part", lambda: input["n"])


def application(code: Code = original, name: str = "flow") -> Tidebase:
    app = Tidebase(NOWHERE)
    app.workflow(name, queue="flows")(code)
    app.workflow("part", queue="parts")(part)
    return app


@pytest.fixture(scope="module")
def live(tide_server: TestServer) -> Iterator[TideTest]:
    """Three runs of the original, parked at their last gate, and one that has not begun; one
    database for all checks, since they write nothing."""
    with tide_server.tide_test(application()) as kit:
        runs = [kit.enqueue("flow", input={"n": n}) for n in range(3)]
        kit.drain()
        for run in runs:
            kit.send_event(run, "told", {"n": 1})
            kit.approve(run, "early")
        kit.drain(delayed=True)
        for run in runs:
            kit.assert_waits(run, on="gate", name="last")
        kit.enqueue("flow", input={"n": 9}, delay=86400)
        yield kit


def changed(old: str, new: str, *more: tuple[str, str]) -> Code:
    """The original with its text changed, as a deploy would."""
    import inspect
    import textwrap

    text = textwrap.dedent(inspect.getsource(original))
    for before, after in ((old, new), *more):
        assert before in text, before
        text = text.replace(before, after, 1)
    names: dict[str, Any] = {"Run": Run, "Any": Any}
    exec(compile(text.replace("-> Any", ""), "changed", "exec"), names)  # noqa: S102
    code: Code = names["original"]
    return code


def swapped(text: str) -> Code:
    return changed(text, "")


SECOND = 'second = run.step("second", lambda: first + 1)'
CHANGES: dict[str, Code] = {
    "the first step is renamed": changed('"first", lambda', '"first-step", lambda'),
    "a later step is renamed": changed('run.step("third"', 'run.step("3"'),
    "a step is removed": changed(SECOND, "second = first + 1"),
    "the last step done is removed": changed('run.step("third", lambda: made)', "made"),
    "a step gets other input": changed('input={"n": input["n"]}', 'input={"m": input["n"]}'),
    "a step loses its input": changed(', input={"n": input["n"]})', ")"),
    "steps change places": changed(
        SECOND,
        "second = first + 1",
        ("first = run.step(", 'second = run.step("second", lambda: 1)\n    first = run.step('),
    ),
    "the database step is renamed": changed('"ledger"', '"book"'),
    "the database step is removed": changed('with run.transaction("ledger") as tx:', "if None:"),
    "a gate asks about other data": changed('data={"n": first}', 'data={"cents": first}'),
    "a gate asks in other words": changed("Go on?", "Proceed?"),
    "a gate is renamed": changed('run.gate("early"', 'run.gate("earlier"'),
    "a gate is removed": changed('run.gate("early", "Go on?", data={"n": first})', "pass"),
    "a sleep is renamed": changed('run.sleep("nap"', 'run.sleep("rest"'),
    "an event is renamed": changed('"told"', '"heard"'),
    "a child is renamed": changed('name="part"', 'name="piece"'),
    "a child is of another workflow": changed('run.child("part"', 'run.child("flow"'),
    "a child gets other input": changed('input={"n": second}', 'input={"n": second + 1}'),
    "the code raises": changed("run.state.set(", "input['missing']\n    run.state.set("),
    "the code ends early": changed(
        "told = run.wait_event", "return None\n    told = run.wait_event"
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_an_incompatible_change_is_found_on_every_run_it_concerns(
    live: TideTest, change: str
) -> None:
    verdict = check(application(CHANGES[change]), live.dsn)
    assert verdict.runs == 4
    concerned = {finding.run_id for finding in verdict.findings}
    begun = {row.run_id for row in live.sql.execute("select distinct run_id from tide.steps")}
    parts = {row.child_id for row in live.sql.execute("select child_id from tide.run_edges")}
    fresh_too = change == "the code raises"
    assert concerned - begun == set() if not fresh_too else len(concerned) >= 3
    assert begun - parts <= concerned, [str(finding) for finding in verdict.findings]


COMPATIBLE: dict[str, Code] = {
    "nothing is changed": original,
    "a step is added after what is done": changed(
        'return run.step("fourth"', 'run.step("new", lambda: 1)\n    return run.step("fourth"'
    ),
    "a function of a step does something else": changed("lambda: first + 1", "lambda: first + 2"),
    "a step not yet done is renamed": changed('"fourth"', '"final"'),
    "code outside of steps is added": changed("run.state.set(", "len('x')\n    run.state.set("),
}


@pytest.mark.parametrize("change", COMPATIBLE)
def test_a_compatible_change_raises_no_alarm(live: TideTest, change: str) -> None:
    verdict = check(application(COMPATIBLE[change]), live.dsn)
    assert (verdict.findings, verdict.runs, verdict.good) == ([], 4, True)


def test_a_workflow_nobody_serves_is_named_with_its_runs(live: TideTest) -> None:
    verdict = check(application(name="renamed"), live.dsn)
    assert (verdict.unserved, verdict.good) == ({"flow": 4}, False)


def test_runs_are_replayed_against_the_version_they_began_with(live: TideTest) -> None:
    app = application()
    app.workflow("flow", queue="flows", version=2)(CHANGES["the first step is renamed"])
    app.workflow("part", queue="parts", version=2)(original)
    assert check(app, live.dsn).good
    only = Tidebase(NOWHERE)
    only.workflow("flow", queue="flows", version=2)(original)
    assert check(only, live.dsn).unserved == {"flow": 4}


def test_nothing_is_written_and_no_step_is_called(live: TideTest) -> None:
    def picture() -> Any:
        return live.sql.execute(
            "select md5(string_agg(t::text, ',' order by t::text)) from ("
            "select r::text from tide.runs as r union all select s::text from tide.steps as s "
            "union all select l::text from tide.event_log as l) as t(t)"
        ).fetchone()

    def loud(run: Run, input: Any) -> Any:
        return run.step("unknown", lambda: calls.append(1))

    calls: list[int] = []
    before = picture()
    check(application(loud), live.dsn)
    check(application(), live.dsn)
    assert (picture(), calls) == (before, [])


def test_a_sample_and_a_filter_look_at_some_runs(live: TideTest) -> None:
    assert check(application(), live.dsn, sample=2).runs == 2
    assert check(application(), live.dsn, workflow="part").runs == 0
    assert check(application(), live.dsn, queue="flows").runs == 4


def test_parallel_branches_raise_no_alarm_and_hide_none(tide_server: TestServer) -> None:
    def async_application(names: list[str]) -> AsyncTidebase:
        app = AsyncTidebase(NOWHERE)

        @app.workflow("wide", queue="wide")
        async def wide(run: AsyncRun, input: Any) -> Any:
            async def one(name: str) -> Any:
                async def effect() -> str:
                    return name

                kept = await run.step(name, effect)
                return await run.step(f"{name} again", effect) if name == "a" else kept

            answers = await asyncio.gather(*(one(name) for name in names))
            await run.gate("ask", "Go on?")
            return answers

        return app

    def verdict(kit: TideTest, names: list[str]) -> Verdict:
        return check(async_application(names), kit.dsn)

    with tide_server.tide_test(async_application(["a", "b", "c"])) as kit:
        kit.enqueue("wide")
        kit.drain()
        assert verdict(kit, ["a", "b", "c"]).good
        assert verdict(kit, ["c", "new", "b", "a"]).good
        (finding,) = verdict(kit, ["a", "c"]).findings
        assert "step 'b' is recorded and never asked for" in finding.problem


def test_the_command_says_what_it_found_and_ends_so(
    live: TideTest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "deploy.py").write_text(
        "from tests.testing.test_check import CHANGES, application\n"
        "same = application()\n"
        "other = application(CHANGES['a later step is renamed'])\n"
    )
    monkeypatch.chdir(tmp_path)
    good = CliRunner().invoke(main, ["check", "deploy:same", "--dsn", live.dsn])
    assert (good.exit_code, good.output.strip()) == (0, "4 active runs go on as they began")
    bad = CliRunner().invoke(main, ["check", "deploy:other", "--dsn", live.dsn])
    assert bad.exit_code == 1
    assert bad.output.count("step 'third' is recorded and never asked for") == 3


def test_a_login_that_may_not_read_is_refused(live: TideTest) -> None:
    live.sql.execute("create role tide_check_stranger login")
    try:
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            check(
                application(), psycopg.conninfo.make_conninfo(live.dsn, user="tide_check_stranger")
            )
    finally:
        live.sql.execute("drop role tide_check_stranger")
