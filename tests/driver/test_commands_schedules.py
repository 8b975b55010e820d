"""The commands on schedules."""

from __future__ import annotations

import json
from typing import Any

import pytest
from click.testing import CliRunner, Result

from tidebase_pg import Tidebase
from tidebase_pg.cli import main


class Program:
    """`tidebase-pg schedules` on this test's database."""

    def __init__(self, dsn: str) -> None:
        self.dsn = dsn

    def run(self, *arguments: str) -> Result:
        return CliRunner().invoke(main, ["--dsn", self.dsn, "schedules", *arguments])

    def json(self, *arguments: str) -> Any:
        result = self.run(*arguments, "--json")
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)


@pytest.fixture
def program(dsn: str) -> Program:
    return Program(dsn)


def test_a_schedule_is_set_listed_fired_paused_resumed_and_deleted(
    program: Program, tide: Tidebase
) -> None:
    made = program.json(
        "set", "daily", "0 9 * * mon-fri", "report", "--input", '{"n": 1}', "--queue", "q",
        "--time-zone", "Europe/Berlin", "--misfire", "all", "--overlap", "skip", "--priority", "5",
        "--max-attempts", "3", "--deadline", "10m", "--metadata", '{"team": "a"}', "--disabled",
    )  # fmt: skip
    expected = {
        "schedule": "daily", "cron": "0 9 * * mon-fri", "time_zone": "Europe/Berlin",
        "workflow": "report", "input": {"n": 1}, "queue": "q", "misfire": "all", "overlap": "skip",
        "priority": 5, "max_attempts": 3, "deadline": 600, "metadata": {"team": "a"},
        "enabled": False, "paused": False,
    }  # fmt: skip
    assert {key: made[key] for key in expected} == expected
    assert program.json("set", "daily", "@daily", "report")["enabled"] is True

    assert program.json("pause", "daily")["paused"] is True
    assert program.json("resume", "daily")["paused"] is False
    fire = program.json("fire", "daily")
    assert (fire["outcome"], tide.runs.get(fire["run_id"]).workflow) == ("by_hand", "report")
    assert program.json("fires", "daily") == [fire]
    assert program.json("fires", "daily", "--before", fire["fire_at"]) == []
    (listed,) = program.json("list")
    assert listed["last_run_id"] == fire["run_id"]
    assert program.run("list").stdout.split()[:2] == ["schedule", "cron"]
    assert program.json("delete", "daily") == {"schedule": "daily", "deleted": True}
    assert program.json("delete", "daily")["deleted"] is False
    assert program.run("delete", "daily").stdout == "there was no such schedule\n"


def test_the_next_times_of_an_expression_are_shown(program: Program) -> None:
    times = program.json("next", "30 8 * * 1", "--after", "2026-06-12T10:30:30Z", "--count", "2")
    assert [time["fire_at"] for time in times] == [
        "2026-06-15T08:30:00+00:00",
        "2026-06-22T08:30:00+00:00",
    ]
    berlin = ("--after", "2026-06-12T12:30+02:00", "--time-zone", "Europe/Berlin")
    (time,) = program.json("next", "@daily", *berlin)
    assert time["fire_at"] == "2026-06-12T22:00:00+00:00"


@pytest.mark.parametrize(
    ("arguments", "exit_code", "words"),
    [
        (["set", "s", "61 * * * *", "w"], 1, "61"),
        (["set", "s", "* * *", "w"], 1, "cron"),
        (["set", "not a name", "@daily", "w"], 1, "name is not a valid name"),
        (["set", "s", "@daily", "w", "--time-zone", "Nowhere"], 1, "time_zone"),
        (["set", "s", "@daily", "w", "--misfire", "never"], 2, "never"),
        (["set", "s", "@daily"], 2, "WORKFLOW"),
        (["fire", "nobody"], 1, "nobody"),
        (["pause", "nobody"], 1, "nobody"),
        (["next", "@daily", "--after", "2026-06-12"], 2, "has no time zone"),
        (["next", "@daily", "--after", "soon"], 2, "is not a time"),
        (["next", "* * 30 2 *"], 1, "cron"),
        (["fires", "s", "--max-fires", "0"], 1, "max_fires"),
    ],
)
def test_a_wrong_argument_is_one_line_and_an_exit_code(
    program: Program, arguments: list[str], exit_code: int, words: str
) -> None:
    result = program.run(*arguments)
    assert result.exit_code == exit_code
    assert words in result.stderr
    assert "Traceback" not in result.output
    assert exit_code == 2 or len(result.stderr.splitlines()) == 1
