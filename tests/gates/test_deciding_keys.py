"""Keys of the HTTP door share a login: the hash of a token says which requests or decides."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from tests.runs.acts import Tide, refused
from tests.support import Clock, Connection

LogIn = Callable[..., Connection]

NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)


def opened(tide: Tide, **rules: Any) -> Any:
    run = tide.started(lease="1 day")
    return tide.open_gate(
        run_id=run.run_id, lease_id=run.lease_id, name="pay", prompt="Pay?", rules=rules
    )


def key(tide: Tide, name: str, role: str = "approver") -> bytes:
    """The hash of a new key."""
    return hashlib.sha256(tide.create_key(name=name, role=role).encode()).digest()


def decide(door: Tide, gate: Any, key_hash: bytes | None, actor: str | None = None) -> Any:
    return door.decide_gate(
        gate_id=gate.gate_id, decision="approved", actor=actor, key_hash=key_hash
    )


def test_keys_of_one_login_vote_as_many(tide: Tide, log_in: LogIn) -> None:
    door = Tide(log_in("tide_approver"))
    gate = opened(tide, quorum=2)
    ann, bob = key(tide, "ann"), key(tide, "bob")
    assert decide(door, gate, ann).status == "pending"
    assert decide(door, gate, ann).status == "pending"
    made = decide(door, gate, bob)
    assert (made.status, made.actor) == ("approved", "bob")


def test_a_key_decides_under_its_own_name(tide: Tide, log_in: LogIn) -> None:
    """Also where the login of the door could speak for others."""
    ann, eve = key(tide, "ann"), key(tide, "eve")
    for door in (Tide(log_in("tide_approver")), Tide(log_in("tide_operator")), tide):
        gate = opened(tide, assignees=["ann"])
        for key_hash, actor in ((eve, "ann"), (eve, None), (ann, "bob")):
            with refused("42501", gate.gate_id):
                decide(door, gate, key_hash, actor)
        assert decide(door, gate, ann, "ann").status == "approved"


def test_a_key_of_an_operator_speaks_for_others(tide: Tide, log_in: LogIn) -> None:
    gate = opened(tide, assignees=["ann"])
    door = Tide(log_in("tide_operator"))
    assert decide(door, gate, key(tide, "boss", "operator"), "ann").actor == "ann"


def test_who_is_called_as_a_role_is_assigned_is_not_in_it(tide: Tide, log_in: LogIn) -> None:
    gate = opened(tide, assignees=["role:finance"])
    named = key(tide, "role:finance")
    for actor in ("role:finance", None):
        with refused("42501", "assigned to others"):
            decide(Tide(log_in("tide_approver")), gate, named, actor)


def test_a_token_lets_nobody_speak_for_others(tide: Tide) -> None:
    """Who has a token came by a link, whatever the login behind the link may do."""
    gate = opened(tide, assignees=["ann"])
    held = {"gate_id": gate.gate_id, "token": gate.token, "decision": "approved"}
    with refused("42501", "own name"):
        tide.resolve_gate(**held, actor="ann")
    with refused("42501", "own name"):
        tide.resolve_gate(**held, actor="ann", key_hash=key(tide, "eve"))
    assert tide.resolve_gate(**held, key_hash=key(tide, "ann")).actor == "ann"


@pytest.mark.parametrize("state", ["unknown", "revoked"])
@pytest.mark.parametrize("function", ["decide_gate", "resolve_gate"])
def test_a_key_that_is_none_decides_nothing(tide: Tide, function: str, state: str) -> None:
    gate = opened(tide)
    key_hash = key(tide, "ann")
    if state == "revoked":
        tide.revoke_key(name="ann")
    else:
        key_hash = bytes(32)
    more = {"token": gate.token} if function == "resolve_gate" else {}
    with refused("42501", "no key has this hash"):
        getattr(tide, function)(
            gate_id=gate.gate_id, decision="approved", actor="ann", key_hash=key_hash, **more
        )
    assert tide.get_gate(gate_id=gate.gate_id).status == "pending"


def test_a_key_without_a_name_to_act_under_gives_its_own(tide: Tide) -> None:
    gate = opened(tide)
    assert decide(tide, gate, key(tide, "ann")).actor == "ann"


# --- who requested ---------------------------------------------------------------------------


def made_by_enqueue(door: Tide, key_hash: bytes | None) -> Any:
    return door.enqueue(workflow="w", key_hash=key_hash).run_id


def made_by_enqueue_with_a_run_id(door: Tide, key_hash: bytes | None) -> Any:
    return door.enqueue(workflow="w", run_id=uuid4(), key_hash=key_hash).run_id


def made_by_enqueue_many(door: Tide, key_hash: bytes | None) -> Any:
    call = {"queue": "default", "runs": [{"workflow": "w"}], "key_hash": key_hash}
    return door.enqueue_many(**call)[0].run_id


def made_by_create_run(door: Tide, key_hash: bytes | None) -> Any:
    return door.create_run(workflow="w", key_hash=key_hash).run_id


def made_by_replacing(door: Tide, key_hash: bytes | None) -> Any:
    door.enqueue(workflow="w", dedupe_key="one")
    replaced = door.enqueue(
        workflow="w", dedupe_key="one", on_conflict="replace", key_hash=key_hash
    )
    assert replaced.deduplicated
    return replaced.run_id


def made_by_fork_run(door: Tide, key_hash: bytes | None) -> Any:
    run = door.started()
    own = {"run_id": run.run_id, "lease_id": run.lease_id}
    door.begin_step(**own, name="s")
    door.complete_step(**own, name="s")
    door.complete(**own)
    return door.fork_run(run_id=run.run_id, at_step="s", key_hash=key_hash).run_id


def made_by_fire_schedule(door: Tide, key_hash: bytes | None) -> Any:
    door.set_schedule(name="daily", cron="0 0 1 1 *", workflow="w")
    return door.fire_schedule(name="daily", key_hash=key_hash).run_id


def made_by_spawn(door: Tide, key_hash: bytes | None) -> Any:
    door.enqueue(workflow="w", queue="parents", key_hash=key_hash)
    (run,) = door.claim(queues=["parents"])
    return door.spawn(run_id=run.run_id, lease_id=run.lease_id, edge="e", workflow="w").child_id


def held(tide: Tide, run_id: Any) -> Any:
    """The run under a lease."""
    if tide.get_run(run_id=run_id).queue is None:
        return tide.begin_run(run_id=run_id, lease="1 day")
    (run,) = tide.claim(lease="1 day")
    assert run.run_id == run_id
    return run


MAKERS = [
    made_by_enqueue, made_by_enqueue_with_a_run_id, made_by_enqueue_many, made_by_create_run,
    made_by_replacing, made_by_fork_run, made_by_fire_schedule, made_by_spawn,
]  # fmt: skip


@pytest.mark.parametrize("made_by", MAKERS)
def test_the_key_that_requested_does_not_decide_and_another_of_its_login_does(
    tide: Tide, log_in: LogIn, made_by: Callable[..., Any]
) -> None:
    door = Tide(log_in("tide_client", "tide_worker", "tide_operator"))
    ann, bob = key(tide, "ann", "operator"), key(tide, "bob", "operator")
    run = held(tide, made_by(door, ann))
    assert run.requested_by == "key ann"
    gate = tide.open_gate(
        run_id=run.run_id,
        lease_id=run.lease_id,
        name="pay",
        prompt="?",
        rules={"not_requester": True},
    )
    for key_hash, actor in ((ann, None), (ann, "bob"), (bob, "ann"), (None, "ann")):
        with refused("42501", "requested the run"):
            decide(door, gate, key_hash, actor)
        with refused("42501"):
            door.resolve_gate(
                gate_id=gate.gate_id,
                token=gate.token,
                decision="approved",
                actor=actor,
                key_hash=key_hash,
            )
    made = decide(door, gate, bob)
    assert (made.status, made.actor) == ("approved", "bob")


@pytest.mark.parametrize("quorum", [1, 2])
def test_a_fork_keeps_no_decision_of_who_forked_where_requesters_do_not_decide(
    tide: Tide, log_in: LogIn, quorum: int
) -> None:
    """Else whoever approved the run of another takes that approval into a run of their own."""
    door = Tide(log_in("tide_client", "tide_worker", "tide_operator"))
    ann, bob, eve = (key(tide, name, "operator") for name in ("ann", "bob", "eve"))
    run = held(tide, made_by_enqueue(door, eve))
    own = {"run_id": run.run_id, "lease_id": run.lease_id}
    asked = {"name": "pay", "prompt": "?", "data": {"cents": 1}}
    rules = {"not_requester": True, "quorum": quorum}
    gate = tide.open_gate(**own, **asked, rules=rules)
    for key_hash in (ann, bob)[:quorum]:
        decided = decide(door, gate, key_hash)
    assert decided.status == "approved"
    tide.begin_step(**own, name="send")

    def forked(key_hash: bytes) -> Any:
        fork = held(
            tide, door.fork_run(run_id=run.run_id, at_step="send", key_hash=key_hash).run_id
        )
        return tide.open_gate(run_id=fork.run_id, lease_id=fork.lease_id, **asked, rules=rules)

    again = forked(ann)
    assert again.status == "pending"
    with refused("42501", "requested the run"):
        decide(door, again, ann)
    assert forked(eve).status == "approved"


@pytest.mark.parametrize("made_by", MAKERS)
def test_without_a_key_the_login_requested(
    tide: Tide, log_in: LogIn, made_by: Callable[..., Any]
) -> None:
    door = Tide(log_in("tide_client", "tide_worker", "tide_operator"))
    run = tide.get_run(run_id=made_by(door, None))
    assert run.requested_by == door.connection.info.user


def test_who_declared_a_schedule_requests_what_it_fires(tide: Tide, clock: Clock) -> None:
    """Whoever carries the upkeep that fires it."""
    clock.set(NOON)
    schedule = {"name": "hourly", "cron": "0 * * * *", "workflow": "w"}
    tide.set_schedule(**schedule, key_hash=key(tide, "ann", "operator"))
    clock.advance(timedelta(hours=1))
    tide.reconcile()
    tide.set_schedule(**schedule, key_hash=key(tide, "bob", "operator"))
    clock.advance(timedelta(hours=1))
    tide.reconcile()
    runs = tide.list_runs(workflow="w")
    assert [run.requested_by for run in runs] == ["key bob", "key ann"]


@pytest.mark.parametrize("state", ["unknown", "revoked"])
@pytest.mark.parametrize("made_by", MAKERS)
def test_a_key_that_is_none_requests_nothing(
    tide: Tide, made_by: Callable[..., Any], state: str
) -> None:
    key_hash = key(tide, "ann")
    if state == "revoked":
        tide.revoke_key(name="ann")
    else:
        key_hash = bytes(32)
    with refused("42501", "no key has this hash"):
        made_by(tide, key_hash)
    assert not [run for run in tide.list_runs() if run.requested_by == "key ann"]
