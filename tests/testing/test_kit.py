"""What the kit tells a test is what the database holds."""

from __future__ import annotations

import psycopg
import pytest

from tidebase_pg.testing import KitError, TideTest


def test_drain_executes_until_a_person_is_asked_and_reports_each_attempt(
    tide_test: TideTest,
) -> None:
    run = tide_test.enqueue("refund", input={"cents": 5})
    report = tide_test.drain()
    assert report.parked == [run]
    assert report.attempts(run) == ["parked"]
    tide_test.assert_waits(run, on="gate", name="approve", data={"cents": 5})
    tide_test.approve(run, "approve", by="ann")
    report = tide_test.drain()
    assert (report.completed, report.attempts(run)) == ([run], ["completed"])
    assert (run.status, run.result) == ("completed", {"refunded": 10})
    assert run.attempts == ["parked", "completed"]
    assert {name: step.executions for name, step in run.steps.items()} == {"price": 1, "charge": 1}


def test_a_stub_answers_for_a_step_or_raises(tide_test: TideTest) -> None:
    tide_test.stub_step("price", 12)
    run = tide_test.enqueue("refund", input={"cents": 5})
    tide_test.drain()
    assert run.steps["price"].output == 12
    tide_test.stub_step("charge", ValueError("the card is blocked"))
    tide_test.approve(run, "approve")
    tide_test.drain(delayed=True)
    assert (run.status, run.steps["charge"].executions) == ("failed", 3)


def test_a_stub_of_a_step_nobody_executes_fails_the_test(
    tide_server: object, tide_app: object
) -> None:
    kit: TideTest
    with pytest.raises(KitError, match=r"no step of these names was executed: prize"):
        with tide_server.tide_test(tide_app) as kit:  # type: ignore[attr-defined]
            kit.stub_step("prize", 12)
            kit.enqueue("refund", input={"cents": 5})
            kit.drain()


@pytest.mark.parametrize(
    ("where", "executions"),
    [({"before": "effect"}, 1), ({"after": "effect"}, 2), ({"after": "commit"}, 1)],
    ids=["before its effect", "after its effect", "after its commit"],
)
def test_a_crash_loses_the_attempt_and_repeats_at_most_the_step_in_flight(
    tide_test: TideTest, where: dict[str, str], executions: int
) -> None:
    run = tide_test.enqueue("refund", input={"cents": 5})
    tide_test.drain()
    tide_test.approve(run, "approve")
    tide_test.crash(run, step="charge", **where)  # type: ignore[arg-type]
    report = tide_test.drain()
    assert report.attempts(run) == ["lost", "completed"]
    assert run.steps["price"].executions == 1
    assert run.steps["charge"].executions == executions
    assert run.result == {"refunded": 10}


def test_a_planned_crash_that_no_run_comes_to_is_named(tide_test: TideTest) -> None:
    run = tide_test.enqueue("refund", input={"cents": 5})
    tide_test.crash(run, before="effect", step="none such")
    with pytest.raises(KitError, match=r"no process came to the planned crash: before effect of"):
        tide_test.drain()


def test_a_crash_at_an_unknown_place_is_refused(tide_test: TideTest) -> None:
    run = tide_test.enqueue("mail", input={"to": "ann"})
    with pytest.raises(KitError, match=r"no such place for a crash"):
        tide_test.crash(run, before="commit", step="send")


def test_the_clock_moves_delays_and_sleeps(tide_test: TideTest) -> None:
    with tide_test.at("2026-01-01T09:00Z") as clock:
        run = tide_test.enqueue("mail", input={"to": "ann"}, delay=120)
        assert tide_test.drain().attempts(run) == []
        tide_test.assert_enqueued("mail", queue="mails", input={"to": "ann"}, within="2m")
        tide_test.refute_enqueued("mail", within="1m")
        clock.advance("2m")
        assert tide_test.drain().attempts(run) == ["completed"]
        sleeper = tide_test.enqueue("late")
        before = clock.now
        assert tide_test.drain(delayed=True).attempts(sleeper) == ["parked", "completed"]
        assert (clock.now - before).total_seconds() >= 3600
        assert clock.stopped
    assert not tide_test.clock.stopped


def test_assertions_say_what_is_there_instead(tide_test: TideTest) -> None:
    run = tide_test.enqueue("mail", input={"to": "ann"})
    with pytest.raises(AssertionError, match=r"mail in mails: queued, {'to': 'ann'}"):
        tide_test.assert_enqueued("mail", input={"to": "bob"})
    with pytest.raises(AssertionError, match=r"1 such runs are queued"):
        tide_test.refute_enqueued("mail")
    with pytest.raises(AssertionError, match=r"waits on nothing and is queued, not on gate"):
        tide_test.assert_waits(run, on="gate")
    with pytest.raises(KitError, match=r"no pending gate 'approve'; pending: none"):
        tide_test.approve(run, "approve")


def test_an_unknown_workflow_is_refused_by_name(tide_test: TideTest) -> None:
    with pytest.raises(KitError, match=r"no workflow 'refunds'; it has .*refund"):
        tide_test.enqueue("refunds")


def test_drain_refuses_an_open_transaction(tide_test: TideTest) -> None:
    run = tide_test.enqueue("mail", input={"to": "ann"})
    with psycopg.connect(tide_test.dsn) as mine:
        mine.execute("select 'not yet committed'")
        with pytest.raises(KitError, match=r"test's database: commit.*not yet committed"):
            tide_test.drain()
    assert tide_test.drain().completed == [run]


def test_a_database_of_others_is_refused_and_not_touched(
    dsn: str, direct_dsn: str, tide_app: object
) -> None:
    with pytest.raises(KitError, match=r"not made by tidebase_pg.testing"):
        with TideTest(direct_dsn, tide_app):  # type: ignore[arg-type]
            pass
    with psycopg.connect(dsn) as connection:
        assert connection.execute("select to_regnamespace('tide_test')").fetchone() == (None,)


def test_webhooks_are_given_once(tide_test: TideTest) -> None:
    channel = {"type": "webhook", "url": "https://example.com/x", "events": ["run.completed"]}
    run = tide_test.enqueue("mail", input={"to": "ann"}, channels=[channel])
    tide_test.drain()
    (sent,) = tide_test.webhooks(run)
    assert (sent["type"], sent["url"]) == ("run.completed", "https://example.com/x")
    assert tide_test.webhooks(run) == []
