"""Many idle workers ask for runs; the database is asked once for all of them."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack
from typing import Any

import pytest

from tests.server.conftest import Http, client_of, fresh, logins_of_roles, serving
from tests.support import Connection, at_once, results, value
from tidebase_pg.server import Settings
from tidebase_pg.server.polls import Polls


class Queue:
    """Claims from it are counted, and begin when a test lets them."""

    def __init__(self) -> None:
        self.claims = 0
        self.rows: list[Any] = []
        self.open = asyncio.Event()
        self.open.set()
        self.begun = asyncio.Event()

    async def claim(self) -> list[Any]:
        self.claims += 1
        found, self.rows = self.rows, []
        self.begun.set()
        await self.open.wait()
        return found


async def poll(polls: Polls, queue: Queue, worker: str = "w", polled: str = "q") -> list[Any]:
    return await polls.claim(polled, worker, queue.claim)


async def test_idle_workers_that_ask_meanwhile_share_one_claim() -> None:
    polls, queue = Polls(), Queue()
    for worker in range(20):
        assert await poll(polls, queue, str(worker)) == []
    assert queue.claims == 20  # each is noted by the database
    shared = await asyncio.gather(*(poll(polls, queue, str(worker)) for worker in range(20)))
    assert shared == [[]] * 20
    assert queue.claims == 21


async def test_a_poll_never_shares_a_claim_that_began_before_it() -> None:
    polls, queue = Polls(), Queue()
    await poll(polls, queue)
    queue.begun.clear()
    queue.open.clear()
    before = asyncio.create_task(poll(polls, queue))
    await queue.begun.wait()
    queue.rows = ["run"]
    after = asyncio.create_task(poll(polls, queue))
    queue.open.set()
    assert await before == []
    assert await after == ["run"]


async def test_a_shared_claim_that_found_runs_lets_the_others_claim_for_themselves() -> None:
    polls, queue = Polls(), Queue()
    await poll(polls, queue)
    queue.rows = ["run"]
    found = await asyncio.gather(*(poll(polls, queue) for _ in range(5)))
    assert sorted(found) == [[], [], [], [], ["run"]]
    assert queue.claims == 1 + 5


async def test_a_shared_claim_that_failed_answers_nobody_else() -> None:
    polls, queue = Polls(), Queue()
    await poll(polls, queue)

    async def refused() -> list[Any]:
        raise ValueError("refused")

    first = asyncio.create_task(polls.claim("q", "w", refused))
    await asyncio.sleep(0)
    second = asyncio.create_task(poll(polls, queue))
    with pytest.raises(ValueError, match="refused"):
        await first
    assert await second == []
    assert queue.claims == 2


async def test_who_leaves_takes_no_shared_claim_along() -> None:
    polls, queue = Polls(), Queue()
    await poll(polls, queue)
    first = asyncio.create_task(poll(polls, queue))
    await asyncio.sleep(0)
    second = asyncio.create_task(poll(polls, queue))
    await asyncio.sleep(0)
    first.cancel()
    assert await second == []
    assert queue.claims == 2


async def test_other_queues_and_rights_are_looked_at_apart() -> None:
    polls, queue = Polls(), Queue()
    await poll(polls, queue, polled="q")
    await poll(polls, queue, polled="other")
    await asyncio.gather(poll(polls, queue, polled="q"), poll(polls, queue, polled="other"))
    assert queue.claims == 4


def claim(http: Http, queue: str) -> list[str]:
    runs = http.post("/queues/claim", {"queues": [queue]})["runs"]
    return [run["id"] for run in runs]


def test_what_was_queued_before_a_poll_is_found_by_it(http: Http) -> None:
    queue = fresh("q")
    for _ in range(10):
        assert claim(http, queue) == []
        made = http.post(f"/queues/{queue}/enqueue", {"workflowName": "w"})["run"]["id"]
        assert claim(http, queue) == [made]


def test_idle_workers_beside_each_other_take_each_run_once(http: Http) -> None:
    queue = fresh("q")
    assert claim(http, queue) == []
    wanted = {
        http.post(f"/queues/{queue}/enqueue", {"workflowName": "w"})["run"]["id"] for _ in range(4)
    }
    found = results(at_once([lambda: claim(http, queue) for _ in range(8)]))
    assert sorted(run_id for runs in found for run_id in runs) == sorted(wanted)
    assert claim(http, queue) == []


def test_idle_workers_stay_listed(http: Http, sql: Connection) -> None:
    queue, names = fresh("q"), [fresh("idle") for _ in range(3)]
    for name in names * 2:
        assert claim(http.as_worker(name), queue) == []
    listed = value(
        sql, "select array_agg(w.worker) from tide.list_workers() as w where %s = any (w.queues)",
        queue,
    )  # fmt: skip
    assert sorted(listed) == sorted(names)


def test_a_poll_without_the_right_is_refused_beside_one_that_has_it(
    module_dsn: str, sql: Connection
) -> None:
    queue, shared = fresh("closed"), "a-shared-key-of-some-length"
    sql.execute("select tide.grant_queue(%s, 'tide_operator')", [queue])
    token = value(sql, "select tide.create_key(%s, 'worker')", fresh("worker"))
    with ExitStack() as opened:
        dsns = opened.enter_context(logins_of_roles(sql, module_dsn))
        settings = Settings(dsn=module_dsn, api_key=shared, role_dsns=dsns)
        served = opened.enter_context(serving(settings))
        owner, worker = (
            opened.enter_context(client_of(served, headers={"authorization": f"Bearer {key}"}))
            for key in (shared, token)
        )
        for _ in range(3):
            assert claim(owner, queue) == []
            assert worker("POST", "/queues/claim", {"queues": [queue]})[0] == 403
