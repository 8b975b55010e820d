"""The outbox: each delivery goes out until it is reported, and no endpoint holds up another."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from tests.runs.acts import MINUTE, NOBODY, Tide, refused
from tests.support import Clock, Connection, value
from tests.webhooks.outbox import (
    DAY,
    HOOK,
    SECOND,
    channel,
    later,
    outbox,
    post,
    proven,
    report,
    send,
)

DEAD = "https://dead.example.com/"


def endpoint(tide: Tide, url: str = "https://hooks.example.com") -> Any:
    return tide.connection.execute(
        "select e.* from tide.endpoints as e where e.endpoint = %s", (url,)
    ).fetchone()


def test_claimed_delivery_is_leased(tide: Tide, hour: Clock) -> None:
    (delivery_id,) = post(tide)
    (claimed,) = tide.claim_deliveries(lease="30 seconds")
    assert (claimed.delivery_id, claimed.attempt, claimed.url) == (delivery_id, 1, HOOK)
    hour.advance(29 * SECOND)
    assert tide.claim_deliveries() == []
    hour.advance(SECOND)
    (again,) = tide.claim_deliveries()
    assert (again.delivery_id, again.attempt) == (delivery_id, 2)
    assert again.lease_id != claimed.lease_id


def test_success_ends_a_delivery(tide: Tide, hour: Clock) -> None:
    for status in (200, 204, 299):
        post(tide)
        (claimed,) = tide.claim_deliveries()
        answer = report(tide, claimed, status, response="thanks")
        assert (answer.status, answer.attempts) == ("delivered", 1)
    stored = outbox(tide.connection)[-1]
    assert (stored.http_status, stored.response, stored.finished_at) == (299, "thanks", hour.now)
    hour.advance(DAY)
    assert tide.claim_deliveries() == []


@pytest.mark.parametrize("status", [None, 100, 199, 300, 302, 400, 404, 500])
def test_anything_else_is_sent_again_after_a_pause(
    tide: Tide, hour: Clock, status: int | None
) -> None:
    post(tide)
    (claimed,) = tide.claim_deliveries()
    answer = report(tide, claimed, status, error="no")
    assert (answer.status, answer.attempts) == ("pending", 1)
    assert 5 * SECOND <= answer.due_at - hour.now <= 6 * SECOND
    assert tide.claim_deliveries() == []
    hour.set(answer.due_at)
    assert [again.attempt for again in tide.claim_deliveries()] == [2]


def test_same_report_twice_gives_the_same_answer(tide: Tide, hour: Clock) -> None:
    for status in (200, 500):
        post(tide)
        (claimed,) = tide.claim_deliveries()
        first = report(tide, claimed, status)
        failures = endpoint(tide).failures
        hour.advance(SECOND)
        assert report(tide, claimed, status) == first
        assert endpoint(tide).failures == failures


def test_report_on_a_lost_lease_is_refused(tide: Tide, hour: Clock) -> None:
    post(tide)
    (lost,) = tide.claim_deliveries()
    hour.advance(MINUTE)
    (held,) = tide.claim_deliveries()
    with refused("TD002", lost.delivery_id):
        report(tide, lost)
    assert report(tide, held).status == "delivered"
    with refused("TD002"):
        report(tide, lost)
    assert report(tide, held).status == "delivered"


def test_report_on_an_expired_lease_nobody_took_is_accepted(tide: Tide, hour: Clock) -> None:
    post(tide)
    (claimed,) = tide.claim_deliveries()
    hour.advance(10 * MINUTE)
    assert report(tide, claimed).status == "delivered"


def test_report_without_or_with_a_wrong_lease_is_refused(tide: Tide) -> None:
    (delivery_id,) = post(tide)
    for lease_id in (None, uuid4()):
        with refused("TD002", delivery_id):
            tide.finish_delivery(delivery_id=delivery_id, lease_id=lease_id, http_status=200)
    assert outbox(tide.connection)[0].status == "pending"


def test_report_on_an_unknown_delivery_is_refused(tide: Tide) -> None:
    for delivery_id in (NOBODY, None):
        with refused("TD010"):
            tide.finish_delivery(delivery_id=delivery_id, lease_id=uuid4(), http_status=200)
        with refused("TD010"):
            tide.redeliver(delivery_id=delivery_id)


def alone(tide: Tide) -> Any:
    """Claim the only delivery, whatever its breaker says."""
    tide.connection.execute("update tide.endpoints set open_until = null")
    (claimed,) = tide.claim_deliveries()
    return claimed


def test_pauses_grow_up_to_an_hour(tide: Tide, hour: Clock) -> None:
    post(tide)
    pauses = []
    for _ in range(19):
        answer = report(tide, alone(tide), 500)
        pauses.append(answer.due_at - hour.now)
        hour.set(answer.due_at)
    for number, pause in enumerate(pauses):
        least = min(3600, 5 * 2**number)
        assert least <= pause.total_seconds() <= min(3600, least * 1.2)
    assert pauses[-1] == timedelta(hours=1)


def test_delivery_is_dead_after_its_last_attempt(tide: Tide, hour: Clock) -> None:
    (delivery_id,) = post(tide)
    answer = None
    for attempt in range(1, 21):
        assert answer is None or answer.status == "pending"
        claimed = alone(tide)
        assert claimed.attempt == attempt
        answer = report(tide, claimed, 503, response="later", error="503")
        hour.advance(timedelta(hours=1))
    assert answer is not None
    assert (answer.status, answer.attempts) == ("dead", 20)
    tide.connection.execute("update tide.endpoints set open_until = null")
    assert tide.claim_deliveries() == []
    (stored,) = outbox(tide.connection)
    assert (stored.delivery_id, stored.http_status, stored.error) == (delivery_id, 503, "503")


def test_delivery_whose_attempts_are_never_reported_is_dead_after_the_last(
    tide: Tide, hour: Clock
) -> None:
    post(tide)
    for attempt in range(1, 21):
        (claimed,) = tide.claim_deliveries()
        assert claimed.attempt == attempt
        hour.advance(MINUTE)
    assert tide.claim_deliveries() == []
    (stored,) = outbox(tide.connection)
    assert (stored.status, stored.attempts) == ("dead", 20)
    assert report(tide, claimed).status == "delivered"


def test_gone_is_dead_at_once(tide: Tide) -> None:
    post(tide)
    (claimed,) = tide.claim_deliveries()
    assert report(tide, claimed, 410).status == "dead"


def test_gone_does_not_count_against_the_host(tide: Tide) -> None:
    proven(tide)
    post(tide, 8)
    for _ in range(2):
        assert len(send(tide, 410)) == 4
    post(tide, 4)
    assert len(send(tide)) == 4


def test_death_is_logged_once_and_sent_to_nobody(tide: Tide, hour: Clock) -> None:
    run = tide.begun(channels=[channel(), channel("https://other.example.com")])
    tide.claim_deliveries()
    for claimed in tide.claim_deliveries():
        report(tide, claimed)
    before = len(outbox(tide.connection))
    (delivery,) = [d for d in outbox(tide.connection) if d.type == "run.created" and d.url == HOOK]
    report(tide, delivery, 410, error="gone")
    assert "delivery.failed" not in tide.log(run.run_id)
    for _ in range(3):
        assert later(tide, hour, SECOND).get("deliveries") in (0, 1)
    assert tide.log(run.run_id).count("delivery.failed") == 1
    assert tide.last_event(run.run_id).payload == {
        "delivery_id": str(delivery.delivery_id),
        "type": "run.created",
        "endpoint": "https://hooks.example.com",
        "attempts": 1,
        "http_status": 410,
        "error": "gone",
    }
    assert len(outbox(tide.connection)) == before


def test_death_is_logged_on_a_finished_run_and_renews_no_lease(tide: Tide, hour: Clock) -> None:
    ended = tide.begun(channels=[channel(events=["run.created"])])
    tide.complete(run_id=ended.run_id, lease_id=ended.lease_id)
    send(tide, 410)
    running = tide.begun(channels=[channel(events=["run.created"])])
    send(tide, 410)
    later(tide, hour, 10 * SECOND)
    for run in (ended, running):
        assert tide.log(run.run_id)[-1] == "delivery.failed"
    assert tide.get_run(run_id=running.run_id).leased_until == running.leased_until


def test_dead_delivery_of_a_run_somebody_holds_is_logged_later(tide: Tide, connect: Any) -> None:
    held, free = (tide.create_run(workflow="w", channels=[channel()]) for _ in range(2))
    for _ in range(2):
        send(tide, 410)
    other = connect(autocommit=False)
    other.execute(
        "select from tide.runs_active where run_id = %s for no key update", (held.run_id,)
    )
    tide.reconcile()
    assert tide.log(free.run_id)[-1] == "delivery.failed"
    assert tide.log(held.run_id)[-1] == "run.created"
    other.rollback()
    tide.reconcile()
    assert tide.log(held.run_id)[-1] == "delivery.failed"


def test_delivery_ends_after_three_days(tide: Tide, hour: Clock) -> None:
    post(tide)
    later(tide, hour, 3 * DAY - SECOND)
    assert outbox(tide.connection)[0].status == "pending"
    later(tide, hour, SECOND)
    (stored,) = outbox(tide.connection)
    assert (stored.status, stored.error) == ("dead", "its time was over")
    assert tide.log(stored.run_id) == ["run.created", "delivery.failed"]
    assert tide.claim_deliveries() == []


@pytest.mark.parametrize("end", ["delivered", "dead", "dropped"])
def test_redelivered_goes_out_again_with_its_id(tide: Tide, hour: Clock, end: str) -> None:
    (delivery_id,) = post(tide)
    if end == "dropped":
        tide.connection.execute(
            "update tide.deliveries set status = 'dropped', finished_at = now()"
        )
    else:
        send(tide, {"delivered": 200, "dead": 410}[end])
    tide.reconcile()
    assert outbox(tide.connection)[0].status == end
    again = tide.redeliver(delivery_id=delivery_id)
    assert (again.delivery_id, again.status, again.attempts) == (delivery_id, "pending", 0)
    assert (again.due_at, again.expires_at, again.lease_id) == (hour.now, hour.now + 3 * DAY, None)
    (claimed,) = send(tide)
    assert (claimed.delivery_id, claimed.attempt) == (delivery_id, 1)


def test_redelivered_that_dies_again_is_logged_again(tide: Tide) -> None:
    (delivery_id,) = post(tide)
    for count in (1, 2):
        (claimed,) = send(tide, 410)
        tide.reconcile()
        assert tide.log(claimed.run_id).count("delivery.failed") == count
        tide.redeliver(delivery_id=delivery_id)


def test_redeliver_leaves_a_pending_one_to_its_dispatcher(tide: Tide) -> None:
    (delivery_id,) = post(tide)
    (claimed,) = tide.claim_deliveries()
    assert tide.redeliver(delivery_id=delivery_id).attempts == 1
    assert tide.claim_deliveries() == []
    assert report(tide, claimed).status == "delivered"


def test_redeliver_does_not_wait_for_the_breaker(tide: Tide, hour: Clock) -> None:
    delivery_id = broken(tide, hour)
    tide.connection.execute("update tide.deliveries set status = 'dead', finished_at = now()")
    tide.redeliver(delivery_id=delivery_id)
    assert [claimed.delivery_id for claimed in tide.claim_deliveries()] == [delivery_id]


def broken(tide: Tide, clock: Clock, url: str = HOOK) -> UUID:
    """An endpoint that has just failed the fifth time, and its only delivery."""
    (delivery_id,) = post(tide, url=url)
    for _ in range(5):
        (claimed,) = [d for d in tide.claim_deliveries() if d.delivery_id == delivery_id]
        clock.set(report(tide, claimed, 500).due_at)
    return delivery_id


def test_breaker_opens_after_five_failures_in_a_row(tide: Tide, hour: Clock) -> None:
    post(tide)
    for failures in range(1, 6):
        (claimed,) = tide.claim_deliveries()
        due_at = report(tide, claimed, 500).due_at
        found = endpoint(tide)
        assert found.failures == failures
        assert found.open_until == (hour.now + 10 * SECOND if failures == 5 else None)
        if failures < 5:
            hour.set(due_at)
    post(tide)
    assert tide.claim_deliveries() == []
    hour.advance(10 * SECOND)
    assert len(tide.claim_deliveries()) == 1


def test_a_success_between_keeps_the_breaker_closed(tide: Tide, hour: Clock) -> None:
    for _ in range(3):
        for status in (500, 500, 500, 500, 200):
            post(tide)
            (claimed,) = tide.claim_deliveries()
            report(tide, claimed, status)
            assert endpoint(tide).open_until is None
        tide.connection.execute("delete from tide.deliveries")


def test_after_its_pause_one_attempt_decides(tide: Tide, hour: Clock) -> None:
    broken(tide, hour)
    post(tide, 10)
    for pause in (20, 40, 80, 160, 300, 300):
        hour.set(max(hour.now, endpoint(tide).open_until))
        (claimed,) = tide.claim_deliveries(max_deliveries=100)
        assert tide.claim_deliveries(max_deliveries=100) == []
        report(tide, claimed, 500)
        assert endpoint(tide).open_until - hour.now == pause * SECOND
    hour.set(endpoint(tide).open_until)
    (claimed,) = tide.claim_deliveries()
    report(tide, claimed, 200)
    assert (endpoint(tide).open_until, endpoint(tide).failures) == (None, 0)
    assert len(tide.claim_deliveries(max_deliveries=100)) == 4


def test_endpoint_gets_one_at_a_time_until_it_has_answered_well(tide: Tide) -> None:
    post(tide, 10)
    (first,) = tide.claim_deliveries(max_deliveries=100)
    assert tide.claim_deliveries(max_deliveries=100) == []
    report(tide, first)
    held = tide.claim_deliveries(max_deliveries=100)
    assert len(held) == 4
    assert tide.claim_deliveries(max_deliveries=100) == []
    report(tide, held[0])
    assert len(tide.claim_deliveries(max_deliveries=100)) == 1
    report(tide, held[1], 500)
    assert tide.claim_deliveries(max_deliveries=100) == []


def test_unproven_endpoints_share_sixteen_places(tide: Tide) -> None:
    for number in range(20):
        post(tide, 2, f"https://new{number}.example.com")
    proven_url = "https://good.example.com"
    tide.connection.execute(
        "insert into tide.endpoints (endpoint, proven) values (%s, true)", (proven_url,)
    )
    post(tide, 5, proven_url)
    claimed = tide.claim_deliveries(max_deliveries=100)
    good = [delivery for delivery in claimed if delivery.url == proven_url]
    assert (len(good), len(claimed)) == (4, 20)
    assert tide.claim_deliveries(max_deliveries=100) == []
    fresh = next(delivery for delivery in claimed if delivery.url != proven_url)
    report(tide, fresh, 500)
    assert len(tide.claim_deliveries(max_deliveries=100)) == 1


def test_a_lease_that_ran_out_takes_no_place(tide: Tide, hour: Clock) -> None:
    for number in range(17):
        post(tide, 1, f"https://new{number}.example.com")
    assert len(tide.claim_deliveries(max_deliveries=100)) == 16
    hour.advance(MINUTE)
    assert len(tide.claim_deliveries(max_deliveries=100)) == 16


def test_dead_endpoint_does_not_hold_up_the_others(tide: Tide, hour: Clock) -> None:
    tide.enqueue_many(queue="q", runs=[{"workflow": "w", "channels": [channel(DEAD)]}] * 300)
    hour.advance(SECOND)
    others = [f"https://z{number}.example.com" for number in range(9)]
    for url in others:
        post(tide, url=url)
    claimed = tide.claim_deliveries(max_deliveries=10)
    assert {delivery.url for delivery in claimed} == {DEAD, *others}


def test_a_thousand_failing_endpoints_do_not_hide_one_behind_them(tide: Tide, hour: Clock) -> None:
    tide.enqueue_many(
        queue="q",
        runs=[
            {"workflow": "w", "channels": [channel(f"https://a{number}.example.com")]}
            for number in range(1000)
        ],
    )
    tide.connection.execute(
        "insert into tide.endpoints (endpoint, failures, open_until) "
        "select d.endpoint, 9, tide._now() + interval '1 hour' from tide.deliveries as d"
    )
    post(tide, url="https://z.example.com")
    assert [d.url for d in tide.claim_deliveries()] == ["https://z.example.com"]


def test_endpoints_take_turns(tide: Tide, hour: Clock) -> None:
    urls = [f"https://{name}.example.com" for name in "cab"]
    tide.connection.execute(
        "insert into tide.endpoints (endpoint, proven) select unnest(%s::text[]), true", (urls,)
    )
    for url in urls:
        post(tide, 3, url)
    turns = []
    for _ in range(9):
        hour.advance(SECOND)
        (claimed,) = tide.claim_deliveries(max_deliveries=1)
        turns.append(claimed.url)
        report(tide, claimed)
    assert turns == sorted(urls) * 3


def test_oldest_due_goes_first(tide: Tide, hour: Clock) -> None:
    proven(tide)
    made = []
    for _ in range(3):
        hour.advance(SECOND)
        made += post(tide)
    assert [d.delivery_id for d in tide.claim_deliveries()] == made


def test_what_nobody_needs_takes_no_room(tide: Tide, hour: Clock) -> None:
    proven(tide)
    runs = [tide.begun(recovery_url=HOOK) for _ in range(20)]
    later(tide, hour, 10 * MINUTE)
    assert len(outbox(tide.connection)) == 21
    for run in runs:
        tide.cancel(run_id=run.run_id)
    hour.advance(SECOND)
    wanted = post(tide)
    assert [d.delivery_id for d in tide.claim_deliveries(max_deliveries=1)] == wanted
    assert [d.status for d in outbox(tide.connection)].count("dropped") == 20


def test_bytes_and_id_are_the_same_each_time(tide: Tide, hour: Clock) -> None:
    tide.create_run(
        workflow="w", metadata={"a": "ß"}, channels=[channel("https://a.example.com/?a=%20b")]
    )
    sent = set()
    for _ in range(5):
        claimed = alone(tide)
        sent.add((claimed.body.encode(), claimed.headers["webhook-id"], claimed.url))
        report(tide, claimed, 500)
        hour.advance(timedelta(hours=1))
    assert len(sent) == 1


def test_list_pages_newest_first(tide: Tide, hour: Clock) -> None:
    made = []
    for _ in range(7):
        hour.advance(SECOND)
        made += post(tide)
    seen: list[UUID] = []
    while page := tide.list_deliveries(max_deliveries=3, **({"before": seen[-1]} if seen else {})):
        assert len(page) <= 3
        seen += [delivery.delivery_id for delivery in page]
    assert seen == sorted(made, reverse=True)


def test_list_filters_by_status_and_run(tide: Tide) -> None:
    first, second = (tide.begun(channels=[channel()]) for _ in range(2))
    send(tide)
    assert {d.run_id for d in tide.list_deliveries(run_id=second.run_id)} == {second.run_id}
    assert len(tide.list_deliveries(status="delivered")) == 1
    assert len(tide.list_deliveries(status="pending")) == 3
    assert tide.list_deliveries(status="dead", run_id=first.run_id) == []
    with refused("22023", "status", "lost"):
        tide.list_deliveries(status="lost")
    with refused("22023", "max_deliveries"):
        tide.list_deliveries(max_deliveries=0)


def test_bad_limits_of_a_claim_are_refused(tide: Tide) -> None:
    for many in (0, 1001, -1):
        with refused("22023", "max_deliveries", many):
            tide.claim_deliveries(max_deliveries=many)
    with refused("22023", "lease"):
        tide.claim_deliveries(lease="0")


def test_sent_and_dropped_go_after_seven_days_and_dead_stay(tide: Tide, hour: Clock) -> None:
    post(tide)
    send(tide, 410)
    post(tide)
    send(tide)
    post(tide)
    tide.connection.execute(
        "update tide.deliveries set status = 'dropped', finished_at = tide._now() "
        "where status = 'pending'"
    )
    later(tide, hour, 7 * DAY)
    assert len(outbox(tide.connection)) == 3
    later(tide, hour, SECOND)
    assert [delivery.status for delivery in outbox(tide.connection)] == ["dead"]


def test_nothing_is_claimed_while_the_installation_is_paused(tide: Tide) -> None:
    post(tide)
    tide.pause()
    assert tide.claim_deliveries() == []
    tide.resume()
    assert len(tide.claim_deliveries()) == 1


def test_claim_does_not_wait_for_a_run_somebody_holds(tide: Tide, connect: Any) -> None:
    run = tide.begun(channels=[channel()], recovery_url=HOOK)
    other = connect(autocommit=False)
    other.execute("select from tide.complete(%s, %s)", (run.run_id, run.lease_id))
    (claimed,) = tide.claim_deliveries()
    report(tide, claimed)
    assert [d.type for d in tide.claim_deliveries()] == ["run.started"]
    other.rollback()


def test_claim_reads_by_index_whatever_waits(tide: Tide, connection: Connection) -> None:
    tide.enqueue_many(queue="q", runs=[{"workflow": "w", "channels": [channel(DEAD)]}] * 3000)
    connection.execute("vacuum analyze tide.deliveries")
    post(tide)
    before = value(
        connection, "select pg_stat_get_xact_tuples_returned('tide.deliveries'::regclass)"
    )
    with connection.transaction():
        tide.claim_deliveries()
        read = value(
            connection,
            """
            select sum(pg_stat_get_xact_tuples_returned(i.indexrelid))
            from pg_index as i
            where i.indrelid = 'tide.deliveries'::regclass
            """,
        )
        scanned = value(
            connection, "select pg_stat_get_xact_tuples_returned('tide.deliveries'::regclass)"
        )
    assert scanned == before == 0
    assert read < 100
