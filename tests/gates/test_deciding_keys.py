"""Keys of the HTTP door share a login: the hash of its token says which of them decides."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import pytest

from tests.runs.acts import Tide, refused
from tests.support import Connection

LogIn = Callable[..., Connection]


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
