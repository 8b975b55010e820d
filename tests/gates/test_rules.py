"""Rules of a gate: how an answer looks, how many decide, who, after which time others, who not."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from tests.roles.conftest import log_in as log_in
from tests.runs.acts import Tide, contents, refused
from tests.support import Clock, Connection

LogIn = Callable[..., Connection]


def opened(tide: Tide, **rules: Any) -> Any:
    run = tide.started(lease="1 day")
    return tide.open_gate(
        run_id=run.run_id, lease_id=run.lease_id, name="pay", prompt="Pay?", rules=rules
    )


def decide(tide: Tide, gate: Any, actor: str, decision: str = "approved", **more: Any) -> str:
    """The status after it."""
    status: str = tide.decide_gate(
        gate_id=gate.gate_id, decision=decision, actor=actor, **more
    ).status
    return status


def events(tide: Tide, gate: Any) -> list[dict[str, Any]]:
    told: list[dict[str, Any]] = tide.describe_gate(gate_id=gate.gate_id)["events"]
    return told


# --- answers --------------------------------------------------------------------------------

ANSWER = {
    "type": "object",
    "required": ["cents"],
    "additionalProperties": False,
    "properties": {
        "cents": {"type": "integer", "minimum": 1, "maximum": 5000},
        "note": {"type": ["string", "null"], "minLength": 2, "maxLength": 5},
        "way": {"enum": ["card", "bank"]},
        "tags": {"type": "array", "minItems": 1, "maxItems": 2, "items": {"type": "string"}},
        "when": {"anyOf": [{"type": "null"}, {"type": "integer"}]},
        "sure": {"const": True},
    },
}


@pytest.mark.parametrize(
    "payload",
    [
        {"cents": 1},
        {"cents": 5000.0, "note": None, "way": "bank", "tags": ["a", "b"]},
        {"cents": 7, "note": "ok", "when": None, "sure": True},
    ],
)
def test_an_answer_that_fits_decides(tide: Tide, payload: Any) -> None:
    gate = opened(tide, answer=ANSWER)
    assert decide(tide, gate, "ann", payload=payload) == "approved"


@pytest.mark.parametrize(
    ("payload", "words"),
    [
        ({}, "payload.cents is missing"),
        ([], "payload is array and not object"),
        ({"cents": "1"}, "payload.cents is string and not integer"),
        ({"cents": 1.5}, "payload.cents is number and not integer"),
        ({"cents": 0}, "payload.cents is below 1"),
        ({"cents": 5001}, "payload.cents is above 5000"),
        ({"cents": 1, "note": "x"}, "payload.note is shorter than 2 characters"),
        ({"cents": 1, "note": "xxxxxx"}, "payload.note is longer than 5 characters"),
        ({"cents": 1, "note": 1}, "payload.note is number and not string or null"),
        ({"cents": 1, "way": "cash"}, 'payload.way is none of ["card", "bank"]'),
        ({"cents": 1, "tags": []}, "payload.tags has fewer than 1 elements"),
        ({"cents": 1, "tags": ["a", "b", "c"]}, "payload.tags has more than 2 elements"),
        ({"cents": 1, "tags": ["a", 2]}, "payload.tags[1] is number and not string"),
        ({"cents": 1, "when": "x"}, "payload.when fits none of the forms it may have"),
        ({"cents": 1, "sure": False}, "payload.sure is not true"),
        ({"cents": 1, "other": 1}, "payload.other is not asked for"),
    ],
)
def test_an_answer_that_does_not_fit_is_refused_with_its_place(
    tide: Tide, payload: Any, words: str
) -> None:
    gate = opened(tide, answer=ANSWER)
    before = contents(tide.connection)
    with refused("22023", words) as caught:
        decide(tide, gate, "ann", payload=payload)
    assert "still open" in str(caught.value.diag.message_hint)
    assert contents(tide.connection) == before
    with refused("22023", words):
        tide.resolve_gate(
            gate_id=gate.gate_id, token=gate.token, decision="approved", payload=payload
        )
    assert decide(tide, gate, "ann", "rejected", payload=payload) == "rejected"


def nested(times: int, around: Callable[[Any], Any]) -> Any:
    made: Any = {"type": "integer"}
    for _ in range(times):
        made = around(made)
    return made


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ({"pattern": "a+"}, "rules.answer has an unknown key: 'pattern'"),
        ({"$ref": "#/x"}, "rules.answer has an unknown key: '$ref'"),
        ({"type": "text"}, "rules.answer.type is not valid"),
        ({"type": []}, "rules.answer.type is not valid"),
        ({"enum": list(range(1001))}, "rules.answer.enum is not valid"),
        ({"anyOf": [{}] * 1001}, "rules.answer.anyOf is not valid"),
        ({"required": ["a"] * 1001}, "rules.answer.required is not valid"),
        (nested(50, lambda part: {"anyOf": [part]}), "nested deeper than 100 levels"),
        ({"required": "a"}, "rules.answer.required is not valid"),
        ({"properties": {"a": {"minimum": "1"}}}, "rules.answer.properties.a.minimum"),
        ({"items": {"enum": []}}, "rules.answer.items.enum"),
        ({"anyOf": [{"format": "date"}]}, "rules.answer.anyOf has an unknown key"),
        ([1], "rules.answer is not a JSON object"),
    ],
)
def test_a_schema_the_database_does_not_check_is_refused(
    tide: Tide, schema: Any, words: str
) -> None:
    with refused("22023", words):
        opened(tide, answer=schema)


@pytest.mark.parametrize(
    ("items", "answer"),
    [
        ({"anyOf": [{"const": number} for number in range(300)]}, [299] * 3000),
        ({"enum": [[number] for number in range(1000)]}, [[999]] * 1000),
        ({"enum": list(range(1000))}, [999] * 60_000),
        (nested(40, lambda part: {"anyOf": [{"type": "null"}, part]}), [1] * 3000),
    ],
)
def test_an_answer_that_costs_too_much_to_check_is_refused(
    tide: Tide, items: Any, answer: Any
) -> None:
    """Its run is locked meanwhile, so whoever may answer could stop its worker for minutes."""
    gate = opened(tide, answer={"type": "array", "items": items})
    with refused("22023", "too large to be checked"):
        decide(tide, gate, "ann", payload=answer)
    assert decide(tide, gate, "ann", payload=answer[:2]) == "approved"


def test_long_answers_to_plain_questions_are_checked(tide: Tide) -> None:
    gate = opened(tide, answer={"type": "array", "items": {"enum": list(range(1000))}})
    with refused("22023", "is none of"):
        decide(tide, gate, "ann", payload=[999] * 2000 + [1000])
    assert decide(tide, gate, "ann", payload=[999, 1.0, 0] * 700) == "approved"


@pytest.mark.parametrize("choice", [1, "a", None, True, {"a": 1}, [1, 2], []])
def test_a_choice_is_one_of_those_given_and_not_like_one(tide: Tide, choice: Any) -> None:
    choices = [1, "a", None, True, {"a": 1}, [1, 2], []]
    gate = opened(tide, answer={"items": {"enum": choices}})
    assert decide(tide, gate, "ann", payload=[choice]) == "approved"
    other = [one for one in choices if one != choice] + [[1, 2, 3], {"a": 1, "b": 2}, [[]]]
    gate = opened(tide, answer={"items": {"enum": [*other, "1", False]}})
    with refused("22023", "is none of"):
        decide(tide, gate, "ann", payload=[choice])


def test_a_time_out_cannot_approve_without_an_answer_that_fits(tide: Tide) -> None:
    run = tide.started()
    with refused("22023", "on_timeout", "cents is missing"):
        tide.open_gate(
            run_id=run.run_id,
            lease_id=run.lease_id,
            name="pay",
            prompt="Pay?",
            timeout="1 day",
            on_timeout="approved",
            rules={"answer": ANSWER},
        )


# --- how many -------------------------------------------------------------------------------


def test_a_quorum_is_reached_by_different_actors(tide: Tide) -> None:
    gate = opened(tide, quorum=3)
    assert decide(tide, gate, "ann") == "pending"
    assert decide(tide, gate, "ann") == "pending"
    assert decide(tide, gate, "bob", comment="fine") == "pending"
    told = tide.describe_gate(gate_id=gate.gate_id)
    assert [(vote["actor"], vote["comment"]) for vote in told["votes"]] == [
        ("ann", None),
        ("bob", "fine"),
    ]
    assert decide(tide, gate, "eve") == "approved"
    assert [event["type"] for event in events(tide, gate)] == [
        "gate.created",
        "gate.voted",
        "gate.voted",
        "gate.voted",
        "gate.resolved",
    ]
    assert events(tide, gate)[2] == {
        "type": "gate.voted",
        "decision": "approved",
        "actor": "bob",
        "approvals": 2,
        "quorum": 3,
        "comment": "fine",
        "created_at": events(tide, gate)[2]["created_at"],
    }


def test_an_actor_votes_once(tide: Tide) -> None:
    gate = opened(tide, quorum=2)
    decide(tide, gate, "ann")
    with refused("TD022", "ann", "already voted", "approved"):
        decide(tide, gate, "ann", "rejected")
    with refused("TD022", "ann"):
        decide(tide, gate, "ann", payload={"other": 1})


def test_a_login_votes_once_whatever_name_it_gives(tide: Tide, log_in: LogIn) -> None:
    gate = opened(tide, quorum=2)
    client = Tide(log_in("tide_client"))
    login = client.connection.info.user
    held = {"gate_id": gate.gate_id, "token": gate.token, "decision": "approved"}
    with refused("42501", login, "own name"):
        client.resolve_gate(**held, actor="ann")
    assert client.resolve_gate(**held, actor=login).status == "pending"
    assert client.resolve_gate(**held, actor=login).status == "pending"
    assert decide(tide, gate, "ann") == "approved"


def test_one_rejection_decides_where_nobody_knows_who_may_vote(tide: Tide) -> None:
    gate = opened(tide, quorum=2)
    decide(tide, gate, "ann")
    assert decide(tide, gate, "bob", "rejected") == "rejected"


def test_rejections_decide_once_the_quorum_is_out_of_reach(tide: Tide) -> None:
    gate = opened(tide, quorum=2, assignees=["ann", "bob", "eve"])
    assert decide(tide, gate, "ann", "rejected") == "pending"
    assert decide(tide, gate, "bob") == "pending"
    assert decide(tide, gate, "eve", "rejected") == "rejected"


def test_votes_wake_the_run_only_with_the_last_of_them(tide: Tide) -> None:
    run = tide.started()
    own = {"run_id": run.run_id, "lease_id": run.lease_id}
    gate = tide.open_gate(**own, name="pay", prompt="Pay?", rules={"quorum": 2})
    assert tide.await_gate(**own, gate_id=gate.gate_id).parked
    decide(tide, gate, "ann")
    assert tide.claim() == []
    decide(tide, gate, "bob", payload={"n": 1})
    (again,) = tide.claim()
    answer = tide.await_gate(run_id=run.run_id, lease_id=again.lease_id, gate_id=gate.gate_id)
    assert (answer.status, answer.payload, answer.actor) == ("approved", {"n": 1}, "bob")


# --- who ------------------------------------------------------------------------------------


def test_assignees_decide_and_nobody_else(tide: Tide) -> None:
    gate = opened(tide, assignees=["ann", "bob"])
    before = contents(tide.connection)
    with refused("42501", gate.gate_id, "eve", "assigned to others"):
        decide(tide, gate, "eve")
    assert contents(tide.connection) == before
    assert decide(tide, gate, "bob") == "approved"


def test_a_role_is_assigned_to_by_the_login(tide: Tide, log_in: LogIn) -> None:
    gate = opened(tide, assignees=["role:tide_worker"])
    held = {"gate_id": gate.gate_id, "token": gate.token, "decision": "approved"}
    stranger = Tide(log_in("tide_client"))
    member = Tide(log_in("tide_client", "tide_worker"))
    for actor in ("role:tide_worker", "tide_worker", stranger.connection.info.user):
        with refused("42501"):
            stranger.resolve_gate(**held, actor=actor)
    assert member.resolve_gate(**held, actor=member.connection.info.user).status == "approved"


def test_a_token_does_not_make_an_assignee(tide: Tide, log_in: LogIn) -> None:
    gate = opened(tide, assignees=["ann"])
    client = Tide(log_in("tide_client"))
    for actor in ("ann", None, client.connection.info.user):
        with refused("42501", gate.gate_id):
            client.resolve_gate(
                gate_id=gate.gate_id, token=gate.token, decision="approved", actor=actor
            )
    assert tide.get_gate(gate_id=gate.gate_id).status == "pending"


def test_who_requested_does_not_decide_where_the_gate_says_so(tide: Tide, log_in: LogIn) -> None:
    requester = Tide(log_in("tide_client", "tide_operator"))
    other = Tide(log_in("tide_operator"))
    login = requester.connection.info.user
    run_id = requester.enqueue(workflow="report").run_id
    (run,) = tide.claim()
    assert run.run_id == run_id
    own = {"run_id": run.run_id, "lease_id": run.lease_id}
    gate = tide.open_gate(**own, name="pay", prompt="?", rules={"not_requester": True})
    for actor in (login, "ann"):
        with refused("42501", "requested"):
            decide(requester, gate, actor)
    with refused("42501", "requested"):
        decide(other, gate, login)
    assert decide(other, gate, "ann") == "approved"


def test_the_requester_of_a_run_is_that_of_its_children_and_survives_its_end(
    tide: Tide, log_in: LogIn
) -> None:
    requester = Tide(log_in("tide_client"))
    login = requester.connection.info.user
    run_id = requester.enqueue(workflow="report").run_id
    (run,) = tide.claim()
    own = {"run_id": run.run_id, "lease_id": run.lease_id}
    child = tide.spawn(**own, edge="one", workflow="part", queue="parts")
    assert tide.get_run(run_id=child.child_id).requested_by == login
    tide.fail(**own, retryable=False)
    assert tide.get_run(run_id=run_id).requested_by == login
    assert tide.retry(run_id=run_id).requested_by == login


# --- when others ----------------------------------------------------------------------------


def test_after_its_time_a_gate_is_for_others_too(tide: Tide, hour: Clock) -> None:
    gate = opened(tide, assignees=["ann"], escalate_after="2 hours", escalate_to=["boss"])
    hour.advance(timedelta(hours=2) - timedelta(microseconds=1))
    tide.reconcile()
    with refused("42501"):
        decide(tide, gate, "boss")
    hour.advance(timedelta(microseconds=1))
    assert tide.reconcile()["gate_timeouts"] == 1
    assert tide.reconcile()["gate_timeouts"] == 0
    assert events(tide, gate)[-1]["type"] == "gate.escalated"
    assert events(tide, gate)[-1]["escalate_to"] == ["boss"]
    assert decide(tide, gate, "boss") == "approved"


def test_escalation_does_not_wait_for_upkeep(tide: Tide, hour: Clock) -> None:
    gate = opened(tide, assignees=["ann"], escalate_after="1 hour", escalate_to=["boss"])
    hour.advance(timedelta(hours=1))
    assert decide(tide, gate, "boss") == "approved"


def test_after_the_others_comes_the_default(tide: Tide, hour: Clock) -> None:
    run = tide.started(lease="1 day")
    gate = tide.open_gate(
        run_id=run.run_id,
        lease_id=run.lease_id,
        name="pay",
        prompt="?",
        timeout="2 hours",
        rules={"assignees": ["ann"], "escalate_after": "1 hour", "escalate_to": ["boss"]},
    )
    for status in ("pending", "rejected"):
        hour.advance(timedelta(hours=1))
        tide.reconcile()
        assert tide.get_gate(gate_id=gate.gate_id).status == status


@pytest.mark.parametrize(
    ("rules", "words"),
    [
        ({"quorum": 0}, "rules.quorum"),
        ({"quorum": 101}, "rules.quorum"),
        ({"quorum": 3, "assignees": ["ann", "bob"]}, "3 of 2"),
        ({"quorum": 2, "assignees": ["ann", "ann"]}, "2 of 1"),
        ({"assignees": []}, "rules.assignees"),
        ({"assignees": "ann"}, "rules.assignees"),
        ({"assignees": [""]}, "rules.assignees"),
        ({"assignees": [1]}, "rules.assignees"),
        ({"escalate_to": ["boss"]}, "escalate_after"),
        ({"assignees": ["ann"], "escalate_after": "1 hour"}, "escalate_to"),
        ({"escalate_after": "1 hour", "escalate_to": ["boss"]}, "escalate_to"),
        ({"escalate_after": "-1 hour", "escalate_to": ["b"], "assignees": ["a"]}, "timeout"),
        ({"not_requester": "yes"}, "rules.not_requester"),
        ({"quorums": 1}, "quorums"),
        ([1], "rules"),
    ],
)
def test_rules_that_make_no_sense_are_refused(tide: Tide, rules: Any, words: str) -> None:
    run = tide.started()
    before = contents(tide.connection)
    with refused("22023", words):
        tide.open_gate(run_id=run.run_id, lease_id=run.lease_id, name="a", prompt="?", rules=rules)
    assert contents(tide.connection) == before


# --- what people say beside it --------------------------------------------------------------


def test_views_comments_and_reminders_are_in_the_log(tide: Tide) -> None:
    gate = opened(tide)
    note = {"gate_id": gate.gate_id, "actor": "ann"}
    tide.note_gate(**note, note="viewed")
    tide.note_gate(**note, note="commented", comment="why so much?")
    tide.note_gate(**note, note="reminded")
    assert [(event["type"], event.get("comment")) for event in events(tide, gate)[1:]] == [
        ("gate.viewed", None),
        ("gate.commented", "why so much?"),
        ("gate.reminded", None),
    ]
    decide(tide, gate, "ann", comment="it is right")
    assert events(tide, gate)[-1]["comment"] == "it is right"
    before = contents(tide.connection)
    with refused("TD022", gate.gate_id):
        tide.note_gate(**note, note="viewed")
    assert contents(tide.connection) == before


def test_notes_that_say_nothing_are_refused(tide: Tide) -> None:
    gate = opened(tide)
    with refused("22023", "comment"):
        tide.note_gate(gate_id=gate.gate_id, note="commented", actor="ann")
    with refused("22023", "note"):
        tide.note_gate(gate_id=gate.gate_id, note="liked", actor="ann")
    with refused("TD010"):
        tide.note_gate(gate_id=None, note="viewed", actor="ann")


def test_a_description_tells_everything_but_the_token(tide: Tide) -> None:
    gate = opened(tide, quorum=2, assignees=["ann", "bob"], answer={"type": "object"})
    told = tide.describe_gate(gate_id=gate.gate_id)
    assert (told["status"], told["run_status"], told["quorum"]) == ("pending", "running", 2)
    assert (told["assignees"], told["answer_schema"]) == (["ann", "bob"], {"type": "object"})
    assert not {"token", "token_hash"} & set(told)
    assert gate.token not in str(told)
