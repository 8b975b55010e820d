"""The document of describe_run, with everything a run carries left as JSON text."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import msgspec
from msgspec import Raw, Struct

from tidebase_pg import calls
from tidebase_pg.call import Call
from tidebase_pg.types import Row
from tidebase_pg.values import RunId


class Step(Struct):
    name: str
    status: str
    attempt: int
    replay: str
    side_effects: list[str]
    idempotency_key: str | None
    checkpoint_invariant: str | None
    verified_by: str | None
    started_at: datetime
    finished_at: datetime | None
    output: Raw
    error: Raw


class Gate(Struct):
    name: str
    gate_id: UUID
    status: str
    prompt: str
    data: Raw
    capability: Raw
    actor: str | None
    payload: Raw
    created_at: datetime
    resolved_at: datetime | None


class WatchedGate(Gate):
    run_id: UUID
    run_status: str


class Edge(Struct):
    edge: str
    child_id: UUID
    edge_type: str
    metadata: Raw
    created_at: datetime | None


class Delivery(Struct):
    delivery_id: UUID
    type: str
    gate_id: UUID | None
    url: str
    body: str
    status: str
    http_status: int | None
    response: str | None
    error: str | None
    created_at: datetime
    finished_at: datetime | None


class Channel(Struct):
    channel: int
    url: str
    events: list[str]
    gate_id: UUID | None = None


class Stream(Struct):
    version: int
    value: Raw
    updated_at: datetime


class Event(Struct):
    seq: int
    type: str
    payload: Raw
    created_at: datetime


class Described(Struct):
    steps: list[Step]
    gates: list[Gate]
    children: list[Edge]
    deliveries: list[Delivery]
    channels: list[Channel]
    state: dict[str, Stream]
    events: list[Event]


_decode = msgspec.json.Decoder(Described).decode


def describe(run_id: RunId) -> Call[Described]:
    """`describe_run`, read without losing a digit of what it carries."""
    call = calls.describe_run(run_id)
    return Call(call.name, call.columns, call.arguments, _read, call.kind)


def describe_gate(gate_id: RunId) -> Call[WatchedGate]:
    """`describe_gate`, read in the same way."""
    call = calls.describe_gate(gate_id)
    return Call(call.name, call.columns, call.arguments, _read_gate, call.kind)


def _read_gate(rows: Sequence[Row]) -> WatchedGate:
    return msgspec.json.decode(rows[0][0], type=WatchedGate)


def _read(rows: Sequence[Row]) -> Described:
    text: str = rows[0][0]
    return _decode(text)
