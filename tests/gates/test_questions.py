"""A decision fits one question: the prompt and the data that were shown, and nothing else."""

from __future__ import annotations

from typing import Any

import pytest

from tests.runs.acts import Tide, contents, refused


@pytest.fixture
def own(tide: Tide) -> dict[str, Any]:
    """Run and lease of a claimed run, as arguments."""
    run = tide.started()
    return {"run_id": run.run_id, "lease_id": run.lease_id}


def ask(tide: Tide, own: dict[str, Any], prompt: str, data: Any, **options: Any) -> Any:
    return tide.open_gate(**own, **{"name": "pay", "prompt": prompt, "data": data} | options)


def approve(tide: Tide, gate: Any) -> None:
    tide.decide_gate(gate_id=gate.gate_id, decision="approved", actor="ann")


@pytest.mark.parametrize(
    ("prompt", "data"),
    [
        ("Pay?", {"cents": 9_900_000}),
        ("Pay!", {"cents": 1200}),
        ("Pay?", {"cents": 1200, "to": "bob"}),
        ("Pay?", {}),
        ("Pay?", None),
        ("Pay?", {"cents": "1200"}),
    ],
)
def test_another_question_under_the_name_gets_no_answer(
    tide: Tide, own: dict[str, Any], prompt: str, data: Any
) -> None:
    approve(tide, ask(tide, own, "Pay?", {"cents": 1200}))
    before = contents(tide.connection)
    with refused("TD020", "pay", own["run_id"]) as caught:
        ask(tide, own, prompt, data)
    assert str(caught.value.diag.message_detail).count("hash") == 1
    assert contents(tide.connection) == before
    with refused("TD020"):
        ask(tide, own, prompt, data)


@pytest.mark.parametrize("data", ['{"b": 2, "a": 1.0}', '{"a":1,"b":2.00}', '{"b": 2, "a": 1}'])
def test_neither_order_of_keys_nor_form_of_numbers_makes_another_question(
    tide: Tide, own: dict[str, Any], data: str
) -> None:
    gate = ask(tide, own, "Pay?", '{"a": 1, "b": 2}')
    approve(tide, gate)
    again = ask(tide, own, "Pay?", data)
    assert (again.gate_id, again.status) == (gate.gate_id, "approved")


def test_another_question_may_be_asked_for_as_the_next_of_the_name(
    tide: Tide, own: dict[str, Any]
) -> None:
    """In the order in which they were first asked, and each found again by what it asks."""
    asked = [ask(tide, own, "Pay?", {"to": to}, on_change="ask") for to in ("ann", "bob", "eve")]
    assert [tide.get_gate(gate_id=gate.gate_id).name for gate in asked] == ["pay", "pay:2", "pay:3"]
    assert all(gate.token for gate in asked)
    approve(tide, asked[1])
    again = {
        to: ask(tide, own, "Pay?", {"to": to}, on_change="ask") for to in ("eve", "bob", "ann")
    }
    assert [again[to].gate_id for to in ("ann", "bob", "eve")] == [gate.gate_id for gate in asked]
    assert {to: gate.status for to, gate in again.items()} == {
        "ann": "pending",
        "bob": "approved",
        "eve": "pending",
    }
    assert tide.get_run(run_id=own["run_id"]).open_gates == 2


def test_a_name_of_the_longest_may_be_asked_again(tide: Tide, own: dict[str, Any]) -> None:
    long = "n" * 256
    first = ask(tide, own, "Pay?", {}, name=long, on_change="ask")
    second = ask(tide, own, "Pay more?", {}, name=long, on_change="ask")
    assert first.gate_id != second.gate_id
    assert tide.get_gate(gate_id=second.gate_id).name == "n" * 250 + ":2"


def test_what_to_do_about_another_question_is_known(tide: Tide, own: dict[str, Any]) -> None:
    with refused("22023", "on_change", "guess"):
        ask(tide, own, "Pay?", {}, on_change="guess")


def forked(tide: Tide, run_id: Any, at_step: str) -> dict[str, Any]:
    """A fork, claimed."""
    tide.fork_run(run_id=run_id, at_step=at_step)
    (run,) = tide.claim()
    return {"run_id": run.run_id, "lease_id": run.lease_id}


def begin(tide: Tide, own: dict[str, Any], name: str, **options: Any) -> Any:
    return tide.begin_step(**own, name=name, **options)


def test_a_fork_keeps_a_decision_for_its_question_only(tide: Tide, own: dict[str, Any]) -> None:
    """An edited draft is not sent under the approval of the old one: it is asked about."""
    gate = ask(tide, own, "Send?", {"draft": "old"})
    approve(tide, gate)
    begin(tide, own, "send")
    fork = forked(tide, own["run_id"], "send")
    edited = ask(tide, fork, "Send?", {"draft": "new"})
    assert (edited.status, edited.payload) == ("pending", None)
    assert edited.token
    with refused("TD020"):
        ask(tide, fork, "Send?", {"draft": "old"})
    other = forked(tide, own["run_id"], "send")
    kept = ask(tide, other, "Send?", {"draft": "old"})
    assert (kept.status, kept.gate_id != gate.gate_id) == ("approved", True)


# --- steps that need an approval ------------------------------------------------------------

CENTS = {"cents": 1200}


def test_a_step_begins_with_the_approval_of_its_input(tide: Tide, own: dict[str, Any]) -> None:
    gate = ask(tide, own, "Pay?", CENTS)
    approve(tide, gate)
    start = begin(tide, own, "pay", input=CENTS, approved_by=gate.gate_id)
    assert (start.action, start.replay) == ("execute", "manual")
    assert tide.last_event(own["run_id"]).payload["approved_by"] == str(gate.gate_id)
    told = tide.describe_gate(gate_id=gate.gate_id)
    assert (told["used_by"], told["used_step"]) == (str(own["run_id"]), "pay")
    tide.complete_step(**own, name="pay", output=1)
    again = begin(tide, own, "pay", input=CENTS, approved_by=gate.gate_id)
    assert (again.action, again.output) == ("replay", 1)


def test_asking_again_under_the_same_lease_uses_nothing_up_twice(
    tide: Tide, own: dict[str, Any]
) -> None:
    gate = ask(tide, own, "Pay?", CENTS)
    approve(tide, gate)
    for _ in range(2):
        start = begin(tide, own, "pay", input=CENTS, approved_by=gate.gate_id)
        assert (start.action, start.attempt) == ("execute", 1)


@pytest.mark.parametrize("input", [{"cents": 9_900_000}, {}, None, {"cents": 1200, "to": "eve"}])
def test_an_approval_covers_no_other_input(tide: Tide, own: dict[str, Any], input: Any) -> None:
    gate = ask(tide, own, "Pay?", CENTS)
    approve(tide, gate)
    before = contents(tide.connection)
    with refused("TD025", "pay", gate.gate_id, "another input"):
        begin(tide, own, "pay", input=input, approved_by=gate.gate_id)
    assert contents(tide.connection) == before


@pytest.mark.parametrize("decision", ["rejected", "canceled", None])
def test_only_an_approval_covers_a_step(
    tide: Tide, own: dict[str, Any], decision: str | None
) -> None:
    gate = ask(tide, own, "Pay?", CENTS)
    if decision is not None:
        tide.decide_gate(gate_id=gate.gate_id, decision=decision, actor="ann")
    with refused("TD025", gate.gate_id, decision or "pending"):
        begin(tide, own, "pay", input=CENTS, approved_by=gate.gate_id)


def test_an_approval_covers_one_step(tide: Tide, own: dict[str, Any]) -> None:
    gate = ask(tide, own, "Pay?", CENTS)
    approve(tide, gate)
    begin(tide, own, "pay", input=CENTS, approved_by=gate.gate_id)
    tide.complete_step(**own, name="pay", output=1)
    before = contents(tide.connection)
    with refused("TD025", "pay again", "another step"):
        begin(tide, own, "pay again", input=CENTS, approved_by=gate.gate_id)
    assert contents(tide.connection) == before


def test_the_gate_of_another_run_covers_nothing(tide: Tide, own: dict[str, Any]) -> None:
    other = tide.started()
    gate = ask(tide, {"run_id": other.run_id, "lease_id": other.lease_id}, "Pay?", CENTS)
    approve(tide, gate)
    with refused("TD025", "no such gate"):
        begin(tide, own, "pay", input=CENTS, approved_by=gate.gate_id)


def test_a_begin_that_is_rolled_back_uses_nothing_up(tide: Tide, own: dict[str, Any]) -> None:
    gate = ask(tide, own, "Pay?", CENTS)
    approve(tide, gate)
    with tide.connection.transaction(force_rollback=True):
        begin(tide, own, "pay", input=CENTS, approved_by=gate.gate_id)
    assert begin(tide, own, "other", input=CENTS, approved_by=gate.gate_id).action == "execute"


def test_a_repeated_try_of_the_step_is_the_same_use(tide: Tide) -> None:
    run = tide.started(max_attempts=3)
    own = {"run_id": run.run_id, "lease_id": run.lease_id}
    gate = ask(tide, own, "Pay?", CENTS)
    approve(tide, gate)
    begin(tide, own, "pay", input=CENTS, approved_by=gate.gate_id)
    tide.fail_step(**own, name="pay", retryable=True)
    start = begin(tide, own, "pay", input=CENTS)
    assert (start.action, start.attempt) == ("execute", 2)
    assert tide.last_event(run.run_id).payload["approved_by"] == str(gate.gate_id)


def test_a_worker_that_dies_in_an_approved_step_leaves_it_for_review(tide: Tide) -> None:
    """Executed again, the approval would have covered two calls."""
    run = tide.started(max_attempts=3)
    own = {"run_id": run.run_id, "lease_id": run.lease_id}
    gate = ask(tide, own, "Pay?", CENTS)
    approve(tide, gate)
    begin(tide, own, "pay", input=CENTS, approved_by=gate.gate_id)
    tide.release(**own)
    (run,) = tide.claim()
    own = {"run_id": run.run_id, "lease_id": run.lease_id}
    assert begin(tide, own, "pay", input=CENTS, approved_by=gate.gate_id).action == "review"
    assert tide.get_run(run_id=run.run_id).waiting_on == "review"


def test_a_key_makes_repeating_an_approved_step_safe(tide: Tide, own: dict[str, Any]) -> None:
    gate = ask(tide, own, "Pay?", CENTS)
    approve(tide, gate)
    start = begin(
        tide,
        own,
        "pay",
        input=CENTS,
        contract={"side_effects": ["bank"], "idempotency_key": "pay:1"},
        approved_by=gate.gate_id,
    )
    assert start.replay == "auto"


def test_a_fork_does_not_use_an_approval_again(tide: Tide, own: dict[str, Any]) -> None:
    """What the original used up for a step the fork executes again is asked again."""
    gate = ask(tide, own, "Pay?", CENTS)
    approve(tide, gate)
    begin(tide, own, "pay", input=CENTS, approved_by=gate.gate_id)
    tide.complete_step(**own, name="pay", output=1)
    begin(tide, own, "end")
    before_it = forked(tide, own["run_id"], "pay")
    assert ask(tide, before_it, "Pay?", CENTS).status == "pending"
    behind_it = forked(tide, own["run_id"], "end")
    kept = ask(tide, behind_it, "Pay?", CENTS)
    assert kept.status == "approved"
    assert begin(tide, behind_it, "pay", input=CENTS, approved_by=kept.gate_id).action == "replay"
    with refused("TD025", "another step"):
        begin(tide, behind_it, "pay more", input=CENTS, approved_by=kept.gate_id)


def test_of_an_original_and_its_forks_one_uses_the_approval(
    tide: Tide, own: dict[str, Any]
) -> None:
    gate = ask(tide, own, "Pay?", CENTS)
    approve(tide, gate)
    begin(tide, own, "end")
    forks = [forked(tide, own["run_id"], "end") for _ in range(2)]
    copies = [ask(tide, fork, "Pay?", CENTS) for fork in forks]
    assert [copy.status for copy in copies] == ["approved", "approved"]
    begin(tide, forks[1], "pay", input=CENTS, approved_by=copies[1].gate_id)
    for holder, copy in ((forks[0], copies[0]), (own, gate)):
        with refused("TD025", "another step"):
            begin(tide, holder, "pay", input=CENTS, approved_by=copy.gate_id)
