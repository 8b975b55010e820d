"""What consoles show of queues and workers, by bounded looks."""

from __future__ import annotations

from datetime import timedelta

from tests.runs.acts import Tide, refused
from tests.support import Clock, Connection, value


def test_a_queue_is_listed_with_its_runs_by_state(tide: Tide) -> None:
    tide.set_queue(queue="mail", settings={"concurrency": 2, "rate_limit": 10})
    for _ in range(3):
        tide.enqueue(workflow="report", queue="mail")
    tide.enqueue(workflow="report", queue="mail", delay=timedelta(hours=1))
    run = tide.claim(queues=["mail"])[0]
    tide.sleep(run_id=run.run_id, lease_id=run.lease_id, name="nap", duration="1 hour")
    tide.claim(queues=["mail"])
    (listed,) = tide.list_queues()
    assert (listed.queue, listed.ready, listed.running) == ("mail", 1, 1)
    assert (listed.delayed, listed.parked) == (1, 1)
    assert (listed.concurrency, listed.slots_busy, listed.rate_left) == (2, 1, 8)
    assert listed.oldest_ready_age > timedelta(0)
    assert listed.settings["paused"] is False
    assert (
        tide.list_queues(queues=["mail"])[0]
        == listed._replace(oldest_ready_age=tide.list_queues(queues=["mail"])[0].oldest_ready_age)
        or tide.list_queues(queues=["mail"])[0].queue == "mail"
    )


def test_queues_that_only_have_a_past_or_only_parked_runs_are_listed(tide: Tide) -> None:
    tide.finished(queue="past")
    run = tide.started(queue="parked")
    tide.sleep(run_id=run.run_id, lease_id=run.lease_id, name="nap", duration="1 hour")
    assert sorted(listed.queue for listed in tide.list_queues()) == ["parked", "past"]


DEEP = """
insert into tide.runs_active (
  run_id, workflow, queue, status, last_seq, ready, run_at, created_at, waiting_on
)
select
  tide._uuid7(), 'report', q.queue, 'queued', 1, q.kind = 'ready',
  case when q.kind <> 'parked' then now() + n * interval '1 second' end, now(),
  case when q.kind = 'parked' then (array['timer', 'event'])[n % 2 + 1] end
from (
  values
    ('deep', 'delayed', 10500), ('deep', 'parked', 10500), ('deep', 'ready', 10500),
    ('later', 'delayed', 3), ('waits', 'parked', 2)
) as q(queue, kind, runs)
cross join lateral generate_series(1, q.runs) as n
"""


def test_what_a_queue_holds_is_counted_to_ten_thousand_whatever_others_hold(
    tide: Tide, connection: Connection
) -> None:
    connection.execute(DEEP)
    deep, later, waits = sorted(tide.list_queues(), key=lambda row: str(row.queue))
    assert (deep.ready, deep.delayed, deep.parked) == (10001, 10001, 10001)
    assert (later.queue, later.ready, later.delayed, later.parked) == ("later", 0, 3, 0)
    assert (waits.queue, waits.ready, waits.delayed, waits.parked) == ("waits", 0, 0, 2)
    assert tide.list_queues(queues=["waits"]) == [waits]
    parked = {"event": 5251, "timer": 5251}
    assert value(connection, "select tide.overview() -> 'parked'") == parked


def test_throughput_counts_what_ended_by_bucket_before_and_after_upkeep(
    tide: Tide, clock: Clock
) -> None:
    clock.set(clock.now.replace(minute=0, second=30, microsecond=0) + timedelta(hours=2))
    tide.finished(queue="a")
    tide.finished(queue="b")

    def counted(**arguments: object) -> list[tuple[str | None, int]]:
        rows = tide.throughput(duration="1 hour", bucket="15 minutes", **arguments)
        return [(row.queue, row.completed) for row in rows]

    assert counted() == [(None, 2)]
    assert counted(queues=["a", "b"]) == [("a", 1), ("b", 1)]
    clock.advance(timedelta(minutes=20))
    tide.reconcile()
    tide.finished(queue="a")
    assert counted() == [(None, 2), (None, 1)]
    assert counted(queues=["b"]) == [("b", 1)]
    clock.advance(timedelta(hours=3))
    assert counted() == []
    with refused("22023", "bucket"):
        tide.throughput(bucket="0 seconds")


def test_workers_are_listed_with_what_they_hold(tide: Tide, clock: Clock) -> None:
    clock.set()
    for _ in range(2):
        tide.enqueue(workflow="report", queue="mail")
    tide.claim(queues=["mail"], worker="one", lease="1 minute", max_runs=2)
    tide.claim(queues=["other"], worker="two", workflows=["digest"])
    tide.begun()
    clock.advance(timedelta(minutes=2))
    one, two = sorted(
        (row for row in tide.list_workers() if row.worker), key=lambda row: str(row.worker)
    )
    assert (one.queues, one.running, one.expired) == (["mail"], 2, 2)
    assert (two.workflows, two.running) == (["digest"], 0)
    (nameless,) = (row for row in tide.list_workers() if row.worker is None)
    assert (nameless.running, nameless.seen_at) == (1, None)
