"""What a receiver accepts: only what is signed by a secret of ours, and not long ago."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from standardwebhooks import Webhook

from tests.support import Connection, value
from tidebase_pg import BadPayload, BadSignature, Delivery, verify_webhook_signature
from tidebase_pg.values import new_run_id, new_secret
from tidebase_pg.webhooks.signing import read, signatures, standard_signature, tidebase_signature

SECRET, OTHER, PLAIN = new_secret(), new_secret(), "a plain secret, with spaces"
RUN_ID, DELIVERY_ID = UUID("019eb4a6-3f00-7000-8000-000000000001"), new_run_id()
BODY = json.dumps(
    {
        "type": "run.invoke",
        "run_id": str(RUN_ID),
        "workflow": "report",
        "reason": "queue_dispatch",
        "attempt": 1,
    }
).encode()


def now(off: float = 0.0) -> str:
    return str(int((datetime.now(UTC) + timedelta(seconds=off)).timestamp()))


def headers(
    *secrets: str, body: bytes = BODY, sent_at: str | None = None, **others: str
) -> dict[str, str]:
    sent = sent_at or now()
    return {
        "webhook-id": str(DELIVERY_ID),
        "webhook-timestamp": sent,
        **signatures(secrets, str(DELIVERY_ID), sent, body),
        **others,
    }


def refuse(body: bytes, given: Any, secrets: Any = SECRET, **options: Any) -> str:
    with pytest.raises(BadSignature) as raised:
        verify_webhook_signature(body, given, secrets, **options)
    return str(raised.value)


def test_what_was_signed_is_read() -> None:
    assert verify_webhook_signature(BODY, headers(SECRET), SECRET) == Delivery(
        type="run.invoke",
        run_id=RUN_ID,
        workflow="report",
        reason="queue_dispatch",
        attempt=1,
        delivery_id=DELIVERY_ID,
    )


def test_an_event_of_a_channel_is_read() -> None:
    gate_id = new_run_id()
    body = json.dumps(
        {
            "type": "gate.created",
            "run_id": str(RUN_ID),
            "gate_id": str(gate_id),
            "delivery_id": str(DELIVERY_ID),
            "payload": {"prompt": "Send it?"},
            "token": "let me in",
        }
    ).encode()
    delivery = verify_webhook_signature(body, headers(PLAIN, body=body), PLAIN)
    assert (delivery.gate_id, delivery.delivery_id) == (gate_id, DELIVERY_ID)
    assert (delivery.payload, delivery.token) == ({"prompt": "Send it?"}, "let me in")
    assert "let me in" not in repr(delivery)


@pytest.mark.parametrize("secret", [pytest.param(SECRET, id="fresh"), PLAIN, "grüße aus der ferne"])
def test_the_dated_signature_is_asked_for(secret: str) -> None:
    """Without it a message that was seen could be sent again at any time, under any id."""
    both = headers(secret)
    old = {"x-tidebase-signature": both.pop("x-tidebase-signature")}
    assert verify_webhook_signature(BODY, both, secret).run_id == RUN_ID
    for more in ({}, {"webhook-id": both["webhook-id"]}):
        assert "no dated signature" in refuse(BODY, old | more, secret)
        assert "no dated signature" in refuse(BODY, old | more, secret, tolerance=10**9)


def test_without_a_date_nothing_unsigned_is_believed() -> None:
    """Where a proxy drops the other headers: the id comes from the body, or there is none."""
    given = {"x-tidebase-signature": headers(SECRET)["x-tidebase-signature"]}
    for old in (given, {"X-Tidebase-Signature": given["x-tidebase-signature"][7:].upper()}):
        made_up = old | {"webhook-id": str(UUID(int=1)), "webhook-timestamp": now()}
        delivery = verify_webhook_signature(BODY, made_up, SECRET, dated=False)
        assert (delivery.run_id, delivery.delivery_id) == (RUN_ID, None)
    body = BODY[:-1] + f', "delivery_id": "{DELIVERY_ID}"}}'.encode()
    given = {"x-tidebase-signature": headers(SECRET, body=body)["x-tidebase-signature"]}
    made_up = given | {"webhook-id": str(UUID(int=1))}
    delivery = verify_webhook_signature(body, made_up, SECRET, dated=False)
    assert delivery.delivery_id == DELIVERY_ID


def test_what_is_stale_can_be_told() -> None:
    body = json.dumps(
        {
            "type": "run.failed",
            "run_id": str(RUN_ID),
            "seq": 7,
            "attempt": 2,
            "created_at": "2026-11-28T21:55:53.367123+00:00",
        }
    ).encode()
    delivery = verify_webhook_signature(body, headers(SECRET, body=body), SECRET)
    assert (delivery.seq, delivery.attempt) == (7, 2)
    assert delivery.created_at == datetime(2026, 11, 28, 21, 55, 53, 367123, UTC)


def test_any_of_several_secrets_is_enough_on_either_side() -> None:
    for sent in ((SECRET, OTHER), (OTHER, SECRET), (SECRET,)):
        assert verify_webhook_signature(BODY, headers(*sent), [PLAIN, SECRET]).run_id == RUN_ID
    refuse(BODY, headers(SECRET, OTHER), [PLAIN])


def test_what_standard_webhooks_signs_is_accepted() -> None:
    sent_at = datetime.now(UTC)
    given = {
        "Webhook-Id": "msg_1",
        "Webhook-Timestamp": str(int(sent_at.timestamp())),
        "Webhook-Signature": "v1a,zzz " + Webhook(SECRET).sign("msg_1", sent_at, BODY.decode()),
    }
    with pytest.raises(BadPayload, match="'msg_1' is not a UUID"):
        verify_webhook_signature(BODY, given, SECRET)
    given["Webhook-Id"] = str(DELIVERY_ID)
    given["Webhook-Signature"] = Webhook(SECRET).sign(str(DELIVERY_ID), sent_at, BODY.decode())
    assert verify_webhook_signature(BODY, given, SECRET).delivery_id == DELIVERY_ID


def test_the_vector_of_standard_webhooks_is_met() -> None:
    assert (
        standard_signature(
            "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            "1614265330",
            b'{"test": 2432232314}',
        )
        == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    )


@settings(max_examples=50, deadline=None)
@given(
    key=st.binary(min_size=24, max_size=64),
    plain=st.text(
        st.characters(min_codepoint=32, exclude_categories=["Cs", "Cc"]), min_size=16
    ).filter(lambda text: len(text.encode()) <= 256),
    body=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")),
    sent_at=st.integers(0, 2**40),
)
def test_the_database_signs_the_same(
    signing: Connection, key: bytes, plain: str, body: str, sent_at: int
) -> None:
    for secret in ("whsec_" + base64.b64encode(key).decode(), plain):
        assert value(signing, "select tide.sign(%s, %s)", secret, body) == (
            tidebase_signature(secret, body.encode())
        )
        assert value(
            signing, "select tide._standard_signature(%s, 'id', %s, %s)", secret, sent_at, body
        ) == standard_signature(secret, "id", str(sent_at), body.encode())


@pytest.fixture(scope="module")
def signing(template: str, databases: Any, server: Any) -> Any:
    from tests.support import open_connection

    with databases.database(template) as name, open_connection(server.dsn(name)) as connection:
        yield connection


@pytest.mark.parametrize(
    "changed",
    [
        {"webhook-id": str(UUID(int=1))},
        {"webhook-timestamp": now(-1)},
        {"webhook-signature": "v1," + base64.b64encode(bytes(32)).decode()},
        {"webhook-signature": ""},
        {"webhook-signature": "v1,\udcff\u00e9"},
        {"webhook-signature": "grüße"},
        {"webhook-id": ""},
        {"webhook-timestamp": ""},
        {"webhook-timestamp": "soon"},
        {"webhook-timestamp": "１６１４２６５３３０"},  # noqa: RUF001
        {"webhook-timestamp": "9" * 5000},
        {"webhook-timestamp": "-1"},
        {"webhook-timestamp": "1e9"},
    ],
)
def test_a_changed_header_is_refused_though_the_other_signature_fits(
    changed: dict[str, str],
) -> None:
    refuse(BODY, headers(SECRET) | changed)


def test_a_changed_body_is_refused() -> None:
    given = headers(SECRET)
    refuse(BODY + b" ", given)
    refuse(BODY.replace(b"report", b"reborn"), given)
    refuse(b"", given)
    refuse(BODY + b" ", {"x-tidebase-signature": given["x-tidebase-signature"]}, dated=False)


@pytest.mark.parametrize(
    "signature",
    ["", "sha256=", "sha256=00", "sha1=00", "é", "\udcff", "0" * 64, "sha256=" + "f" * 99],
)
def test_a_wrong_tidebase_signature_is_refused(signature: str) -> None:
    refuse(BODY, {"x-tidebase-signature": signature})
    refuse(BODY, {"x-tidebase-signature": signature}, dated=False)


def test_unsigned_is_refused() -> None:
    assert refuse(BODY, {"webhook-id": "1"}) == "the webhook is not signed"


@pytest.mark.parametrize(("off", "fits"), [(-290, True), (290, True), (-320, False), (320, False)])
def test_what_was_signed_too_long_ago_is_refused(off: int, fits: bool) -> None:
    given = headers(SECRET, sent_at=now(off))
    if fits:
        assert verify_webhook_signature(BODY, given, SECRET).run_id == RUN_ID
    else:
        assert "more than the 300 s allowed" in refuse(BODY, given)
    assert verify_webhook_signature(BODY, given, SECRET, tolerance=3600).run_id == RUN_ID


def test_the_time_is_judged_only_when_the_signature_fits() -> None:
    assert "does not fit" in refuse(BODY, headers(OTHER, sent_at="1"))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"\xff",
        b"{",
        b'"run.invoke"',
        b"[" * 100_000,
        b'{"type": "run.invoke"}',
        b'{"type": 1, "run_id": "%s"}' % str(RUN_ID).encode(),
        b'{"type": "run.invoke", "run_id": 7, "workflow": "w"}',
        b'{"type": "run.invoke", "run_id": "x", "workflow": "w"}',
        b'{"type": "run.invoke", "run_id": "%s"}' % str(RUN_ID).encode(),
        b'{"type": "run.completed", "run_id": "%s", "gate_id": []}' % str(RUN_ID).encode(),
    ],
)
def test_a_signed_body_that_is_no_webhook_of_ours_is_told_apart(body: bytes) -> None:
    with pytest.raises(BadPayload, match="the webhook"):
        verify_webhook_signature(body, headers(SECRET, body=body), SECRET)


def test_headers_come_as_frameworks_have_them() -> None:
    given = headers(SECRET)
    as_bytes = {name.upper().encode(): value.encode() for name, value in given.items()}
    assert verify_webhook_signature(bytearray(BODY), as_bytes, SECRET).run_id == RUN_ID
    assert verify_webhook_signature(memoryview(BODY), given, SECRET).run_id == RUN_ID
    wsgi = {"HTTP_" + name.upper().replace("-", "_"): value for name, value in given.items()}
    assert verify_webhook_signature(BODY, wsgi | {"wsgi.input": 1}, SECRET).run_id == RUN_ID


def test_parsed_bodies_are_refused_with_the_reason() -> None:
    wrong: Any = json.loads(BODY)
    for body in (wrong, BODY.decode()):
        with pytest.raises(TypeError, match="body must be the bytes as received"):
            verify_webhook_signature(body, headers(SECRET), SECRET)


@pytest.mark.parametrize(
    "secrets", ["", [], "short", "whsec_AAAA", "whsec_" + "!" * 44, [SECRET, ""]]
)
def test_without_a_usable_secret_nothing_is_verified(secrets: Any) -> None:
    with pytest.raises(ValueError, match="secret"):
        verify_webhook_signature(BODY, headers(SECRET), secrets)


def test_what_is_read_unverified_is_the_same() -> None:
    assert read(BODY, {}).delivery_id is None
