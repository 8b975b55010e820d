"""Following a run: every event once and in order, from anywhere, until the end."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest

from tests.support import Connection
from tidebase_pg import AsyncTidebase, NotFound, Tidebase, async_subscriptions, calls, subscriptions

PATIENCE = 60
WRITERS = 4


def write(tide: Tidebase, run_id: Any, events: int) -> list[threading.Thread]:
    """Writers of events of several kinds, in threads."""

    def work(number: int) -> None:
        for turn in range(events):
            if turn % 2:
                tide.execute(calls.set_state(run_id, turn, stream=f"s{number}"))
            else:
                tide.execute(calls.record_usage(run_id, quantity=turn))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(WRITERS)]
    for thread in threads:
        thread.start()
    return threads


@pytest.mark.parametrize("polling", [False, True])
@pytest.mark.parametrize("after", [0, 5])
def test_no_event_is_missed_or_told_twice_under_concurrent_writers(
    tide: Tidebase, monkeypatch: pytest.MonkeyPatch, polling: bool, after: int
) -> None:
    if polling:
        monkeypatch.setattr(subscriptions, "listen", lambda *_: False)
    run_id = tide.enqueue("w").run_id
    threads = write(tide, run_id, 30)
    ending = threading.Thread(
        target=lambda: ([thread.join() for thread in threads], tide.runs.cancel(run_id))
    )
    ending.start()
    events = list(tide.runs.subscribe(run_id, after=after))
    ending.join()
    assert [event.seq for event in events] == list(range(after + 1, WRITERS * 30 + 3))
    assert events[-1].type == "run.cancelled"
    assert events == tide.runs.events(run_id, after=after)


@pytest.mark.parametrize("polling", [False, True])
async def test_no_event_is_missed_by_an_async_subscriber(
    atide: AsyncTidebase, tide: Tidebase, monkeypatch: pytest.MonkeyPatch, polling: bool
) -> None:
    if polling:

        async def deaf(*_: Any) -> bool:
            return False

        monkeypatch.setattr(async_subscriptions, "listen", deaf)
    run_id = tide.enqueue("w").run_id
    threads = write(tide, run_id, 30)

    def end() -> None:
        for thread in threads:
            thread.join()
        tide.runs.cancel(run_id)

    ending = asyncio.create_task(asyncio.to_thread(end))
    seqs = [event.seq async for event in atide.runs.subscribe(run_id)]
    await ending
    assert seqs == list(range(1, WRITERS * 30 + 3))


def test_a_subscriber_hears_at_once_and_goes_on_when_its_connection_dies(
    tide: Tidebase, direct_dsn: str, connection: Connection
) -> None:
    run_id = tide.enqueue("w").run_id
    listening = Tidebase(direct_dsn)  # behind a pooler there is nothing to listen on
    events = listening.runs.subscribe(run_id)
    assert next(events).type == "run.enqueued"
    heard: list[Any] = []
    thread = threading.Thread(target=lambda: heard.extend(events))
    thread.start()
    killed = 0
    while not killed:
        killed = len(
            connection.execute(
                "select pg_terminate_backend(pid) from pg_stat_activity "
                "where query ilike 'listen%' and datname = current_database()"
            ).fetchall()
        )
    tide.execute(calls.set_state(run_id, 1))
    tide.runs.cancel(run_id)
    thread.join(PATIENCE)
    listening.close()
    assert [event.type for event in heard] == ["state.updated", "run.cancelled"]


def test_nothing_of_a_rolled_back_transaction_is_told(
    tide: Tidebase, connect: Callable[..., Connection]
) -> None:
    run_id = tide.enqueue("w").run_id
    events = tide.runs.subscribe(run_id)
    assert next(events).seq == 1
    doubtful = connect(autocommit=False)
    doubtful.execute("select tide.set_state(%s, '1')", (run_id,))
    doubtful.rollback()
    tide.runs.cancel(run_id)
    assert [event.type for event in events] == ["run.cancelled"]


def test_a_finished_run_is_told_to_its_end_and_no_further(tide: Tidebase) -> None:
    run_id = tide.enqueue("w").run_id
    tide.runs.cancel(run_id)
    tide.runs.retry(run_id)
    tide.runs.cancel(run_id)
    tide.execute(calls.record_usage(run_id, quantity=1))
    types = [event.type for event in tide.runs.subscribe(run_id)]
    assert types == ["run.enqueued", "run.cancelled", "run.retried", "run.cancelled"]
    assert list(tide.runs.subscribe(run_id, after=5)) == []


async def test_a_subscription_left_early_gives_its_connection_back(
    atide: AsyncTidebase, connection: Connection
) -> None:
    run_id = (await atide.enqueue("w")).run_id
    events = atide.runs.subscribe(run_id)
    assert (await anext(events)).seq == 1
    await events.aclose()
    while connection.execute(  # noqa: ASYNC110
        "select from pg_stat_activity where query ilike 'listen%' and datname = current_database()"
    ).fetchall():
        await asyncio.sleep(0)  # the listener sees it at its next look


def test_what_cannot_be_followed_is_refused(tide: Tidebase) -> None:
    with pytest.raises(NotFound):
        next(tide.runs.subscribe("00000000-0000-0000-0000-000000000000"))
    with pytest.raises(ValueError, match="run_id"):
        next(tide.runs.subscribe("x"))
    with pytest.raises(ValueError, match="after"):
        next(tide.runs.subscribe("00000000-0000-0000-0000-000000000000", after=-1))
