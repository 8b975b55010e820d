"""When a cron expression fires next: fields, names, leap days, clocks put forward and back."""

from __future__ import annotations

from datetime import UTC, datetime

import psycopg
import pytest

from tests.runs.acts import MINUTE, Tide, refused
from tests.support import Clock, Connection, value

AFTER = "2026-06-12 10:30:30+00"
"""A Friday."""


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def fires(tide: Tide, cron: str, after: str, count: int, time_zone: str = "UTC") -> list[str]:
    """The next fires as UTC, to the minute."""
    found = []
    for _ in range(count):
        after = tide.next_fire(cron=cron, after=after, time_zone=time_zone)
        found.append(f"{after:%Y-%m-%d %H:%M}" if isinstance(after, datetime) else after)
    return found


@pytest.mark.untouched
@pytest.mark.parametrize(
    ("cron", "expected"),
    [
        ("* * * * *", "2026-06-12 10:31"),
        ("*/15 * * * *", "2026-06-12 10:45"),
        ("0 9 * * *", "2026-06-13 09:00"),
        ("0 0 1 * *", "2026-07-01 00:00"),
        ("30 8 * * 1", "2026-06-15 08:30"),
        ("0 0 * * 7", "2026-06-14 00:00"),
        ("0 0 29 2 *", "2028-02-29 00:00"),
        ("@hourly", "2026-06-12 11:00"),
        ("@daily", "2026-06-13 00:00"),
        ("@midnight", "2026-06-13 00:00"),
        ("@weekly", "2026-06-14 00:00"),
        ("@monthly", "2026-07-01 00:00"),
        ("@yearly", "2027-01-01 00:00"),
        ("@annually", "2027-01-01 00:00"),
        ("@DAILY", "2026-06-13 00:00"),
        (" \t0  9\t* * * ", "2026-06-13 09:00"),
        ("0 0 * * SUN", "2026-06-14 00:00"),
        ("0 0 * * 0", "2026-06-14 00:00"),
        ("0 0 * Feb *", "2027-02-01 00:00"),
        ("0 0 1 jan-mar *", "2027-01-01 00:00"),
        ("0 0 * * fri-sun", "2026-06-13 00:00"),
        ("0 0 * * fri-7", "2026-06-13 00:00"),
        ("0 0 * * 0-7", "2026-06-13 00:00"),
        ("0 0 * * sun-sun", "2026-06-14 00:00"),
        ("0 0 * * 0-sun", "2026-06-14 00:00"),
        ("0 0 * * sun-tue", "2026-06-14 00:00"),
        ("0 0 * * 7-7", "2026-06-14 00:00"),
        ("0 0 * * mon,WED", "2026-06-15 00:00"),
        ("0 0 * * 1-5/2", "2026-06-15 00:00"),
        ("0 0 * * mon/3", "2026-06-15 00:00"),
        ("5,35 10 * * *", "2026-06-12 10:35"),
        ("31-33 10 * * *", "2026-06-12 10:31"),
        ("0-59/20 * * * *", "2026-06-12 10:40"),
        ("7/20 * * * *", "2026-06-12 10:47"),
        ("*/59 * * * *", "2026-06-12 10:59"),
        ("30,30,*/45,1-3/2 10 * * *", "2026-06-12 10:45"),
        ("00 09 01 01 *", "2027-01-01 09:00"),
    ],
)
def test_fields_names_lists_steps_and_macros_are_read(tide: Tide, cron: str, expected: str) -> None:
    assert tide.next_fire(cron=cron, after=AFTER) == at(expected)


@pytest.mark.untouched
@pytest.mark.parametrize(
    ("cron", "expected"),
    [
        ("0 0 20 * 1", ["2026-06-15", "2026-06-20", "2026-06-22", "2026-06-29"]),
        ("0 0 31 2 1", ["2027-02-01", "2027-02-08", "2027-02-15", "2027-02-22"]),
        ("0 0 */10 * 1", ["2026-06-15", "2026-06-21", "2026-06-22", "2026-06-29"]),
        ("0 0 20 * */5", ["2026-06-14", "2026-06-19", "2026-06-20", "2026-06-21"]),
        ("0 0 20 * *", ["2026-06-20", "2026-07-20", "2026-08-20", "2026-09-20"]),
        ("0 0 * * 1", ["2026-06-15", "2026-06-22", "2026-06-29", "2026-07-06"]),
        ("0 0 1-31 * 1", ["2026-06-13", "2026-06-14", "2026-06-15", "2026-06-16"]),
    ],
)
def test_one_of_two_restricted_day_fields_suffices(
    tide: Tide, cron: str, expected: list[str]
) -> None:
    """A field is restricted unless it is * and nothing else."""
    assert fires(tide, cron, AFTER, 4) == [f"{day} 00:00" for day in expected]


@pytest.mark.untouched
@pytest.mark.parametrize(
    ("after", "expected"),
    [
        ("2026-06-12 10:30:59.999999+00", "2026-06-12 10:31"),
        ("2026-06-12 10:31:00+00", "2026-06-12 10:32"),
        ("2026-06-12 10:30:00+00", "2026-06-12 10:31"),
        ("2026-12-31 23:59:30+00", "2027-01-01 00:00"),
        ("2028-02-28 23:59:00+00", "2028-02-29 00:00"),
    ],
)
def test_fire_is_later_than_after(tide: Tide, after: str, expected: str) -> None:
    assert tide.next_fire(cron="* * * * *", after=after) == at(expected)


def test_after_defaults_to_now(tide: Tide, hour: Clock) -> None:
    assert tide.next_fire(cron="* * * * *") == hour.now + MINUTE


@pytest.mark.untouched
@pytest.mark.parametrize(
    ("after", "expected"),
    [
        ("1896-03-01 00:00+00", "1904-02-29 00:00"),
        ("1996-02-29 00:00+00", "2000-02-29 00:00"),
        ("2000-02-29 00:00+00", "2004-02-29 00:00"),
        ("2096-02-29 00:00+00", "2104-02-29 00:00"),
        ("2196-12-31 00:00+00", "2204-02-29 00:00"),
        ("2396-02-29 00:00+00", "2400-02-29 00:00"),
    ],
)
def test_leap_days_are_found_across_centuries(tide: Tide, after: str, expected: str) -> None:
    assert tide.next_fire(cron="0 0 29 2 *", after=after) == at(expected)


@pytest.mark.untouched
@pytest.mark.parametrize("after", ["0001-01-03 00:00+00", "9899-12-31 23:00+00"])
@pytest.mark.parametrize("zone", ["UTC", "America/New_York", "Pacific/Apia"])
@pytest.mark.parametrize("cron", ["* * * * *", "0 0 29 2 *", "0 0 1 1 *"])
def test_every_time_that_is_accepted_has_an_answer(
    tide: Tide, after: str, zone: str, cron: str
) -> None:
    query = "select tide.next_fire(%s, %s, %s) > %s"
    assert value(tide.connection, query, cron, after, zone, after)


FIELDS = {
    "minute": "{} * * * *",
    "hour": "0 {} * * *",
    "day of month": "0 0 {} * *",
    "month": "0 0 1 {} *",
    "day of week": "0 0 * * {}",
}
EVERYWHERE = [
    "*/0",
    "5-1",
    "-1",
    "1-",
    "1--2",
    "*-5",
    "**",
    "*/*",
    "*/",
    "/5",
    "*/-1",
    "*/1.5",
    "1/0",
    "1/2/3",
    ",",
    "1,",
    ",1",
    "1,,2",
    "1;2",
    "100",
    "001",
    "+1",
    "1.0",
    "0x1",
    "?",
    "L",
    "W",
    "LW",
    "1#2",
    "5L",
    "H",
    "~",
    "*/100",
    "1-2-3",
    "foo",
    "\N{ARABIC-INDIC DIGIT ONE}",
    "\N{FULLWIDTH DIGIT ONE}",
    "1\n",
    "1\N{NO-BREAK SPACE}",
    "'",
    "%s",
]
WRONG = {
    "minute": ["60", "59-60", "*/60", "mon", "jan", "1/60"],
    "hour": ["24", "0-24", "*/24", "mon", "12am"],
    "day of month": ["0", "32", "0-31", "1-32", "*/32", "mon", "jan"],
    "month": ["0", "13", "1-13", "*/13", "mon", "january", "dec-jan", "jan-foo"],
    "day of week": ["8", "0-8", "*/7", "jan", "monday", "sat-mon", "fri-tue", "7-1", "1-mon/7"],
}


@pytest.mark.untouched
@pytest.mark.parametrize("field", FIELDS)
def test_bad_field_is_refused_by_name_and_value(tide: Tide, field: str) -> None:
    for bad in EVERYWHERE + WRONG[field]:
        cron = FIELDS[field].format(bad)
        item = next((part for part in bad.split(",") if part != "1"), "")
        with refused("22023", f"cron field {field} is not valid", item.lower().strip("\n")):
            tide.next_fire(cron=cron, after=AFTER)


@pytest.mark.untouched
@pytest.mark.parametrize(
    "cron",
    [
        None,
        "",
        " ",
        "*",
        "* * * *",
        "* * * * * *",
        "0 0 * * * 2026",
        "@reboot",
        "@every 5m",
        "@",
        "@hourly @daily",
        "@hourly * * * *x *",
        "0 9 * * * /usr/bin/true",
        "*" * 501,
        "* " * 300,
        "0," * 200 + "0 * * * " + "*" * 100,
        "x" * 100_000,
        "* * * *\n*",
    ],
    ids=lambda cron: repr(cron)[:30],
)
def test_other_than_five_fields_is_refused(tide: Tide, cron: str | None) -> None:
    told = "null" if cron is None else cron[:100]
    with refused("22023", "cron does not have five fields", told) as caught:
        tide.next_fire(cron=cron, after=AFTER)
    assert len(str(caught.value)) < 1000


@pytest.mark.untouched
@pytest.mark.parametrize(
    "cron",
    ["0 0 30 2 *", "0 0 31 2,4,6,9,11 *", "0 0 30,31 feb *", "* * 31 4-6/2 *", "0 0 31 11 *"],
)
def test_expression_that_never_fires_is_refused(tide: Tide, cron: str) -> None:
    with refused("22023", "cron never fires", cron):
        tide.next_fire(cron=cron, after=AFTER)


@pytest.mark.untouched
def test_nul_never_leaves_the_client(tide: Tide) -> None:
    with pytest.raises(psycopg.DataError):
        tide.next_fire(cron="* * * * *\0", after=AFTER)


@pytest.mark.untouched
@pytest.mark.parametrize(
    "zone",
    [
        None,
        "",
        " ",
        "Foo/Bar",
        "Foo/Bar+3",
        "UTC+3",
        "+03:00",
        "03",
        "CEST",
        "posix/Europe/Berlin",
        "right/Europe/Berlin",
        "Europe/Berlin ",
        "../../etc/passwd",
        "x" * 100_000,
    ],
    ids=lambda zone: repr(zone)[:30],
)
def test_unknown_zone_is_refused(tide: Tide, zone: str | None) -> None:
    told = "null" if zone is None else zone[:100]
    with refused("22023", "time_zone is not known", told):
        tide.next_fire(cron="0 9 * * *", after=AFTER, time_zone=zone)


@pytest.mark.untouched
@pytest.mark.parametrize("zone", ["CET", "EET", "MET", "WET", "cet"])
def test_zone_that_postgres_reads_as_an_abbreviation_is_refused(tide: Tide, zone: str) -> None:
    """As an abbreviation CET never has summer time, as a region it does."""
    with refused("22023", "time_zone is not known", zone):
        tide.next_fire(cron="0 9 * * *", after=AFTER, time_zone=zone)


@pytest.mark.untouched
@pytest.mark.parametrize(
    ("zone", "expected"),
    [
        ("UTC", "2026-06-13 09:00"),
        ("utc", "2026-06-13 09:00"),
        ("EST5EDT", "2026-06-12 13:00"),
        ("EST", "2026-06-12 14:00"),
        ("europe/berlin", "2026-06-13 07:00"),
        ("Asia/Kathmandu", "2026-06-13 03:15"),
        ("Pacific/Kiritimati", "2026-06-12 19:00"),
        ("Etc/GMT+12", "2026-06-12 21:00"),
    ],
)
def test_zone_is_taken_by_its_name(tide: Tide, zone: str, expected: str) -> None:
    assert tide.next_fire(cron="0 9 * * *", after=AFTER, time_zone=zone) == at(expected)


@pytest.mark.untouched
@pytest.mark.parametrize(
    "after", ["infinity", "-infinity", "0001-01-02+00", "9900-01-02+00", "0044-03-15+00 BC"]
)
def test_after_without_an_answer_is_refused(tide: Tide, after: str) -> None:
    with refused("22023", "after is out of range", after[:4].lstrip("0")):
        tide.next_fire(cron="0 9 * * *", after=after)


@pytest.mark.untouched
@pytest.mark.parametrize(
    ("zone", "cron", "after", "expected"),
    [
        # Europe/Berlin, 2026-03-29: 02:00 becomes 03:00, which is 01:00 UTC.
        (
            "Europe/Berlin",
            "30 2 * * *",
            "2026-03-28 12:00",
            ["2026-03-29 01:00", "2026-03-30 00:30"],
        ),
        (
            "Europe/Berlin",
            "0 2 * * *",
            "2026-03-28 12:00",
            ["2026-03-29 01:00", "2026-03-30 00:00"],
        ),
        (
            "Europe/Berlin",
            "0 3 * * *",
            "2026-03-28 12:00",
            ["2026-03-29 01:00", "2026-03-30 01:00"],
        ),
        (
            "Europe/Berlin",
            "59 1 * * *",
            "2026-03-28 12:00",
            ["2026-03-29 00:59", "2026-03-29 23:59"],
        ),
        (
            "Europe/Berlin",
            "0,20,40 2 * * *",
            "2026-03-28 12:00",
            ["2026-03-29 01:00", "2026-03-30 00:00"],
        ),
        (
            "Europe/Berlin",
            "30 2,3 * * *",
            "2026-03-28 12:00",
            ["2026-03-29 01:00", "2026-03-29 01:30", "2026-03-30 00:30"],
        ),
        (
            "Europe/Berlin",
            "30 2 29 3 *",
            "2026-01-01 00:00",
            ["2026-03-29 01:00", "2027-03-29 00:30"],
        ),
        (
            "Europe/Berlin",
            "*/30 * * * *",
            "2026-03-29 00:29",
            ["2026-03-29 00:30", "2026-03-29 01:00", "2026-03-29 01:30"],
        ),
        (
            "Europe/Berlin",
            "*/30 2 * * *",
            "2026-03-28 12:00",
            ["2026-03-30 00:00", "2026-03-30 00:30"],
        ),
        (
            "Europe/Berlin",
            "30 * * * *",
            "2026-03-29 00:00",
            ["2026-03-29 00:30", "2026-03-29 01:30", "2026-03-29 02:30"],
        ),
        (
            "Europe/Berlin",
            "30 */2 * * *",
            "2026-03-28 22:00",
            ["2026-03-28 23:30", "2026-03-29 02:30", "2026-03-29 04:30"],
        ),
        # 2026-10-25: 03:00 becomes 02:00, which is 01:00 UTC.
        (
            "Europe/Berlin",
            "30 2 * * *",
            "2026-10-24 12:00",
            ["2026-10-25 00:30", "2026-10-26 01:30"],
        ),
        (
            "Europe/Berlin",
            "0 2 * * *",
            "2026-10-24 12:00",
            ["2026-10-25 00:00", "2026-10-26 01:00"],
        ),
        (
            "Europe/Berlin",
            "0 3 * * *",
            "2026-10-24 12:00",
            ["2026-10-25 02:00", "2026-10-26 02:00"],
        ),
        (
            "Europe/Berlin",
            "0,20,40 2 * * *",
            "2026-10-25 00:10",
            ["2026-10-25 00:20", "2026-10-25 00:40", "2026-10-26 01:00"],
        ),
        ("Europe/Berlin", "0,20,40 2 * * *", "2026-10-25 01:10", ["2026-10-26 01:00"]),
        (
            "Europe/Berlin",
            "*/30 * * * *",
            "2026-10-25 00:00",
            ["2026-10-25 00:30", "2026-10-25 01:00", "2026-10-25 01:30", "2026-10-25 02:00"],
        ),
        (
            "Europe/Berlin",
            "*/30 2 * * *",
            "2026-10-24 12:00",
            [
                "2026-10-25 00:00",
                "2026-10-25 00:30",
                "2026-10-25 01:00",
                "2026-10-25 01:30",
                "2026-10-26 01:00",
            ],
        ),
        (
            "Europe/Berlin",
            "15 * * * *",
            "2026-10-24 23:30",
            ["2026-10-25 00:15", "2026-10-25 01:15", "2026-10-25 02:15"],
        ),
        (
            "Europe/Berlin",
            "@hourly",
            "2026-10-24 23:30",
            ["2026-10-25 00:00", "2026-10-25 01:00", "2026-10-25 02:00"],
        ),
        # America/New_York, 2026-03-08 07:00 UTC and 2026-11-01 06:00 UTC.
        (
            "America/New_York",
            "30 2 * * *",
            "2026-03-07 12:00",
            ["2026-03-08 07:00", "2026-03-09 06:30"],
        ),
        (
            "America/New_York",
            "30 1 * * *",
            "2026-10-31 12:00",
            ["2026-11-01 05:30", "2026-11-02 06:30"],
        ),
        (
            "America/New_York",
            "30 * * * *",
            "2026-11-01 05:00",
            ["2026-11-01 05:30", "2026-11-01 06:30", "2026-11-01 07:30"],
        ),
        (
            "America/New_York",
            "0 2 * * sun",
            "2026-03-07 12:00",
            ["2026-03-08 07:00", "2026-03-15 06:00"],
        ),
        # Australia/Lord_Howe moves by half an hour: 2026-10-03 15:30 UTC, 2026-04-04 15:00 UTC.
        (
            "Australia/Lord_Howe",
            "15 2 * * *",
            "2026-10-03 12:00",
            ["2026-10-03 15:30", "2026-10-04 15:15"],
        ),
        (
            "Australia/Lord_Howe",
            "45 1 * * *",
            "2026-04-04 12:00",
            ["2026-04-04 14:45", "2026-04-05 15:15"],
        ),
        (
            "Australia/Lord_Howe",
            "*/15 * * * *",
            "2026-10-03 15:14",
            ["2026-10-03 15:15", "2026-10-03 15:30", "2026-10-03 15:45"],
        ),
        (
            "Australia/Lord_Howe",
            "45 * * * *",
            "2026-04-04 14:30",
            ["2026-04-04 14:45", "2026-04-04 15:15", "2026-04-04 16:15"],
        ),
        # Pacific/Apia had no 2011-12-30: it ended before it began, at 10:00 UTC.
        (
            "Pacific/Apia",
            "0 9 * * *",
            "2011-12-29 12:00",
            ["2011-12-29 19:00", "2011-12-30 10:00", "2011-12-30 19:00"],
        ),
        (
            "Pacific/Apia",
            "0 9 30 12 *",
            "2011-12-29 12:00",
            ["2011-12-30 10:00", "2012-12-29 19:00"],
        ),
        ("Pacific/Apia", "0 * 30 12 *", "2011-12-29 12:00", ["2012-12-29 10:00"]),
        (
            "Pacific/Apia",
            "30 * * * *",
            "2011-12-30 09:00",
            ["2011-12-30 09:30", "2011-12-30 10:30"],
        ),
        # Antarctica/Troll moves by two hours: 2026-03-29 01:00 UTC, 2026-10-25 01:00 UTC.
        (
            "Antarctica/Troll",
            "30 2 * * *",
            "2026-03-28 12:00",
            ["2026-03-29 01:00", "2026-03-30 00:30"],
        ),
        (
            "Antarctica/Troll",
            "30 1,2 * * *",
            "2026-10-24 12:00",
            ["2026-10-24 23:30", "2026-10-25 00:30", "2026-10-26 01:30"],
        ),
        # America/Santiago puts its clocks forward at midnight: 2026-09-06 04:00 UTC.
        (
            "America/Santiago",
            "@daily",
            "2026-09-05 12:00",
            ["2026-09-06 04:00", "2026-09-07 03:00"],
        ),
        (
            "America/Santiago",
            "0 0 * * *",
            "2026-04-04 00:00",
            ["2026-04-04 03:00", "2026-04-05 04:00"],
        ),
        # Europe/Dublin, where winter is the exception of the rules.
        (
            "Europe/Dublin",
            "30 1 * * *",
            "2026-03-28 12:00",
            ["2026-03-29 01:00", "2026-03-30 00:30"],
        ),
        (
            "Europe/Dublin",
            "30 1 * * *",
            "2026-10-24 12:00",
            ["2026-10-25 00:30", "2026-10-26 01:30"],
        ),
    ],
)
def test_clocks_put_forward_and_back_follow_the_written_rule(
    tide: Tide, zone: str, cron: str, after: str, expected: list[str]
) -> None:
    """Fixed times: in a gap once, at its end; of two the first. With *: by elapsed time."""
    assert fires(tide, cron, f"{after}+00", len(expected), zone) == expected


@pytest.mark.parametrize("zone", ["Australia/Lord_Howe", "America/St_Johns", "Asia/Tokyo"])
@pytest.mark.parametrize("style", ["SQL, DMY", "German", "Postgres, MDY"])
def test_settings_of_the_session_change_nothing(
    connection: Connection, zone: str, style: str
) -> None:
    query = """
        select string_agg(extract(epoch from tide.next_fire(c.cron, a.after, z.zone))::text, ' ')
        from unnest(array['30 2 * * *', '0 0 29 2 *', '*/7 * * * 1', '5 1 4 * fri']) as c(cron)
        cross join unnest(array['2026-03-28 12:00+00', '2026-10-25 00:40+00']::timestamptz[])
          as a(after)
        cross join unnest(array['UTC', 'Europe/Berlin', 'America/New_York']) as z(zone)
        """
    plain = value(connection, query)
    connection.execute(f"set timezone = '{zone}'".encode())
    connection.execute(f"set datestyle = '{style}'".encode())
    connection.execute("set intervalstyle = 'sql_standard'")
    assert value(connection, query) == plain
