"""What the command line shows people: sections, live lines, and nothing that moves a terminal."""

from __future__ import annotations

import json
import threading
import unicodedata
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from click.testing import CliRunner, Result

from tests.studio.scene import Scene, furnish
from tests.support import Connection, one, value
from tidebase_pg.cli import main
from tidebase_pg.display import length, visible

ESCAPES = "ok\x1b[2J\x1b[31m\nstatus            completed"
TITLE = "\x1b]0;title\x07bob\u202e\u0085\u2028end"


def run(dsn: str, *arguments: str) -> Result:
    return CliRunner().invoke(main, ["--dsn", dsn, *arguments])


@pytest.fixture
def scene(direct_dsn: str, connection: Connection) -> Scene:
    return furnish(connection, minutes=4)


def begun(connection: Connection, workflow: str = "w") -> Any:
    run_id = value(connection, "select run_id from tide.create_run(%s)", workflow)
    return one(connection, "select * from tide.begin_run(%s)", run_id)


def test_a_run_is_shown_in_sections(dsn: str, scene: Scene) -> None:
    shown = run(dsn, "runs", "show", str(scene.runs["report"]))
    assert shown.exit_code == 0, shown.output
    lines = shown.stdout.splitlines()
    assert lines[0] == "generate-report  running"
    for section in ("Timeline", "Steps  3 of 4 done", "Input", "Metadata"):
        assert any(line.startswith(section) for line in lines), section
    assert any("attempt" in line and "2 of 3, on worker-2@harbour" in line for line in lines)
    assert any("draft" in line and "begun 2 times" in line for line in lines)
    assert any("> sources" in line for line in lines)


def test_why_a_run_waits_stands_before_all_else(dsn: str, scene: Scene) -> None:
    shown = run(dsn, "runs", "show", str(scene.runs["invoice-0"])).stdout
    assert "Why it is not running\n  the queue is paused" in shown
    review = run(dsn, "runs", "show", str(scene.runs["review"])).stdout
    assert review.startswith("charge-card  needs a review\n")
    assert "manual review" in review


def harmful(text: str) -> list[str]:
    return [
        hex(ord(letter))
        for letter in text
        if letter != "\n"
        and (unicodedata.category(letter) in ("Cc", "Cf", "Zl", "Zp") and letter != "\u200d")
    ]


@pytest.fixture
def hostile(direct_dsn: str, connection: Connection) -> Iterator[str]:
    """A run whose every text tries to write into the terminal."""
    payload = json.dumps({"a": ESCAPES, TITLE: TITLE})
    run_id = value(
        connection, "select run_id from tide.create_run('hostile', %s, %s)", payload, payload
    )
    made = one(connection, "select * from tide.begin_run(%s, %s)", run_id, "bob\u202eend")
    name = "step\u202eend"
    connection.execute("select tide.begin_step(%s, %s, %s)", (run_id, made.lease_id, name))
    connection.execute(
        "select tide.open_gate(%s, %s, 'ask', %s, %s)", (run_id, made.lease_id, ESCAPES, payload)
    )
    connection.execute(
        "select tide.cancel(%s, reason => %s, actor => %s)", (run_id, ESCAPES, TITLE)
    )
    yield str(run_id)


@pytest.mark.parametrize(
    "command",
    [
        ["runs", "show", "{run}"],
        ["runs", "watch", "{run}"],
        ["runs", "list"],
        ["events", "{run}"],
        ["runs", "children", "{run}"],
        ["runs", "retry", "{run}"],
        ["gates", "list"],
        ["top", "--once"],
        ["queues", "list"],
        ["deliveries", "list"],
        ["schedules", "list"],
        ["runs", "resolve", "{run}", TITLE, "retry"],
    ],
    ids=lambda command: " ".join(command[:2]),
)
@pytest.mark.parametrize("form", [[], ["--json"]], ids=["people", "json"])
def test_text_of_others_cannot_write_into_a_terminal(
    dsn: str, hostile: str, command: list[str], form: list[str]
) -> None:
    shown = run(dsn, *(part.format(run=hostile) for part in command), *form)
    assert harmful(shown.output) == [], shown.output
    if form and shown.exit_code == 0 and command[1] != "watch":
        json.loads(shown.stdout)


def test_json_keeps_every_letter(dsn: str, hostile: str) -> None:
    shown = json.loads(run(dsn, "runs", "show", hostile, "--json").stdout)
    assert shown["input"] == {"a": ESCAPES, TITLE: TITLE}
    assert (shown["cancel_reason"], shown["cancel_actor"]) == (ESCAPES, TITLE)


def test_what_is_plain_stays_as_it_is() -> None:
    for text in ("", "plain", "größer, 漢字, ציון, 🙂 and e\u0301"):
        assert visible(text) == text
    assert visible("a\tb\n", keep="\n\t") == "a\tb\n"
    assert visible("a\x00\x7f\x9b") == "a␀␡<U+009B>"


def test_a_run_is_watched_to_its_end(dsn: str, connection: Connection) -> None:
    made = begun(connection)
    outcome: list[Result] = []
    watching = threading.Thread(
        target=lambda: outcome.append(run(dsn, "runs", "watch", str(made.run_id)))
    )
    watching.start()
    connection.execute("select tide.begin_step(%s, %s, 'plan')", (made.run_id, made.lease_id))
    connection.execute("select tide.complete_step(%s, %s, 'plan')", (made.run_id, made.lease_id))
    connection.execute("select tide.complete(%s, %s)", (made.run_id, made.lease_id))
    watching.join(60)
    (shown,) = outcome
    assert shown.exit_code == 0, shown.output
    kinds = [
        line.split()[3 if line.split()[2] in ("ms", "s") else 2]
        for line in shown.stdout.splitlines()
    ]
    assert kinds[0] == "run.created"
    assert kinds[-1] == "run.completed"


def test_a_watched_run_that_fails_ends_the_watch_with_one(dsn: str, connection: Connection) -> None:
    made = begun(connection)
    connection.execute("select tide.fail(%s, %s, '{}', false)", (made.run_id, made.lease_id))
    assert run(dsn, "runs", "watch", str(made.run_id)).exit_code == 1
    last = value(connection, "select last_seq from tide.get_run(%s)", made.run_id)
    cut = run(dsn, "runs", "watch", str(made.run_id), "--after", str(last - 1))
    assert (cut.exit_code, len(cut.stdout.splitlines())) == (1, 1)


def test_top_shows_queues_runs_and_failures(dsn: str, scene: Scene) -> None:
    shown = run(dsn, "top", "--once")
    assert shown.exit_code == 0, shown.output
    for text in ("2 running", "4 decisions", "billing", "paused", "generate-report", "sync-crm"):
        assert text in shown.stdout
    seen = json.loads(run(dsn, "top", "--json").stdout)
    assert seen["gates"]["pending"] == 4
    assert "reports" in [queue["queue"] for queue in seen["queues"]]


def test_times_and_top_have_a_column_for_each_share(dsn: str, connection: Connection) -> None:
    for queue in ("timed", "untimed"):
        connection.execute("select tide.set_queue(%s, '{}')", (queue,))
    connection.execute(
        """
        insert into tide.time_bins (queue, lane, hour, measure, bin, runs, seconds)
        select 'timed', l.lane, date_trunc('hour', now()), m.measure, m.bin, m.runs, 1
        from (values ('wait', 21, 50), ('wait', 41, 46), ('wait', 61, 4), ('run', 31, 100))
          as m(measure, bin, runs)
        cross join (values ('openai')) as l(lane)
        """
    )
    shown = run(dsn, "queues", "times")
    assert shown.exit_code == 0, shown.output
    head, *rows = shown.stdout.splitlines()
    names = ["name", "runs", "wait_p50", "wait_p95", "wait_p99", "run_p50", "run_p95", "run_p99"]
    assert head.split() == names
    assert len(rows) == 1
    (told,) = json.loads(run(dsn, "queues", "times", "--json").stdout)
    assert list(told) == names
    assert (told["name"], told["runs"]) == ("timed", 100)
    assert told["wait_p50"] < told["wait_p95"] < told["wait_p99"]
    assert told["run_p50"] < told["run_p95"] < told["run_p99"] < told["wait_p95"]
    per_lane = json.loads(run(dsn, "queues", "times", "--per", "lane", "--json").stdout)
    assert [row["name"] for row in per_lane] == ["openai"]
    assert json.loads(run(dsn, "queues", "times", "untimed", "--json").stdout) == []
    top = run(dsn, "top", "--once").stdout.splitlines()
    (place,) = [number for number, line in enumerate(top) if line.startswith("QUEUE")]
    wait, work = top[place].index("WAIT 95%"), top[place].index("RUN 95%")
    cells = {
        line.split()[0]: (line[wait - 2 : wait + 8].strip(), line[work - 3 : work + 7].strip())
        for line in top[place + 1 : place + 3]
    }
    assert cells == {
        "timed": (
            length(timedelta(seconds=told["wait_p95"])),
            length(timedelta(seconds=told["run_p95"])),
        ),
        "untimed": ("", ""),
    }


def test_colours_are_for_terminals_only(dsn: str, scene: Scene) -> None:
    arguments = ["--dsn", dsn, "runs", "show", str(scene.runs["report"])]
    assert "\x1b" not in CliRunner().invoke(main, arguments).stdout
    assert "\x1b[34m" in CliRunner().invoke(main, arguments, color=True).stdout
