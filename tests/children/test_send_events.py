"""send_events: all or none, each run hears its own in their order, and no order deadlocks."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any
from uuid import UUID, uuid4

import pytest

from tests.roles.conftest import log_in as log_in
from tests.runs.acts import Tide, contents, refused
from tests.support import Connection, value, wait_until_blocked

Connect = Callable[..., Connection]


def event(run_id: UUID, name: str = "paid", **more: Any) -> dict[str, Any]:
    return {"run_id": str(run_id), "name": name, **more}


def mailbox(tide: Tide, run_id: UUID) -> list[tuple[str, int, Any]]:
    return [
        (row.name, row.seq, row.payload)
        for row in tide.connection.execute(
            "select name, seq, payload from tide.signals where run_id = %s order by name, seq",
            (run_id,),
        )
    ]


def test_each_run_hears_its_events_in_the_order_given(tide: Tide) -> None:
    one, two = (tide.enqueue(workflow="w").run_id for _ in range(2))
    sent = tide.send_events(
        events=[
            event(two, payload={"n": 1}),
            event(one, "sent"),
            event(two, payload={"n": 2}),
            event(one, payload=None),
        ]
    )
    assert sent == 4
    assert mailbox(tide, one) == [("paid", 1, None), ("sent", 1, None)]
    assert mailbox(tide, two) == [("paid", 1, {"n": 1}), ("paid", 2, {"n": 2})]


def test_runs_that_wait_are_resumed(tide: Tide) -> None:
    runs = [tide.started(), tide.started()]
    for run in runs:
        own = {"run_id": run.run_id, "lease_id": run.lease_id}
        assert tide.await_event(**own, name="paid").parked
    tide.send_events(events=[event(run.run_id) for run in reversed(runs)])
    assert {run.run_id for run in tide.claim(max_runs=9)} == {run.run_id for run in runs}


def test_none_is_sent_when_one_is_refused(
    tide: Tide, connection: Connection, log_in: Connect
) -> None:
    ended, run_id = tide.finished().run_id, tide.enqueue(workflow="w").run_id
    theirs = tide.enqueue(workflow="w", queue="vault").run_id
    tide.grant_queue(queue="vault", role="tide_viewer")
    client = Tide(log_in("tide_client"))
    before = contents(connection)
    told = set[str]()
    for other in (theirs, uuid4(), UUID(int=0)):
        with pytest.raises(Exception) as error:
            client.send_events(events=[event(run_id), event(other)])
        told.add(f"{error.value}".replace(str(other), "<id>"))
    assert len(told) == 1, "what is not one's own is refused as what is not there"
    with refused("TD003", ended):
        tide.send_events(events=[event(run_id), event(ended)])
    assert contents(connection) == before


@pytest.mark.parametrize(
    ("events", "words"),
    [
        (None, "events is not an array"),
        ({"run_id": "x"}, "events is not an array"),
        ([1], "events[0]"),
        ([{"run_id": str(UUID(int=1)), "name": "a", "extra": 1}], "extra"),
        ([{"run_id": "x", "name": "a"}], "events[0].run_id is not a uuid"),
        ([{"run_id": str(UUID(int=1)), "name": 7}], "events[0].name"),
        ([{"run_id": str(UUID(int=1))}], "events[0].name"),
    ],
)
def test_what_is_no_event_is_named(tide: Tide, events: Any, words: str) -> None:
    with refused("22023", words):
        tide.send_events(events=events)


def test_no_events_are_none(tide: Tide) -> None:
    assert tide.send_events(events=[]) == 0


@pytest.mark.parametrize("backwards", [False, True])
def test_runs_are_locked_by_id_whatever_the_order_given(
    tide: Tide, connection: Connection, connect: Connect, direct_dsn: str, backwards: bool
) -> None:
    """While the first is held, the second is free: so two callers never hold one each."""
    first, second = sorted(tide.enqueue(workflow="w").run_id for _ in range(2))
    holder = connect(autocommit=False)
    lock = "select from tide.runs_active where run_id = %s for update"
    holder.execute(lock, (first,))
    sender = Tide(connect(direct_dsn))
    order = [second, first] if backwards else [first, second]
    sending = threading.Thread(
        target=sender.send_events, kwargs={"events": [event(run_id) for run_id in order]}
    )
    sending.start()
    try:
        wait_until_blocked(connection, sender.connection.info.backend_pid)
        connection.execute(lock + " nowait", (second,))
    finally:
        holder.rollback()
        sending.join(60)
    assert value(connection, "select count(*) from tide.signals") == 2
