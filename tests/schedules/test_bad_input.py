"""Bad input of the functions of schedules: refused by name, nothing written."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from tests.runs.acts import MINUTE, Tide, contents, refused
from tests.support import Clock, value

LIMIT = 1048576
HUGE, TINY = 2**31 - 1, -(2**31)
DEEP = "[" * 3000 + "]" * 3000
NAMES: list[Any] = [
    None,
    "",
    " ",
    "a b",
    "a\n",
    "naïve",
    "\N{ROCKET}",
    "a'b",
    'a"b',
    "a\\b",
    "100%s",
    "..",
    "-a",
    "a;b",
    "x" * 129,
    "x" * 100_000,
]
CHOICES: list[Any] = [None, "", "ONE", "Allow", "none", "all ", "x" * 100_000]
WELL: dict[str, Any] = {"name": "report", "cron": "0 9 * * *", "workflow": "report"}
PAYLOADS: list[Any] = [DEEP, "1e100000", "9" * 5000]

# argument → what is wrong with it
WRONG: dict[str, list[Any]] = {
    "name": NAMES,
    "cron": [None, "", "* * * *", "60 * * * *", "0 0 30 2 *", "@reboot", "x" * 100_000],
    "workflow": NAMES,
    "input": PAYLOADS,
    "queue": NAMES,
    "time_zone": [None, "", "Foo/Bar", "UTC+3", "CET", "a'b", "x" * 100_000],
    "misfire": CHOICES,
    "overlap": CHOICES,
    "max_attempts": [0, -1, 101, HUGE, TINY],
    "priority": [-32769, 32768, HUGE, TINY],
    "deadline": ["0", "-1 second", "3651 days", "178000000 years"],
    "metadata": [*PAYLOADS, "[]", "1", '"text"', "null"],
}
MALFORMED = {
    "input": ["", "{", "NaN", '"\\u0000"'],
    "metadata": ["nope"],
    "max_attempts": ["three"],
    "deadline": ["soon"],
    "enabled": ["perhaps"],
}


def complaint(tide: Tide, argument: str, given: Any) -> str | None:
    """What is wrong with how set_schedule took it: None when it was refused as it should be."""
    try:
        tide.set_schedule(**WELL | {argument: given})
    except psycopg.Error as error:
        message = error.diag.message_primary or ""
        if error.sqlstate != "22023":
            return f"{error.sqlstate}: {message[:200]}"
        if argument not in message or len(message) > 1000:
            return message[:200]
        if given is None and "null" not in message:
            return message[:200]
        return None
    return "accepted"


@pytest.mark.parametrize("argument", WRONG)
@pytest.mark.parametrize("declared", [False, True])
def test_bad_argument_is_refused_by_name_and_nothing_is_written(
    tide: Tide, argument: str, declared: bool
) -> None:
    if declared:
        tide.set_schedule(**WELL)
    before = contents(tide.connection)
    complaints = {
        str(given)[:40]: found
        for given in WRONG[argument]
        if (found := complaint(tide, argument, given))
    }
    assert contents(tide.connection) == before
    assert complaints == {}


@pytest.mark.parametrize("argument", MALFORMED)
def test_malformed_value_is_refused_by_its_type(tide: Tide, argument: str) -> None:
    before = contents(tide.connection)
    for given in MALFORMED[argument]:
        with pytest.raises(psycopg.DataError):
            tide.set_schedule(**WELL | {argument: given})
    assert contents(tide.connection) == before


@pytest.mark.parametrize("argument", ["input", "metadata"])
def test_payload_limit_is_exact(tide: Tide, argument: str) -> None:
    frame = '{"a": ""}'
    fitting = "x" * (LIMIT - len(frame))
    with refused("TD040", argument, LIMIT + 1):
        tide.set_schedule(**WELL | {argument: frame.replace('""', f'"x{fitting}"')})
    tide.set_schedule(**WELL | {argument: frame.replace('""', f'"{fitting}"')})


@pytest.mark.parametrize("argument", ["input", "metadata", "priority", "enabled"])
def test_null_is_the_default(tide: Tide, argument: str) -> None:
    plain = tide.set_schedule(**WELL)
    given = tide.set_schedule(**WELL | {argument: None, "name": "other"})
    assert getattr(given, argument) == getattr(plain, argument)


def test_longest_names_fire(tide: Tide, hour: Clock) -> None:
    name = "n" * 127 + "-"
    tide.set_schedule(name=name, cron="* * * * *", workflow="w" * 128, queue="q" * 128)
    hour.advance(MINUTE)
    tide.reconcile()
    tide.fire_schedule(name=name)
    claimed = tide.claim(queues=["q" * 128], max_runs=5)
    assert [run.metadata["schedule"] for run in claimed] == [name, name]


@pytest.mark.untouched
@pytest.mark.parametrize("max_fires", [None, 0, -1, 10_001, HUGE, TINY])
def test_bad_page_is_refused(tide: Tide, max_fires: int | None) -> None:
    with refused("22023", "max_fires", "null" if max_fires is None else max_fires):
        tide.list_fires(name="report", max_fires=max_fires)


@pytest.mark.parametrize("name", [None, "", "a'b", "%", "x" * 100_000])
def test_hostile_filters_match_nothing_and_write_nothing(tide: Tide, name: str | None) -> None:
    tide.set_schedule(**WELL)
    before = contents(tide.connection)
    assert tide.list_fires(name=name) == []
    assert tide.drop_schedule(name=name) is False
    assert contents(tide.connection) == before


def test_schedules_need_read_committed_only_to_fire(tide: Tide) -> None:
    tide.connection.execute("begin isolation level repeatable read")
    tide.set_schedule(**WELL)
    with refused("25001", "repeatable read"):
        tide.fire_schedule(name="report")
    tide.connection.execute("rollback")
    assert value(tide.connection, "select count(*) from tide.schedules") == 0
