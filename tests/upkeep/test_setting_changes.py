"""list_setting_changes: who changed which setting, when, from what to what."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from tests.runs.acts import MINUTE, Tide
from tests.support import Clock, Connection, value


def told(tide: Tide, **filters: Any) -> list[tuple[Any, ...]]:
    found = tide.list_setting_changes(**filters)
    return [(c.kind, c.name, c.actor, c.before, c.after) for c in found]


def test_a_change_of_a_queue_says_who_changed_what_from_what_to_what(
    tide: Tide, hour: Clock
) -> None:
    tide.set_queue(queue="mail", settings={"concurrency": 3}, actor="ann")
    hour.advance(MINUTE)
    tide.set_queue(queue="mail", settings={"concurrency": 5, "paused": True}, actor="ben")
    tide.set_queue(queue="mail", settings={"concurrency": None}, actor="ann")
    assert told(tide) == [
        ("queue", "mail", "ann", {"concurrency": 5}, {}),
        (
            "queue",
            "mail",
            "ben",
            {"concurrency": 3, "paused": False},
            {"concurrency": 5, "paused": True},
        ),
        ("queue", "mail", "ann", {}, {"concurrency": 3}),
    ]
    changes = tide.list_setting_changes()
    assert changes[1].changed_at - changes[2].changed_at == MINUTE
    login = value(tide.connection, "select session_user::text")
    assert {change.login for change in changes} == {login}


def test_a_declaration_that_changes_nothing_leaves_no_trace(tide: Tide) -> None:
    for _ in range(3):
        tide.set_queue(queue="mail", settings={"concurrency": 3})
        tide.set_schedule(name="daily", cron="@daily", workflow="report")
        tide.pause_schedule(name="daily")
    kinds = [change[0] for change in told(tide)]
    assert kinds == ["schedule", "schedule", "queue"]


def test_the_life_of_a_schedule_is_told(tide: Tide) -> None:
    tide.set_schedule(name="daily", cron="@daily", workflow="report", actor="ann")
    tide.set_schedule(name="daily", cron="@hourly", workflow="report", actor="ben")
    tide.pause_schedule(name="daily", actor="ann")
    tide.resume_schedule(name="daily", actor="ben")
    tide.drop_schedule(name="daily", actor="ann")
    dropped, resumed, paused, moved, made = told(tide, kind="schedule", name="daily")
    assert made[2:4] == ("ann", {})
    assert made[4]["cron"] == "@daily"
    assert moved[2:] == ("ben", {"cron": "@daily"}, {"cron": "@hourly"})
    assert paused[2:] == ("ann", {"paused": False}, {"paused": True})
    assert resumed[2:] == ("ben", {"paused": True}, {"paused": False})
    assert (dropped[2], dropped[3]["cron"], dropped[4]) == ("ann", "@hourly", {})


def test_a_pause_of_the_installation_is_told_once(tide: Tide) -> None:
    for _ in range(2):
        tide.pause(reason="drill", actor="ann")
    for _ in range(2):
        tide.resume(actor="ben")
    tide.set_retention(retention="30 days", actor="cleo")
    assert told(tide, kind="installation") == [
        ("installation", None, "cleo", {}, {"retention": "720:00:00"}),
        ("installation", None, "ben", {"paused": True}, {"paused": False}),
        ("installation", None, "ann", {"paused": False}, {"paused": True, "reason": "drill"}),
    ]


def test_who_put_a_copy_to_work_is_told(tide: Tide) -> None:
    tide.pause(actor="ann")
    tide.adopt(mode="skip_missed", actor="ben")
    assert told(tide, kind="installation")[0] == (
        "installation",
        None,
        "ben",
        {"paused": True},
        {"paused": False, "adopted": "skip_missed"},
    )


def test_who_set_a_price_is_told(tide: Tide) -> None:
    small = {"provider": "acme", "model": "small"}
    for cost in (2, 2, 3):
        tide.set_price(**small, input_usd=cost, output_usd=8, actor="ann")
    tide.set_price(**small, input_usd=None, output_usd=None, actor="ben")
    tide.set_price(**small, input_usd=None, output_usd=None, actor="ben")
    assert told(tide, kind="price", name="acme/small") == [
        ("price", "acme/small", "ben", {"input_usd": 3, "output_usd": 8}, {}),
        ("price", "acme/small", "ann", {"input_usd": 2}, {"input_usd": 3}),
        ("price", "acme/small", "ann", {}, {"input_usd": 2, "output_usd": 8}),
    ]


def test_of_a_long_value_only_its_hash_is_kept(tide: Tide) -> None:
    tide.set_schedule(name="big", cron="@daily", workflow="w", input={"text": "x" * 5000})
    (made,) = tide.list_setting_changes(name="big")
    assert list(made.after["input"]) == ["sha256"]


def test_pages_follow_one_another_without_a_gap(tide: Tide) -> None:
    for number in range(1, 6):
        tide.set_queue(queue="mail", settings={"concurrency": number})
    first = tide.list_setting_changes(max_changes=2)
    rest = tide.list_setting_changes(before_change=first[-1].change_id)
    assert [c.after["concurrency"] for c in [*first, *rest]] == [5, 4, 3, 2, 1]


def test_changes_older_than_the_retention_are_removed(
    tide: Tide, connection: Connection, hour: Clock
) -> None:
    tide.set_queue(queue="mail", settings={"concurrency": 3})
    tide.set_retention(retention="30 days")
    hour.advance(timedelta(days=29))
    tide.set_queue(queue="mail", settings={"concurrency": 4})
    tide.prune()
    assert len(tide.list_setting_changes()) == 3
    hour.advance(timedelta(days=2))
    tide.prune()
    assert [change[4] for change in told(tide)] == [{"concurrency": 4}]


def test_a_change_is_undone_with_its_transaction(tide: Tide) -> None:
    with tide.connection.transaction(force_rollback=True):
        tide.set_queue(queue="mail", settings={"concurrency": 3})
    assert told(tide) == []
