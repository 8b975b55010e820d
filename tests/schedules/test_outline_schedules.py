"""What consoles show of schedules: the next fires, and what became of the last."""

from __future__ import annotations

from datetime import UTC, datetime

from tests.runs.acts import Tide, refused


def test_the_next_fires_of_an_expression_are_told_in_order(tide: Tide) -> None:
    fires = tide.next_fires(
        cron="0 9 * * 1-5",
        after=datetime(2026, 6, 12, 10, 30, tzinfo=UTC),
        time_zone="Europe/Paris",
        max_fires=3,
    )
    assert [row.next_fires.astimezone(UTC) for row in fires] == [
        datetime(2026, 6, day, 7, tzinfo=UTC) for day in (15, 16, 17)
    ]
    for wrong, named in (({"cron": "61 * * * *"}, "minute"), ({"max_fires": 0}, "max_fires")):
        with refused("22023", named):
            tide.next_fires(**{"cron": "* * * * *", **wrong})


def test_an_outline_has_the_last_fires_and_no_input(tide: Tide) -> None:
    tide.set_schedule(name="daily", cron="0 9 * * *", workflow="digest", input={"a": "squid"})
    fire = tide.fire_schedule(name="daily")
    (outline,) = tide.outline_schedules()
    assert "squid" not in str(outline)
    assert outline.fires[0]["run_id"] == str(fire.run_id)
    assert outline.fires[0]["status"] == "queued"
