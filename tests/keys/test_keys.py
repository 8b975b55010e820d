"""Keys of the HTTP door: who makes them, what is stored, when they stop opening."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from hashlib import sha256
from typing import Any

import pytest
from click.testing import CliRunner

from tests.runs.acts import Tide, refused
from tests.support import Clock, Connection, at_once, one, value
from tidebase_pg import Tidebase
from tidebase_pg.cli import main
from tidebase_pg.types import Identity

LogIn = Callable[..., Connection]

ROLES = ("client", "worker", "operator", "viewer", "approver")


def digest(token: str) -> bytes:
    return sha256(token.encode()).digest()


def opened(tide: Tide, token: str) -> Any:
    return [tuple(row) for row in tide.authenticate_key(token_hash=digest(token))]


@pytest.mark.parametrize("role", ROLES)
def test_a_key_opens_as_its_name_and_role(tide: Tide, role: str) -> None:
    token = tide.create_key(name="ci", role=role)
    assert opened(tide, token) == [("ci", role, False)]


def test_a_key_says_whether_several_share_it(tide: Tide) -> None:
    token = tide.create_key(name="farm", role="worker", shared=True)
    assert opened(tide, token) == [("farm", "worker", True)]
    tide.create_key(name="one", role="worker", shared=None)
    assert [(key.name, key.shared) for key in tide.list_keys()] == [("farm", True), ("one", False)]


def test_a_token_is_long_and_never_the_same(tide: Tide) -> None:
    tokens = {tide.create_key(name=f"key-{number}", role="client") for number in range(50)}
    assert len(tokens) == 50
    assert all(token.startswith("tide_") and len(token) == 5 + 64 for token in tokens)


def test_a_token_is_stored_nowhere(tide: Tide, connection: Connection) -> None:
    token = tide.create_key(name="ci", role="client")
    row = value(connection, "select to_jsonb(k)::text from tide.api_keys as k")
    assert token.removeprefix("tide_") not in row
    assert digest(token).hex() in row


def test_what_is_listed_holds_neither_token_nor_hash(tide: Tide) -> None:
    token = tide.create_key(name="ci", role="client")
    (row,) = tide.list_keys()
    assert (row.name, row.role, row.last_used_at, row.revoked_at) == ("ci", "client", None, None)
    assert token not in str(row)
    assert digest(token).hex() not in str(row)


def test_an_unknown_token_opens_nothing(tide: Tide) -> None:
    token = tide.create_key(name="ci", role="client")
    for wrong in ("", token[:-1], token + " ", token.upper(), "tide_" + "0" * 64):
        assert opened(tide, wrong) == []
    assert tide.authenticate_key(token_hash=None) == []


def test_a_revoked_key_opens_nothing_from_its_commit_on(tide: Tide) -> None:
    token = tide.create_key(name="ci", role="client")
    assert tide.revoke_key(name="ci") is True
    assert opened(tide, token) == []
    assert tide.revoke_key(name="ci") is False
    assert tide.revoke_key(name="nobody") is False


def test_the_first_revocation_keeps_its_time(tide: Tide, hour: Clock) -> None:
    tide.create_key(name="ci", role="client")
    tide.revoke_key(name="ci")
    revoked_at = hour.now
    hour.advance(timedelta(hours=1))
    tide.revoke_key(name="ci")
    (row,) = tide.list_keys()
    assert row.revoked_at == revoked_at


def test_a_name_in_the_log_never_means_another_key(tide: Tide) -> None:
    tide.create_key(name="ci", role="client")
    with refused("22023", "ci"):
        tide.create_key(name="ci", role="worker")
    tide.revoke_key(name="ci")
    with refused("22023", "ci"):
        tide.create_key(name="ci", role="client")


def test_of_two_keys_made_at_once_under_one_name_one_is_refused(
    connect: Callable[[], Connection],
) -> None:
    callers = [partial(Tide(connect()).create_key, name="ci", role="client") for _ in range(4)]
    outcomes = at_once(callers)
    assert sorted(outcome.error is None for outcome in outcomes) == [False] * 3 + [True]
    for outcome in outcomes:
        assert outcome.error is None or getattr(outcome.error, "sqlstate", None) == "22023"


@pytest.mark.parametrize(
    ("name", "role"),
    [
        ("", "client"),
        (None, "client"),
        ("a b", "client"),
        ("é", "client"),
        ("x" * 129, "client"),
        ("ci", "owner"),
        ("ci", "tide_client"),
        ("ci", ""),
        ("ci", None),
        ("ci", "Client"),
    ],
)
def test_a_bad_name_or_role_is_refused_and_nothing_is_made(
    tide: Tide, name: str | None, role: str | None
) -> None:
    with refused("22023"):
        tide.create_key(name=name, role=role)
    assert tide.list_keys() == []


def test_nobody_makes_a_key_for_more_than_their_login_may(tide: Tide, log_in: LogIn) -> None:
    operator = Tide(log_in("tide_operator", "tide_client"))
    assert operator.create_key(name="deploy", role="client")
    assert operator.create_key(name="ops", role="operator")
    for role in ("worker", "viewer", "approver"):
        with refused("42501", role):
            operator.create_key(name="more", role=role)
    for role in ("tide_client", "tide_worker", "tide_viewer", "tide_approver"):
        with refused("42501"):
            Tide(log_in(role)).create_key(name="more", role=role.removeprefix("tide_"))
    assert [row.name for row in tide.list_keys()] == ["deploy", "ops"]


def test_set_role_does_not_make_a_key_for_more(tide: Tide, log_in: LogIn) -> None:
    login = log_in("tide_operator")
    login.execute("set role tide_operator")
    with refused("42501", login.info.user):
        Tide(login).create_key(name="more", role="worker")


@pytest.mark.parametrize("role", ROLES)
def test_every_role_may_look_a_key_up(tide: Tide, log_in: LogIn, role: str) -> None:
    token = tide.create_key(name="ci", role="viewer")
    assert opened(Tide(log_in(f"tide_{role}")), token) == [("ci", "viewer", False)]


def test_use_is_written_once_a_minute(tide: Tide, hour: Clock, connection: Connection) -> None:
    token = tide.create_key(name="ci", role="client")

    def row() -> Any:
        return one(connection, "select k.xmin::text, k.last_used_at from tide.api_keys as k")

    opened(tide, token)
    first = row()
    assert first.last_used_at == hour.now
    hour.advance(timedelta(seconds=59))
    opened(tide, token)
    assert row() == first
    hour.advance(timedelta(seconds=2))
    opened(tide, token)
    assert row().last_used_at == hour.now


def test_a_lookup_never_waits_for_another(tide: Tide, connect: Callable[..., Connection]) -> None:
    token = tide.create_key(name="ci", role="client")
    other = connect(autocommit=False)
    other.execute("update tide.api_keys set role = 'worker'")
    assert opened(tide, token) == [("ci", "client", False)]
    other.rollback()


# --- the driver and the commands ------------------------------------------------------------


def test_the_driver_makes_looks_up_and_revokes_keys(dsn: str) -> None:
    with Tidebase(dsn) as tide:
        token = tide.keys.create("ci", "worker")
        lookup = tide.keys.authenticate(digest(token))
        assert lookup == [Identity(name="ci", role="worker", shared=False)]
        assert [(key.name, key.role) for key in tide.keys.list()] == [("ci", "worker")]
        assert tide.keys.revoke("ci")
        assert tide.keys.authenticate(digest(token)) == []
        with pytest.raises(TypeError, match="token_hash must be bytes"):
            tide.keys.authenticate(token)  # type: ignore[arg-type]


def run(dsn: str, *arguments: str) -> Any:
    result = CliRunner().invoke(main, ["--dsn", dsn, "keys", *arguments])
    assert result.exit_code == 0, result.output
    return result.stdout


def test_the_commands_show_a_token_once(tide: Tide, dsn: str) -> None:
    token = run(dsn, "create", "ci", "client").strip()
    assert opened(tide, token) == [("ci", "client", False)]
    assert "ci" in run(dsn, "list")
    assert token not in run(dsn, "list", "--json")
    assert run(dsn, "revoke", "ci") == "key ci is revoked\n"
    assert run(dsn, "revoke", "ci") == "key ci was revoked before\n"
    assert "ci" not in run(dsn, "list")
    (row,) = json.loads(run(dsn, "list", "--all", "--json"))
    assert (row["name"], row["role"]) == ("ci", "client")
    assert row["revoked_at"]


def test_a_key_nobody_knows_is_not_revoked_in_silence(dsn: str) -> None:
    result = CliRunner().invoke(main, ["--dsn", dsn, "keys", "revoke", "nobody"])
    assert (result.exit_code, "there is no key named 'nobody'" in result.stderr) == (1, True)
