"""report_steps: what begin_step and complete_step do, for many runs in one call."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID

import psycopg
import pytest

from tests.runs.acts import MINUTE, NOBODY, Tide, contents, refused
from tests.support import Clock, Connection, value

Answers = dict[int, tuple[str, Any]]
DEEP = json.loads("[" * 102 + "]" * 102)


@pytest.fixture
def own(tide: Tide) -> dict[str, Any]:
    run = tide.started(max_attempts=9)
    return {"run_id": run.run_id, "lease_id": run.lease_id}


def leased(run: Any) -> dict[str, Any]:
    return {"run_id": run.run_id, "lease_id": run.lease_id}


def report(tide: Tide, *reports: dict[str, Any]) -> Answers:
    """The action and output of each row of the answer, by the place of its report from 0."""
    return {row.ordinal - 1: (row.action, row.output) for row in rows(tide, *reports)}


def rows(tide: Tide, *reports: dict[str, Any]) -> list[Any]:
    document = json.dumps(reports, default=str)
    query = "select * from tide.report_steps(%s::jsonb)"
    return tide.connection.execute(query, (document,)).fetchall()


def steps(tide: Tide, run_id: UUID) -> list[Any]:
    query = "select * from tide.steps where run_id = %s order by position"
    return tide.connection.execute(query, (run_id,)).fetchall()


def test_a_begin_is_answered_as_begin_step_answers(
    tide: Tide, hour: Clock, own: dict[str, Any]
) -> None:
    (row,) = rows(tide, {**own, "name": "plan", "begin": True, "input": {"a": 1}})
    assert (row.ordinal, row.action, row.output, row.attempt, row.replay) == (
        1, "execute", None, 1, "auto",
    )  # fmt: skip
    (step,) = steps(tide, own["run_id"])
    assert (step.status, step.attempt, step.lease_id) == ("running", 1, own["lease_id"])
    assert (step.started_at, step.finished_at, step.position) == (hour.now, None, 3)
    assert tide.begin_step(**own, name="plan", input={"a": 1}).action == "execute"
    assert tide.log(own["run_id"]) == ["run.enqueued", "run.claimed", "step.started"]


def test_a_begin_past_the_deadline_is_told_to_ask_by_itself_and_refused(
    tide: Tide, hour: Clock
) -> None:
    own = leased(tide.started(deadline="1 hour"))
    hour.advance(timedelta(hours=1))
    assert report(tide, {**own, "name": "a", "begin": True}) == {0: ("single", None)}
    assert steps(tide, own["run_id"]) == []
    with refused("TD001"):
        tide.begin_step(**own, name="a")


def test_a_completion_is_stored_and_says_nothing(
    tide: Tide, hour: Clock, own: dict[str, Any]
) -> None:
    tide.begin_step(**own, name="plan")
    hour.advance(MINUTE / 2)
    assert report(tide, {**own, "name": "plan", "complete": True, "output": {"b": 2}}) == {}
    (step,) = steps(tide, own["run_id"])
    assert (step.status, step.output, step.finished_at) == ("completed", {"b": 2}, hour.now)
    assert step.started_at == hour.now - MINUTE / 2
    assert tide.log(own["run_id"])[-2:] == ["step.started", "step.completed"]
    assert tide.last_event(own["run_id"]).payload == {"name": "plan", "attempt": 1}
    assert tide.begin_step(**own, name="plan").output == {"b": 2}


def test_a_step_may_begin_and_complete_in_one_report(
    tide: Tide, hour: Clock, own: dict[str, Any]
) -> None:
    hour.advance(MINUTE / 2)
    both = {**own, "name": "plan", "begin": True, "complete": True, "output": 7, "age": 12.5}
    assert report(tide, both) == {}
    (step,) = steps(tide, own["run_id"])
    assert (step.status, step.output, step.attempt, step.position) == ("completed", 7, 1, 3)
    assert step.started_at == hour.now - timedelta(seconds=12.5)
    assert step.finished_at == hour.now
    assert tide.log(own["run_id"])[-2:] == ["step.started", "step.completed"]


@pytest.mark.parametrize("age", [1e9, -5])
def test_a_step_began_neither_before_its_run_nor_in_the_future(
    tide: Tide, hour: Clock, own: dict[str, Any], age: float
) -> None:
    started = tide.get_run(run_id=own["run_id"]).started_at
    hour.advance(MINUTE / 2)
    report(tide, {**own, "name": "plan", "begin": True, "age": age})
    (step,) = steps(tide, own["run_id"])
    assert step.started_at == (started if age > 0 else hour.now)


def test_every_report_renews_the_lease_and_a_replay_does_not(
    tide: Tide, hour: Clock, own: dict[str, Any]
) -> None:
    def renewed() -> bool:
        hour.advance(MINUTE / 4)
        before = tide.get_run(run_id=own["run_id"]).leased_until
        report(tide, {**own, "name": "plan", **what})
        return tide.get_run(run_id=own["run_id"]).leased_until == hour.now + MINUTE != before

    what: dict[str, Any] = {"begin": True}
    assert renewed()
    what = {"complete": True}
    assert renewed()
    what = {"begin": True}
    assert not renewed()


def test_the_contract_of_a_step_is_kept(tide: Tide, own: dict[str, Any]) -> None:
    contract = {
        "side_effects": ["mail"], "verified_by": "the outbox", "timeout": "5 s", "replay": "never",
    }  # fmt: skip
    (row,) = rows(tide, {**own, "name": "send", "begin": True, "contract": contract})
    assert (row.action, row.replay) == ("execute", "never")
    (step,) = steps(tide, own["run_id"])
    assert (step.side_effects, step.verified_by, step.replay) == (["mail"], "the outbox", "never")
    assert step.timeout == timedelta(seconds=5)


def test_a_completed_step_replays_in_this_and_later_attempts(
    tide: Tide, own: dict[str, Any]
) -> None:
    begin: dict[str, Any] = {"name": "plan", "begin": True, "input": [1]}
    report(tide, {**own, **begin, "complete": True, "output": {"kept": None}})
    assert report(tide, {**own, **begin}) == {0: ("replay", {"kept": None})}
    tide.fail(**own, retry_after="0")
    (run,) = tide.claim()
    assert report(tide, {**leased(run), **begin}) == {0: ("replay", {"kept": None})}


def test_the_same_reports_again_give_the_same_answers_and_no_event(tide: Tide) -> None:
    runs = [leased(tide.started()) for _ in range(3)]
    tide.begin_step(**runs[1], name="plan")
    reports = [
        {**runs[0], "name": "plan", "begin": True},
        {**runs[1], "name": "plan", "complete": True, "output": 1},
        {**runs[2], "name": "plan", "begin": True, "complete": True, "output": 2},
    ]
    first = report(tide, *reports)
    before = contents(tide.connection)
    assert report(tide, *reports) == first == {0: ("execute", None)}
    assert contents(tide.connection) == before


def test_steps_of_one_run_are_logged_without_a_gap(tide: Tide, own: dict[str, Any]) -> None:
    tide.begin_step(**own, name="a")
    answers = report(
        tide,
        {**own, "name": "a", "complete": True},
        {**own, "name": "b", "begin": True},
        {**own, "name": "c", "begin": True, "complete": True},
    )
    assert answers == {1: ("execute", None)}
    assert tide.log(own["run_id"])[3:] == [
        "step.started", "step.started", "step.completed", "step.completed",
    ]  # fmt: skip
    positions = {step.name: step.position for step in steps(tide, own["run_id"])}
    for event in tide.list_events(run_id=own["run_id"])[2:5]:
        assert positions[event.payload["name"]] == event.seq
    assert [event.payload["name"] for event in tide.list_events(run_id=own["run_id"])[5:]] == [
        "a", "c",
    ]  # fmt: skip


def test_reports_are_announced_as_other_events_are(tide: Tide) -> None:
    hook = {"type": "webhook", "url": "https://example.com/hook", "events": ["step.completed"]}
    run = tide.started(channels=[hook])
    report(tide, {**leased(run), "name": "plan", "begin": True, "complete": True})
    assert value(tide.connection, "select count(*) from tide.deliveries") == 1


# Refusals ---------------------------------------------------------------------------------


def ended(way: str, **arguments: Any) -> Callable[[Tide, Any], dict[str, Any]]:
    def end(tide: Tide, run: Any) -> dict[str, Any]:
        given = {"run_id": run.run_id} if way == "cancel" else leased(run)
        tide.call(way, **given, **arguments)
        return leased(run)

    return end


def begun(**contract: Any) -> Callable[[Tide, Any], dict[str, Any]]:
    def begin(tide: Tide, run: Any) -> dict[str, Any]:
        tide.begin_step(**leased(run), name="plan", contract=contract)
        return leased(run)

    return begin


def taken_over(contract: dict[str, Any]) -> Callable[[Tide, Any], dict[str, Any]]:
    """The step runs under the lease of a worker that is gone."""

    def take(tide: Tide, run: Any) -> dict[str, Any]:
        tide.begin_step(**leased(run), name="plan", contract=contract)
        tide.connection.execute(
            "update tide.runs_active set lease_id = gen_random_uuid() where run_id = %s",
            (run.run_id,),
        )
        lease_id = value(
            tide.connection, "select lease_id from tide.runs where run_id = %s", run.run_id
        )
        return {"run_id": run.run_id, "lease_id": lease_id}

    return take


def failed(tide: Tide, run: Any) -> dict[str, Any]:
    tide.begin_step(**leased(run), name="plan")
    tide.fail_step(**leased(run), name="plan", retryable=True)
    return leased(run)


def overdue(tide: Tide, run: Any) -> dict[str, Any]:
    tide.connection.execute(
        "update tide.runs_active set deadline_at = now() - interval '1 s' where run_id = %s",
        (run.run_id,),
    )
    return leased(run)


def spent(tide: Tide, run: Any) -> dict[str, Any]:
    tide.set_budget(run_id=run.run_id, limits={"max_steps": 0})
    return leased(run)


def child_of_spent(tide: Tide, run: Any) -> dict[str, Any]:
    child = tide.spawn(**leased(run), edge="child", workflow="child", queue="children")
    tide.set_budget(run_id=run.run_id, limits={"max_steps": 0})
    (claimed,) = tide.claim(queues=["children"])
    assert claimed.run_id == child.child_id
    return leased(claimed)


def as_is(tide: Tide, run: Any) -> dict[str, Any]:
    return leased(run)


def stranger(tide: Tide, run: Any) -> dict[str, Any]:
    return {"run_id": run.run_id, "lease_id": NOBODY}


def nobody(tide: Tide, run: Any) -> dict[str, Any]:
    return {"run_id": NOBODY, "lease_id": NOBODY}


BEGIN: dict[str, Any] = {"begin": True}
COMPLETE: dict[str, Any] = {"complete": True, "output": 1}
REFUSALS: dict[str, tuple[Callable[[Tide, Any], dict[str, Any]], dict[str, Any], str]] = {
    "another input": (begun(), {"begin": True, "input": 2}, "TD020"),
    "another input, completed": (begun(), {**BEGIN, **COMPLETE, "input": 2}, "TD020"),
    "in doubt": (taken_over({"side_effects": ["mail"]}), BEGIN, "review"),
    "in doubt, never": (taken_over({"replay": "never"}), BEGIN, "failed"),
    "of an earlier attempt": (taken_over({}), BEGIN, "execute"),
    "of an earlier attempt, completed": (taken_over({}), COMPLETE, "TD030"),
    "failed": (failed, BEGIN, "execute"),
    "failed, completed": (failed, COMPLETE, "TD030"),
    "never begun": (as_is, COMPLETE, "TD010"),
    "overdue": (overdue, BEGIN, "TD001"),
    "budget": (spent, BEGIN, "budget"),
    "budget of an ancestor": (child_of_spent, BEGIN, "budget"),
    "cancelled": (ended("cancel"), BEGIN, "TD001"),
    "cancelled, completed": (ended("cancel"), COMPLETE, "TD001"),
    "finished": (ended("complete"), BEGIN, "TD003"),
    "released": (ended("release", delay="1 h"), BEGIN, "TD002"),
    "a stranger": (stranger, BEGIN, "TD002"),
    "no such run": (nobody, BEGIN, "TD010"),
    "no name": (as_is, {"begin": True, "name": ""}, "22023"),
    "a control character": (as_is, {"begin": True, "name": "a\n"}, "22023"),
    "a long name": (as_is, {"begin": True, "name": "é" * 129}, "22023"),
    "a deep input": (as_is, {"begin": True, "input": DEEP}, "22023"),
    "a deep output": (begun(), {"complete": True, "output": DEEP}, "22023"),
    "a large output": (begun(), {"complete": True, "output": "x" * 1_100_000}, "TD040"),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_what_is_refused_comes_back_undone_and_stops_no_other(tide: Tide, case: str) -> None:
    prepare, what, reason = REFUSALS[case]
    given = {"name": "plan", **prepare(tide, tide.started(max_attempts=9)), **what}
    others = [leased(tide.started("other")) for _ in range(2)]
    before = (steps(tide, given["run_id"]), tide.connection.execute(
        "select * from tide.runs where run_id = %s", (given["run_id"],)
    ).fetchall())  # fmt: skip
    answers = report(
        tide,
        {**others[0], "name": "plan", "begin": True},
        given,
        {**others[1], "name": "plan", "begin": True, "complete": True},
    )
    assert answers == {0: ("execute", None), 1: ("single", None)}
    assert before == (steps(tide, given["run_id"]), tide.connection.execute(
        "select * from tide.runs where run_id = %s", (given["run_id"],)
    ).fetchall())  # fmt: skip
    assert [len(steps(tide, other["run_id"])) for other in others] == [1, 1]
    singly(tide, given, reason)


def singly(tide: Tide, given: dict[str, Any], reason: str) -> None:
    """The report by itself is refused, or answered, as the case says."""
    key = {name: given[name] for name in ("run_id", "lease_id", "name")}

    def begin() -> Any:
        return tide.begin_step(**key, input=json.dumps(given.get("input")))

    def complete() -> Any:
        return tide.complete_step(**key, output=json.dumps(given.get("output")))

    if reason.islower():
        assert begin().action == reason
        return
    with refused(reason):
        (begin if given.get("begin") else complete)()


def test_a_run_without_a_budget_above_it_is_no_exception(tide: Tide) -> None:
    parent = leased(tide.started())
    tide.spawn(**parent, edge="child", workflow="child", queue="children")
    (child,) = tide.claim(queues=["children"])
    assert report(tide, {**leased(child), "name": "plan", "begin": True}) == {0: ("execute", None)}


def test_a_step_named_twice_is_left_alone_and_so_is_its_run(
    tide: Tide, own: dict[str, Any]
) -> None:
    other = leased(tide.started())
    answers = report(
        tide,
        {**own, "name": "a", "begin": True},
        {**own, "name": "a", "complete": True},
        {**own, "name": "b", "begin": True},
        {**other, "name": "a", "begin": True},
    )
    assert {place: action for place, (action, _) in answers.items()} == {
        0: "single", 1: "single", 2: "single", 3: "execute",
    }  # fmt: skip
    assert steps(tide, own["run_id"]) == []


def test_a_report_that_says_nothing_comes_back(tide: Tide, own: dict[str, Any]) -> None:
    assert report(tide, {**own, "name": "a"}) == {0: ("single", None)}


@pytest.mark.parametrize(
    ("reports", "words"),
    [
        ({}, "reports is not an array"),
        (None, "reports is not an array"),
        ([1], "reports[0] is not a JSON object"),
        ([{"begins": True}], "reports[0] has an unknown key: 'begins'"),
        ([{}] * 1001, "1001 elements"),
        ([{"contract": {"replay": "sometimes"}}], "contract.replay is not known"),
    ],
)
def test_what_cannot_be_read_refuses_all(
    tide: Tide, own: dict[str, Any], reports: Any, words: str
) -> None:
    given = reports
    if isinstance(reports, list) and len(reports) == 1:
        given = [*reports, {**own, "name": "plan", "begin": True}]
    before = contents(tide.connection)
    with refused("22023", words):
        tide.connection.execute(
            "select tide.report_steps(%s::jsonb)", (json.dumps(given, default=str),)
        )
    assert contents(tide.connection) == before


def test_nothing_to_report_is_no_error(tide: Tide) -> None:
    assert report(tide) == {}


# The same as one by one --------------------------------------------------------------------


def world(tide: Tide, chance: random.Random, queue: str) -> list[dict[str, Any]]:
    """Runs in all sorts of states, the same for the same chance."""
    runs: list[dict[str, Any]] = []
    for _ in range(12):
        run = tide.started(queue=queue, max_attempts=9)
        held = leased(run)
        for name in "abc":
            match chance.randrange(6):
                case 0:
                    tide.begin_step(**held, name=name)
                case 1:
                    tide.begin_step(**held, name=name)
                    tide.complete_step(**held, name=name, output={"kept": name})
                case 2:
                    tide.begin_step(**held, name=name, contract={"side_effects": ["mail"]})
                case 3:
                    tide.begin_step(**held, name=name)
                    tide.fail_step(**held, name=name, retryable=True)
                case _:
                    pass
        match chance.randrange(8):
            case 0:
                tide.fail(**held, retry_after="0")
                (run,) = tide.claim(queues=[queue])
                held = leased(run)
            case 1:
                tide.cancel(run_id=run.run_id)
            case 2:
                tide.set_budget(run_id=run.run_id, limits={"max_steps": 2})
            case _:
                pass
        runs.append(held)
    return runs


def draw(chance: random.Random, runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Reports about different steps, the same for the same chance."""
    reports: list[dict[str, Any]] = []
    for run in chance.sample(runs, len(runs)):
        for name in chance.sample("abcd", chance.randrange(3)):
            what = chance.choice([{"begin": True}, {"complete": True}])
            if chance.random() < 0.3:
                what = {"begin": True, "complete": True}
            if "begin" in what and chance.random() < 0.1:
                what["input"] = {"n": 1.0}
            if "complete" in what:
                what["output"] = chance.choice([None, 1, {"x": [1.50]}])
            reports.append({**run, "name": name, **what})
    return reports


def by_itself(tide: Tide, given: dict[str, Any], verb: str) -> tuple[str, Any]:
    key = {name: given[name] for name in ("run_id", "lease_id", "name")}
    try:
        if verb == "begin":
            answer = tide.begin_step(
                **key, input=None if "input" not in given else json.dumps(given["input"])
            )
            return answer.action, answer.output
        output = given["output"]
        tide.complete_step(**key, output=None if output is None else json.dumps(output))
    except psycopg.Error as error:
        return error.sqlstate or "", None
    return "done", None


def facts(tide: Tide, runs: list[dict[str, Any]]) -> list[Any]:
    """What is left of the runs, without their ids."""
    found: list[Any] = []
    for held in runs:
        run = tide.get_run(run_id=held["run_id"])
        kept = steps(tide, held["run_id"])
        found.append(
            (
                (run.status, run.last_seq, run.leased_until, run.waiting_on),
                [
                    (event.seq, event.type, {**event.payload, "queue": None})
                    for event in tide.list_events(run_id=held["run_id"])
                ],
                [
                    step._replace(run_id=None, lease_id=step.lease_id == held["lease_id"])
                    for step in kept
                ],
            )
        )
    return found


@pytest.mark.parametrize("seed", range(8))
def test_reports_together_are_what_they_are_one_by_one(tide: Tide, hour: Clock, seed: int) -> None:
    together, apart = (world(tide, random.Random(seed), queue) for queue in ("x", "y"))
    reports, singles = (draw(random.Random(seed), runs) for runs in (together, apart))
    assert len(reports) == len(singles) > 5
    hour.advance(MINUTE / 2)
    answers = report(tide, *reports)
    single = [place for place, (action, _) in answers.items() if action == "single"]
    seen = {reports[place]["name"] + str(place): action for place, action in answers.items()}
    # First all begins, then all completions, as the events of one run are ordered.
    for verb in ("begin", "complete"):
        for place, given in enumerate(singles):
            if verb in given and place not in single:
                answer = by_itself(tide, given, verb)
                if verb == "begin" and "complete" not in given:
                    assert answers[place] == answer, seen
                elif verb == "complete":
                    assert (answer, place in answers) == (("done", None), False), seen
    assert facts(tide, together) == facts(tide, apart)
    for place in single:
        verbs = [verb for verb in ("begin", "complete") if verb in reports[place]]
        first = by_itself(tide, reports[place], verbs[0])
        assert first == by_itself(tide, singles[place], verbs[0])
        assert first[0] != "replay" or len(verbs) == 2


def test_looking_up_steps_costs_the_same_whatever_the_planner_knows(
    tide: Tide, connection: Connection
) -> None:
    connection.execute("analyze tide.steps, tide.runs_active")
    runs = [leased(tide.started()) for _ in range(4)]
    for number in range(60):
        report(
            tide,
            *({**run, "name": f"s{number}", "begin": True, "complete": True} for run in runs),
        )
    with connection.transaction():
        report(tide, *({**run, "name": "more", "begin": True, "complete": True} for run in runs))
        read = value(
            connection,
            "select idx_tup_fetch from pg_stat_xact_user_tables "
            "where schemaname = 'tide' and relname = 'steps'",
        )
    assert read < 20
