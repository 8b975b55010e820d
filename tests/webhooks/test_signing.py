"""Signatures: those of Tidebase and those of Standard Webhooks, and how secrets are changed."""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import random
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from tests.runs.acts import Tide, refused
from tests.support import Clock, Connection, value
from tests.webhooks.outbox import channel, outbox, post

PLAIN = "a plain secret of some length"


def fresh() -> str:
    return "whsec_" + base64.b64encode(os.urandom(32)).decode()


def claimed(tide: Tide) -> Any:
    post(tide)
    (delivery,) = tide.claim_deliveries(max_deliveries=1)
    return delivery


def verify(secret: str, delivery: Any) -> Any:
    return Webhook(secret).verify(delivery.body, delivery.headers)


def test_hmac_is_the_one_of_rfc_2104(connection: Connection) -> None:
    numbers = random.Random(2104)
    lengths = [0, 1, 31, 32, 63, 64, 65, 128, 200]
    pairs = [
        (numbers.randbytes(key), numbers.randbytes(text)) for key in lengths for text in lengths
    ]
    pairs += [
        (numbers.randbytes(numbers.randint(0, 200)), numbers.randbytes(numbers.randint(0, 200)))
        for _ in range(200)
    ]
    for key, message in pairs:
        made = value(connection, "select tide._hmac_sha256(%b, %b)", key, message)
        assert bytes(made) == hmac.digest(key, message, "sha256"), (key, message)


def test_the_published_vector_of_standard_webhooks_is_met(connection: Connection) -> None:
    made = value(
        connection,
        "select tide._standard_signature(%s, %s, %s, %s)",
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "msg_p5jXN8AQM9LWM0D4loKWxJek",
        1614265330,
        '{"test": 2432232314}',
    )
    assert made == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_sign_is_the_hmac_of_the_body_in_hexadecimal(tide: Tide) -> None:
    for secret in (PLAIN, fresh(), "ein Geheimnis: Übergrößenträger"):
        for body in ("", "{}", '{"name": "Ærø"}'):
            expected = hmac.digest(secret.encode(), body.encode(), "sha256").hex()
            assert tide.sign(secret=secret, body=body) == f"sha256={expected}"


@pytest.mark.parametrize("secret", [pytest.param(fresh(), id="fresh"), PLAIN])
def test_off_the_shelf_verifier_accepts_what_is_claimed(tide: Tide, secret: str) -> None:
    tide.set_webhook_secret(name="default", secret=secret)
    delivery = claimed(tide)
    key = secret if secret != PLAIN else base64.b64encode(PLAIN.encode()).decode()
    assert verify(key, delivery)["delivery_id"] == str(delivery.delivery_id)
    assert delivery.headers["x-tidebase-signature"] == tide.sign(secret=secret, body=delivery.body)
    assert delivery.headers["webhook-id"] == str(delivery.delivery_id)
    assert set(delivery.headers) == {
        "webhook-id",
        "webhook-timestamp",
        "webhook-signature",
        "x-tidebase-signature",
    }


def test_a_changed_body_is_not_accepted(tide: Tide) -> None:
    secret = fresh()
    tide.set_webhook_secret(name="default", secret=secret)
    delivery = claimed(tide)
    with pytest.raises(WebhookVerificationError):
        Webhook(secret).verify(delivery.body + " ", delivery.headers)


def test_each_attempt_is_signed_for_its_time(tide: Tide, hour: Clock) -> None:
    tide.set_webhook_secret(name="default", secret=fresh())
    first = claimed(tide)
    hour.advance(timedelta(minutes=2))
    (second,) = tide.claim_deliveries()
    stamp = int(second.headers["webhook-timestamp"])
    assert datetime.fromtimestamp(stamp, UTC) == hour.now
    assert first.headers["webhook-timestamp"] != second.headers["webhook-timestamp"]
    assert first.headers["webhook-signature"] != second.headers["webhook-signature"]
    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    assert first.headers["x-tidebase-signature"] == second.headers["x-tidebase-signature"]


def test_without_a_secret_here_the_dispatcher_signs(tide: Tide) -> None:
    assert set(claimed(tide).headers) == {"webhook-id", "webhook-timestamp"}


def test_channel_is_signed_with_the_secret_it_names(tide: Tide) -> None:
    secret, other = fresh(), fresh()
    tide.set_webhook_secret(name="default", secret=other)
    tide.set_webhook_secret(name="billing", secret=secret)
    tide.create_run(workflow="w", channels=[channel(secret_name="billing")])
    (delivery,) = tide.claim_deliveries()
    assert delivery.secret_name == "billing"
    verify(secret, delivery)
    with pytest.raises(WebhookVerificationError):
        verify(other, delivery)


def test_both_secrets_sign_until_the_old_one_is_over(tide: Tide) -> None:
    old, new = fresh(), fresh()
    tide.set_webhook_secret(name="default", secret=old)
    tide.set_webhook_secret(name="default", secret=new)
    delivery = claimed(tide)
    assert len(delivery.headers["webhook-signature"].split()) == 2
    verify(old, delivery)
    verify(new, delivery)
    assert delivery.headers["x-tidebase-signature"] == tide.sign(secret=new, body=delivery.body)


def signatures(tide: Tide) -> int:
    tide.connection.execute("update tide.deliveries set status = 'dropped', finished_at = now()")
    tide.connection.execute("delete from tide.endpoints")
    headers = claimed(tide).headers
    return len(headers.get("webhook-signature", "").split())


def test_old_secret_ends_when_its_time_is_over(tide: Tide, hour: Clock) -> None:
    tide.set_webhook_secret(name="default", secret=fresh())
    tide.set_webhook_secret(name="default", secret=fresh(), keep="1 hour")
    hour.advance(timedelta(minutes=59, seconds=59))
    assert signatures(tide) == 2
    hour.advance(timedelta(seconds=1))
    assert signatures(tide) == 1


def test_secret_replaced_for_no_time_ends_at_once(tide: Tide) -> None:
    tide.set_webhook_secret(name="default", secret=fresh())
    tide.set_webhook_secret(name="default", secret=fresh(), keep="0")
    assert signatures(tide) == 1


def test_third_secret_drops_the_oldest(tide: Tide) -> None:
    first, second, third = fresh(), fresh(), fresh()
    for secret in (first, second, third):
        tide.set_webhook_secret(name="default", secret=secret)
    delivery = claimed(tide)
    verify(second, delivery)
    verify(third, delivery)
    with pytest.raises(WebhookVerificationError):
        verify(first, delivery)


def test_the_same_secret_again_changes_nothing(tide: Tide, hour: Clock) -> None:
    old, new = fresh(), fresh()
    tide.set_webhook_secret(name="default", secret=old)
    tide.set_webhook_secret(name="default", secret=new, keep="1 hour")
    hour.advance(timedelta(minutes=30))
    tide.set_webhook_secret(name="default", secret=new, keep="1 day")
    assert signatures(tide) == 2
    hour.advance(timedelta(minutes=30))
    assert signatures(tide) == 1


def test_secrets_set_in_one_transaction_keep_their_order(tide: Tide) -> None:
    first, second = fresh(), fresh()
    with tide.connection.transaction():
        tide.set_webhook_secret(name="default", secret=first)
        tide.set_webhook_secret(name="default", secret=second)
    delivery = claimed(tide)
    assert delivery.headers["x-tidebase-signature"] == tide.sign(secret=second, body=delivery.body)


def test_null_removes_a_secret_and_the_one_before_it(tide: Tide) -> None:
    for secret in (fresh(), fresh(), None):
        tide.set_webhook_secret(name="default", secret=secret)
    assert signatures(tide) == 0
    assert value(tide.connection, "select count(*) from tide.webhook_secrets") == 0


BAD = [
    "whsec_not base64 but secret",
    "whsec_" + base64.b64encode(b"secret-secret").decode(),
    "whsec_" + base64.b64encode(b"secret" * 11).decode(),
    "whsec_c2VjcmV0",
    "short secret",
    "secret" * 50,
    "a secret with\na second line",
]


@pytest.mark.parametrize("secret", BAD)
def test_unusable_secret_is_refused_and_not_shown(tide: Tide, secret: str) -> None:
    for call in (
        lambda: tide.set_webhook_secret(name="default", secret=secret),
        lambda: tide.sign(secret=secret, body="{}"),
    ):
        with refused("22023", "secret is not usable", len(secret.encode())) as caught:
            call()
        error = caught.value
        assert isinstance(error, psycopg.Error)
        shown = (
            f"{error.diag.message_primary} {error.diag.message_detail} {error.diag.message_hint}"
        )
        assert secret not in shown
        assert secret.removeprefix("whsec_") not in shown
    assert value(tide.connection, "select count(*) from tide.webhook_secrets") == 0


@pytest.mark.parametrize(
    "secret", ["x" * 16, "x" * 256, "whsec_" + "A" * 32, pytest.param(fresh(), id="fresh")]
)
def test_secrets_at_the_bounds_are_taken(tide: Tide, secret: str) -> None:
    tide.set_webhook_secret(name="default", secret=secret)
    assert claimed(tide).headers["x-tidebase-signature"].startswith("sha256=")


def test_bad_name_or_time_of_a_secret_is_refused(tide: Tide) -> None:
    with refused("22023", "name"):
        tide.set_webhook_secret(name="", secret=PLAIN)
    with refused("22023", "keep"):
        tide.set_webhook_secret(name="default", secret=PLAIN, keep="-1 second")
    with refused("22023", "keep"):
        tide.set_webhook_secret(name="default", secret=PLAIN, keep="1000 days")


def test_no_secret_leaves_the_database(tide: Tide) -> None:
    secret = fresh()
    tide.set_webhook_secret(name="default", secret=secret)
    delivery = claimed(tide)
    key = hashlib.sha256(secret.encode()).hexdigest()
    shown = [
        repr(delivery),
        repr(tide.list_deliveries()),
        repr(tide.describe_run(run_id=delivery.run_id)),
        repr(tide.list_events(run_id=delivery.run_id)),
        repr(outbox(tide.connection)),
    ]
    for words in (secret, secret.removeprefix("whsec_"), key):
        assert not any(words in text for text in shown)
