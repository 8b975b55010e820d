"""Secrets that come with a channel: kept under a name that gives no power over others."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from functools import partial

import pytest

from tests.runs.acts import MINUTE, Tide, refused
from tests.support import Clock, Connection, at_once, results, value
from tests.webhooks.outbox import channel, outbox

SECRET = "a secret of some length"
DAY = timedelta(days=1)


def secrets(tide: Tide) -> int:
    found: int = value(tide.connection, "select count(*) from tide.webhook_secrets")
    return found


def test_a_secret_kept_so_signs_what_goes_to_the_channel(tide: Tide) -> None:
    name = tide.store_channel_secret(secret=SECRET)
    tide.create_run(workflow="report", channels=[channel(secret_name=name)])
    (sent,) = tide.claim_deliveries()
    signed = tide.sign(secret=SECRET, body=sent.body)
    assert sent.headers["x-tidebase-signature"] == signed
    assert json.loads(sent.body)["type"] == "run.created"


def test_the_same_secret_is_kept_once_under_the_same_name(tide: Tide) -> None:
    name = tide.store_channel_secret(secret=SECRET)
    assert tide.store_channel_secret(secret=SECRET) == name
    assert tide.store_channel_secret(secret=SECRET + "!") != name
    assert secrets(tide) == 2


def test_the_name_does_not_tell_the_secret(tide: Tide) -> None:
    name = tide.store_channel_secret(secret=SECRET)
    assert SECRET not in name
    assert len(name) == len("http-") + 64


def test_who_enqueues_or_works_sets_no_secret(
    tide: Tide, log_in: Callable[..., Connection]
) -> None:
    tide.set_webhook_secret(name="default", secret="w" * 32)
    for role in ("tide_client", "tide_worker"):
        caller = Tide(log_in(role))
        with refused("42501"):
            caller.store_channel_secret(secret=SECRET)
        with refused("42501"):
            caller.set_webhook_secret(name="default", secret=SECRET)
    kept = value(tide.connection, "select secret from tide.webhook_secrets where name = 'default'")
    assert kept == "w" * 32


@pytest.mark.parametrize("secret", ["", None, "short", "s" * 257, "with a\nline of its own"])
def test_a_bad_secret_is_refused_and_not_quoted(tide: Tide, secret: str | None) -> None:
    with refused("22023", "secret") as caught:
        tide.store_channel_secret(secret=secret)
    assert not secret or secret not in str(caught.value)
    assert secrets(tide) == 0


def test_it_goes_with_the_last_run_that_names_it(tide: Tide, hour: Clock) -> None:
    name = tide.store_channel_secret(secret=SECRET)
    hour.advance(2 * DAY)
    for _ in range(2):
        run = tide.begun(channels=[channel(secret_name=name)])
        tide.complete(run_id=run.run_id, lease_id=run.lease_id)
        hour.advance(MINUTE)
    assert tide.prune(older_than="0", max_runs=1) == 1
    assert secrets(tide) == 1
    hour.advance(MINUTE)
    assert tide.prune(older_than="0", max_runs=1) == 1
    assert secrets(tide) == 0


def test_a_secret_just_kept_again_stays_for_the_run_to_come(tide: Tide, hour: Clock) -> None:
    name = tide.store_channel_secret(secret=SECRET)
    run = tide.begun(channels=[channel(secret_name=name)])
    tide.complete(run_id=run.run_id, lease_id=run.lease_id)
    hour.advance(2 * DAY)
    tide.store_channel_secret(secret=SECRET)
    assert tide.prune(older_than="0") == 1
    assert secrets(tide) == 1


def test_secrets_that_operators_set_stay(tide: Tide, hour: Clock) -> None:
    tide.set_webhook_secret(name="theirs", secret=SECRET)
    run = tide.begun(channels=[channel(secret_name="theirs")])
    tide.complete(run_id=run.run_id, lease_id=run.lease_id)
    hour.advance(2 * DAY)
    assert tide.prune(older_than="0") == 1
    assert secrets(tide) == 1
    assert outbox(tide.connection) == []


def test_the_same_secret_kept_by_many_at_once_is_one_row(
    tide: Tide, connect: Callable[..., Connection]
) -> None:
    callers = [partial(Tide(connect()).store_channel_secret, secret=SECRET) for _ in range(6)]
    assert len(set(results(at_once(callers)))) == 1
    assert secrets(tide) == 1
