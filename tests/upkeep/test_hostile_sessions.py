"""Every public function means the same in a session that is set to anything else."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.conventions.bodies import routines
from tests.runs.acts import Tide
from tests.support import Clock, open_connection
from tests.upkeep.calls import SCENES

HOSTILE = {
    "timezone": "America/New_York",
    "datestyle": "ISO, DMY",
    "bytea_output": "escape",
    "extra_float_digits": "-15",
    "standard_conforming_strings": "off",
    "escape_string_warning": "off",
    "search_path": "nowhere",
    "row_security": "off",
    "default_transaction_deferrable": "on",
    "transform_null_equals": "on",
    "quote_all_identifiers": "on",
    "array_nulls": "off",
    "xmlbinary": "hex",
    "check_function_bodies": "off",
    "plpgsql.variable_conflict": "use_variable",
    "enable_indexscan": "off",
    "enable_nestloop": "off",
    "statement_timeout": "60s",
    "lock_timeout": "10s",
}
"""Each is one that a role or a database may have by default."""

ID = re.compile(
    r"(?<![0-9a-f])([0-9a-f]{64}|[0-9a-f]{8}(-?[0-9a-f]{4}){3}-?[0-9a-f]{12})(?![0-9a-f])"
)

INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?[+-]\d\d:\d\d")
SOON = timedelta(days=30)

START = datetime(2026, 3, 7, 12, tzinfo=UTC)
"""Within the next two days the clocks of New York go forward by an hour."""


def plain(value: Any) -> Any:
    """A value as an instant or a length, however the session shows it."""
    if isinstance(value, str):
        return INSTANT.sub(lambda found: str(plain(datetime.fromisoformat(found.group()))), value)
    if isinstance(value, datetime):
        # Some columns note the time by a default, which no test can stop.
        return value.astimezone(UTC) if value < START + SOON else "noted"
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, dict):
        return {name: plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value


def answer(tide: Tide, function: str, settings: dict[str, str]) -> list[Any]:
    """What the function answers, with numbers in the place of ids, in the order they come."""
    arguments = SCENES[function](tide)
    for name, setting in settings.items():
        tide.connection.execute("select set_config(%s, %s, false)", (name, setting))
    if function == "reconcile":
        return [tide.reconcile(**arguments).keys()]
    given = tide.call(function, **arguments)
    rows = given if isinstance(given, list) else [given]
    seen: dict[str, str] = {}

    def number(match: re.Match[str]) -> str:
        return seen.setdefault(match.group(), f"#{len(seen)}")

    return [ID.sub(number, repr(plain(row))) for row in rows]


@pytest.mark.parametrize("function", sorted(SCENES))
def test_a_call_means_the_same_whatever_the_session_is_set_to(
    databases: Any, template: str, server: Any, function: str
) -> None:
    found: list[list[Any]] = []
    for settings in ({}, HOSTILE):
        with databases.database(template) as name:
            dsn = server.dsn(name)
            clock = Clock(dsn)
            clock.set(START)
            tide = Tide(open_connection(dsn))
            found.append(answer(tide, function, settings))
            tide.connection.close()
            clock.close()
    assert found[0] == found[1]


def test_no_literal_of_a_body_has_a_backslash_that_a_session_may_read_otherwise() -> None:
    plain = re.compile(r"(?<![eE])'(?:[^'\n]|'')*\\(?:[^'\n]|'')*'")
    for routine in routines():
        code = re.sub(r"(?m)^\s*--.*$", "", routine.text)
        code = re.sub(r"(?<=[^a-z])[eE]'(?:[^'\\]|\\.|'')*'", "", code)
        assert not plain.search(code), f"{routine.name}: write it as E'...' or without a backslash"
