"""Calls about gates: decisions that people make about runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast
from uuid import UUID

from tidebase_pg.call import Call, call, truth
from tidebase_pg.documents import decode, optional
from tidebase_pg.types import (
    AwaitedGate,
    GateRow,
    GateStatus,
    GateToken,
    ListedGate,
    OpenGate,
    PendingGate,
    Row,
)
from tidebase_pg.values import Duration, RunId


def open_gate(
    run_id: RunId,
    lease_id: UUID,
    name: str,
    prompt: str,
    *,
    data: Any = None,
    timeout: Duration | None = None,
    on_timeout: str | None = None,
    capability: str | None = None,
    channels: Sequence[Mapping[str, Any]] | None = None,
    rules: Mapping[str, Any] | None = None,
    on_change: str | None = None,
) -> Call[OpenGate]:
    """Ask people for a decision about a leased run; the same name and question again give the same
    gate. Another question under the name: TD020, or with on_change = ask another gate, name:2. The
    token that resolves it is in the first answer, and in what is sent to channels of the gate,
    only.

    `rules` has any of answer, quorum, assignees, not_requester, escalate_after, escalate_to.
    """
    return call(
        "open_gate",
        OpenGate.columns(),
        OpenGate.one,
        run_id=run_id,
        lease_id=lease_id,
        name=name,
        prompt=prompt,
        data=optional(data, f"the data of gate {name!r}"),
        timeout=timeout,
        on_timeout=on_timeout,
        capability=capability,
        channels=optional(channels, "channels"),
        rules=optional(rules, f"the rules of gate {name!r}"),
        on_change=on_change,
    )


def await_gate(run_id: RunId, lease_id: UUID, gate_id: RunId) -> Call[AwaitedGate]:
    """The decision of a gate, or park the run until there is one: parked = true, drop the run."""
    return call(
        "await_gate",
        AwaitedGate.columns(),
        AwaitedGate.one,
        run_id=run_id,
        lease_id=lease_id,
        gate_id=gate_id,
    )


def get_gate(gate_id: RunId) -> Call[GateStatus]:
    """A gate and the status of its run, without its token; unknown: TD010."""
    return call("get_gate", GateStatus.columns(), GateStatus.one, gate_id=gate_id)


def resolve_gate(
    gate_id: RunId,
    token: str,
    decision: str,
    *,
    actor: str | None = None,
    payload: Any = None,
    comment: str | None = None,
    key_hash: bytes | None = None,
) -> Call[GateRow]:
    """Decide a gate with its token, exactly once: approved, rejected or canceled. Wrong token:
    TD024, already decided: TD022. key_hash, the sha256 of its token, says which key of the HTTP
    door decides.
    """
    return call(
        "resolve_gate",
        GateRow.columns(),
        GateRow.one,
        gate_id=gate_id,
        token=token,
        decision=decision,
        actor=actor,
        payload=optional(payload, "payload"),
        comment=comment,
        key_hash=key_hash,
    )


def decide_gate(
    gate_id: RunId,
    decision: str,
    actor: str,
    *,
    payload: Any = None,
    comment: str | None = None,
    key_hash: bytes | None = None,
) -> Call[GateRow]:
    """Decide a gate without its token, or vote where it takes several: pending until enough have.
    Not for this login, key or actor: 42501; an answer that does not fit: 22023; already decided:
    TD022. key_hash, the sha256 of its token, says which key of the HTTP door decides.
    """
    return call(
        "decide_gate",
        GateRow.columns(),
        GateRow.one,
        gate_id=gate_id,
        decision=decision,
        actor=actor,
        payload=optional(payload, "payload"),
        comment=comment,
        key_hash=key_hash,
    )


def describe_gate(gate_id: RunId) -> Call[dict[str, Any]]:
    """Everything about a gate but its token, as jsonb: question, rules, who requested its run,
    votes, and its events with comments, views and reminders; unknown: TD010.
    """

    def read(rows: Sequence[Row]) -> dict[str, Any]:
        return cast("dict[str, Any]", decode(rows[0][0], f"the description of gate {gate_id}"))

    return call("describe_gate", "describe_gate::text", read, gate_id=gate_id)


def note_gate(gate_id: RunId, note: str, actor: str, *, comment: str | None = None) -> Call[None]:
    """Log that an actor has viewed a pending gate, commented on it, or reminded those it asks:
    channels get the event. Decided: TD022.
    """
    return call(
        "note_gate",
        "true",
        truth,
        gate_id=gate_id,
        note=note,
        actor=actor,
        comment=comment,
    ).unread()


def pending_gates() -> Call[list[PendingGate]]:
    """The view of all decisions people are asked for, across runs, oldest first; no tokens."""
    return call("pending_gates", PendingGate.columns(), PendingGate.many, "view")


def list_gates(
    *,
    after_gate: RunId | None = None,
    max_gates: int | None = None,
    only_run: RunId | None = None,
) -> Call[list[ListedGate]]:
    """Decisions people are asked for, oldest first, with rules and votes, without tokens; only_run
    = those of one run; after_gate = the last gate_id of the page before.
    """
    return call(
        "list_gates",
        ListedGate.columns(),
        ListedGate.many,
        after_gate=after_gate,
        max_gates=max_gates,
        only_run=only_run,
    )


def gate_tokens(gate_ids: Sequence[UUID]) -> Call[list[GateToken]]:
    """Tokens that resolve_gate takes for these gates, as far as they are pending; for who may
    decide them.
    """
    return call("gate_tokens", GateToken.columns(), GateToken.many, gate_ids=list(gate_ids))
