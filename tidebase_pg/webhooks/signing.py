"""Webhooks as their sender signs and their receiver reads them, and what a receiver answers."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import logging
import os
import re
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, TypeAlias, cast
from uuid import UUID

from tidebase_pg import calls
from tidebase_pg.documents import decode
from tidebase_pg.errors import (
    BadPayload,
    BadSignature,
    IllegalTransition,
    NotFound,
    RunCancelled,
    RunFinished,
    RunLeased,
    Stop,
)
from tidebase_pg.flows import Flow, ask, one_line
from tidebase_pg.types import RunRow
from tidebase_pg.values import Duration, identifier, seconds, worker_name

logger: Final = logging.getLogger("tidebase_pg.webhooks")

Secrets: TypeAlias = str | Sequence[str]
Body: TypeAlias = bytes | bytearray | memoryview

VARIABLE: Final = "TIDEBASE_WEBHOOK_SECRET"
DEFAULT_SECRET: Final = "default"
TOLERANCE: Final = 300.0
MOST_SIGNATURES: Final = 20
TRACE: Final = ("traceparent", "tracestate")
RUN: Final = frozenset({"run.invoke", "run.resume"})


@dataclass(frozen=True, slots=True)
class Delivery:
    """A webhook as it was received."""

    type: str
    """run.invoke or run.resume = run this run; else the type of an event."""
    run_id: UUID
    workflow: str | None = None
    """Of run.invoke and run.resume."""
    reason: str | None = None
    """Why it is to be run: queue_dispatch, ready or lease_expired."""
    attempt: int | None = None
    """Which attempt of the run it would be, or of an event, which it was."""
    gate_id: UUID | None = None
    """The gate an event is about."""
    delivery_id: UUID | None = None
    """The same at every attempt, and signed: who must act only once remembers it."""
    seq: int | None = None
    """Which event of its run it tells of: what is below one that was seen already is stale."""
    created_at: datetime | None = None
    """When that happened, by the clock of the database."""
    payload: Any = None
    """The facts of an event."""
    token: str | None = field(default=None, repr=False)
    """Resolves the gate of gate.created, with `gates.resolve`."""
    trace: dict[str, str] = field(default_factory=dict[str, str])
    """The headers of W3C Trace Context it came with, which no signature covers."""


@dataclass(frozen=True, slots=True)
class WebhookAnswer:
    """What to answer a webhook with."""

    status: int
    """The status of HTTP."""
    body: dict[str, Any]
    """To be sent as JSON."""
    delivery: Delivery | None = None
    """What was received, once it is verified; an event of a channel is the application's to use."""


# Secrets and signatures -------------------------------------------------------------------


def environment_secrets(name: str = DEFAULT_SECRET) -> list[str]:
    """The secrets of a name: TIDEBASE_WEBHOOK_SECRET, or TIDEBASE_WEBHOOK_SECRET_<NAME> where what
    is no letter or digit of the name stands as _. Several, the newest first, separated by spaces.

    Raises ValueError for one that is not usable.
    """
    variable = VARIABLE
    if name != DEFAULT_SECRET:
        variable += "_" + re.sub(r"[^A-Z0-9]", "_", name.upper())
    return usable_secrets(variable, os.environ.get(variable, "").split())


def usable_secrets(name: str, secrets: Secrets) -> list[str]:
    """Raises ValueError for a secret of the wrong form; the message does not show it."""
    given = [secrets] if isinstance(secrets, str) else list(secrets)
    for secret in given:
        if secret.startswith("whsec_"):
            usable = 24 <= len(_decoded(secret)) <= 64
        else:
            usable = 16 <= len(secret.encode()) <= 256
        if not usable:
            raise ValueError(
                f"{name} holds a secret that is not usable: give whsec_ and the base64 of 24 to 64 "
                "random bytes, or any text of 16 to 256 bytes"
            )
    return given


def _decoded(secret: str) -> bytes:
    try:
        return base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    except (binascii.Error, ValueError):
        return b""


def signatures(
    secrets: Sequence[str], message_id: str, sent_at: str, body: bytes
) -> dict[str, str]:
    """The headers that sign a body, the newest secret first; none without secrets."""
    if not secrets:
        return {}
    return {
        "x-tidebase-signature": tidebase_signature(secrets[0], body),
        "webhook-signature": " ".join(
            standard_signature(secret, message_id, sent_at, body) for secret in secrets
        ),
    }


def tidebase_signature(secret: str, body: bytes) -> str:
    """The header x-tidebase-signature: keyed with the text of the secret."""
    return "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


def standard_signature(secret: str, message_id: str, sent_at: str, body: bytes) -> str:
    """One signature of Standard Webhooks: keyed with the bytes behind whsec_."""
    key = _decoded(secret) if secret.startswith("whsec_") else secret.encode()
    signed = b".".join((message_id.encode(), sent_at.encode(), body))
    return "v1," + base64.b64encode(hmac.digest(key, signed, "sha256")).decode()


# Receiving --------------------------------------------------------------------------------


def verify_webhook_signature(
    body: Body,
    headers: Mapping[Any, Any],
    secrets: Secrets,
    *,
    tolerance: Duration = TOLERANCE,
    dated: bool = True,
) -> Delivery:
    """What a webhook says, once its signature is found to be ours.

    `body` is the bytes as received, `headers` any mapping, WSGI's environ too; `secrets` one
    secret or several, of which one has to fit. The headers of Standard Webhooks are asked for; the
    time of signing in them may be at most `tolerance` seconds off. With `dated=False` the header
    x-tidebase-signature alone will do, for a proxy that drops the others: it has no time in it, so
    a message that was seen can be sent again at any time.

    Raises BadSignature, BadPayload for a signed body that is no webhook of ours, ValueError
    without a secret.

    >>> delivery = verify_webhook_signature(request.body, request.headers, secret)
    """
    known = usable_secrets("secrets", secrets)
    if not known:
        raise ValueError(f"no secret to verify webhooks with: set {VARIABLE}, or give secrets")
    given, content = _headers(headers), _bytes(body)
    if "webhook-signature" in given:
        _verify_standard(content, given, known, seconds("tolerance", tolerance))
        return read(content, given)
    if dated and "x-tidebase-signature" in given:
        raise BadSignature(
            "the webhook has no dated signature: webhook-id, webhook-timestamp and "
            "webhook-signature are missing"
        )
    if "x-tidebase-signature" in given:
        digest = given["x-tidebase-signature"].strip().removeprefix("sha256=").lower()
        _require_one([digest], [tidebase_signature(one, content)[7:] for one in known])
        return read(content, given, signed=False)
    raise BadSignature("the webhook is not signed")


def _verify_standard(
    body: bytes, headers: Mapping[str, str], secrets: Sequence[str], tolerance: float
) -> None:
    message_id = headers.get("webhook-id", "")
    sent_at = headers.get("webhook-timestamp", "")
    if not message_id or not re.fullmatch(r"[0-9]{1,15}", sent_at):
        raise BadSignature("webhook-id or webhook-timestamp is missing or malformed")
    _require_one(
        headers["webhook-signature"].split()[:MOST_SIGNATURES],
        [standard_signature(secret, message_id, sent_at, body) for secret in secrets],
    )
    off = time.time() - int(sent_at)
    if abs(off) > tolerance:
        raise BadSignature(
            f"the webhook was signed {abs(off):.0f} s {'ago' if off > 0 else 'in the future'}, "
            f"more than the {tolerance:g} s allowed: look at the clocks"
        )


def _require_one(given: Sequence[str], expected: Sequence[str]) -> None:
    """Compares bytes, in a time that does not tell where they differ."""
    equal = [
        hmac.compare_digest(one.encode(errors="replace"), other.encode())
        for one in given
        for other in expected
    ]
    if True not in equal:
        raise BadSignature("the signature does not fit the body and any of the secrets")


def read(body: Body, headers: Mapping[Any, Any], *, signed: bool = True) -> Delivery:
    """What an unverified webhook says. Raises BadPayload when it is none of ours.

    Of the headers webhook-id counts, unless the signature does not cover it, and the trace.
    """
    try:
        text = _bytes(body).decode()
    except UnicodeDecodeError:
        raise BadPayload("the webhook is not UTF-8") from None
    found = decode(text, "the webhook")
    if not isinstance(found, dict):
        raise BadPayload("the webhook is no JSON object")
    message = cast("dict[str, Any]", found)
    given = _headers(headers)
    delivery_id = given.get("webhook-id") if signed else None
    try:
        return Delivery(
            type=_text(message, "type", required=True) or "",
            run_id=identifier("run_id", message.get("run_id")),
            workflow=_text(message, "workflow", required=message.get("type") in RUN),
            reason=_text(message, "reason"),
            attempt=message.get("attempt") if isinstance(message.get("attempt"), int) else None,
            gate_id=_identifier(message, "gate_id"),
            delivery_id=_identifier(
                message | {"delivery_id": delivery_id} if delivery_id else message, "delivery_id"
            ),
            seq=message.get("seq") if isinstance(message.get("seq"), int) else None,
            created_at=_time(message, "created_at"),
            payload=message.get("payload"),
            token=_text(message, "token"),
            trace={name: given[name] for name in TRACE if name in given},
        )
    except (TypeError, ValueError) as error:
        raise BadPayload(f"the webhook is none of ours: {error}") from None


def _text(message: Mapping[str, Any], name: str, *, required: bool = False) -> str | None:
    value = message.get(name)
    if value is None and not required:
        return None
    if not isinstance(value, str) or not value:
        raise ValueError(f"{name} is missing or no text")
    return value


def _time(message: Mapping[str, Any], name: str) -> datetime | None:
    value = _text(message, name)
    return None if value is None else datetime.fromisoformat(value)


def _identifier(message: Mapping[str, Any], name: str) -> UUID | None:
    value = message.get(name)
    return None if value is None else identifier(name, value)


def _bytes(body: Any) -> bytes:
    if not isinstance(body, (bytes, bytearray, memoryview)):
        raise TypeError(
            f"body must be the bytes as received, not {type(body).__name__}: what was parsed and "
            "written again does not fit its signature"
        )
    return bytes(cast(bytes, body))


def _headers(headers: Mapping[Any, Any]) -> dict[str, str]:
    """By lower-case name; frameworks have them as text, as bytes, or as WSGI's HTTP_X_Y."""
    return {_name(_word(name).lower()): _word(value) for name, value in headers.items()}


def _name(name: str) -> str:
    return name.removeprefix("http_").replace("_", "-") if name.startswith("http_") else name


def _word(value: object) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)


# Handling ---------------------------------------------------------------------------------


def receive(
    body: Body, headers: Mapping[Any, Any], secrets: Secrets | None, *, insecure: bool
) -> Delivery | WebhookAnswer:
    """What was received, or the answer to what is not accepted. Raises ValueError without a
    secret, unless unsigned webhooks are accepted."""
    known = environment_secrets() if secrets is None else usable_secrets("secrets", secrets)
    if not known and not insecure:
        raise ValueError(
            f"no secret to verify webhooks with: set {VARIABLE}, give secrets, or accept what "
            "anybody sends with insecure=True"
        )
    try:
        if known:
            return verify_webhook_signature(body, headers, known)
        return read(body, headers)
    except BadSignature as error:
        return WebhookAnswer(401, {"accepted": False, "error": str(error)})
    except BadPayload as error:
        return WebhookAnswer(400, {"accepted": False, "error": str(error)})


def take_up(
    delivery: Delivery, lease: float, workflows: Collection[str]
) -> Flow[RunRow | WebhookAnswer]:
    """The run of a run.invoke or run.resume, leased; or the answer when there is nothing to run."""
    if delivery.type not in RUN:
        return WebhookAnswer(200, {"accepted": True, "type": delivery.type}, delivery)
    try:
        row = yield from ask(calls.get_run(delivery.run_id))
        if row.workflow not in workflows:
            return refusal(delivery, 404, f"workflow {row.workflow!r} is not registered here")
        if not row.finished:
            row = yield from ask(
                calls.begin_run(delivery.run_id, worker=worker_name(), lease=lease)
            )
    except NotFound as error:
        return refusal(delivery, 404, str(error))
    except (RunLeased, RunCancelled, RunFinished) as error:
        return refusal(delivery, 200, str(error))
    except IllegalTransition as error:
        return refusal(delivery, 409, str(error))
    if row.lease_id is None or row.finished:
        return refusal(delivery, 200, f"run {row.run_id} is {row.status}")
    return row


def refusal(delivery: Delivery, status: int, reason: str) -> WebhookAnswer:
    body = {"accepted": False, "run_id": str(delivery.run_id), "reason": reason}
    return WebhookAnswer(status, body, delivery)


def acceptance(delivery: Delivery, status: int) -> WebhookAnswer:
    """200 once the attempt has ended however it went, which its run says; 202 before."""
    body = {"accepted": True, "run_id": str(delivery.run_id), "workflow": delivery.workflow}
    return WebhookAnswer(status, body, delivery)


def attempted(delivery: Delivery, error: BaseException) -> None:
    """Log how an attempt ended that nobody waits for the result of; the run has it recorded."""
    if isinstance(error, Stop):
        logger.info("run %s stopped here: %s", delivery.run_id, error)
    else:
        logger.warning(
            "run %s of %s failed: %s", delivery.run_id, delivery.workflow, one_line(error)
        )
