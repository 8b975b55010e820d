"""Every login may LISTEN: what is notified tells nothing to who may not know."""

from __future__ import annotations

import re
from collections.abc import Callable
from uuid import UUID, uuid4

from tests.roles.test_grant_matrix import others as others
from tests.runs.acts import Tide
from tests.support import Connection
from tidebase_pg.values import told_as

HEARD = re.compile(r"\*|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}!?")
CHANNELS = r"""
select distinct m.found[1] as name
from pg_proc as p
cross join regexp_matches(p.prosrc, 'pg_notify\(''(\w+)''', 'g') as m(found)
where p.pronamespace = 'tide'::regnamespace
"""
END = "the end"


def test_who_may_not_know_hears_nothing_it_can_tell_anything_from(
    tide: Tide, connection: Connection, others: str, log_in: Callable[..., Connection]
) -> None:
    channels = [row.name for row in connection.execute(CHANNELS.encode())]
    assert {"tide_work", "tide_events", "tide_streams"} == set(channels)
    stranger = log_in()
    for channel in channels:
        stranger.execute(f"listen {channel}".encode())
    tide.grant_queue(queue="vault", role=others)

    session = uuid4()
    secrets: list[str | UUID] = [session, "worker of the vault"]
    tide.await_work(worker="worker of the vault", queues=["vault"])
    run = tide.enqueue(workflow="pay", queue="vault", dedupe_key="card", input={"card": 1})
    secrets += [run.run_id, "vault", "pay", "card"]
    tide.watch_run(run_id=run.run_id)
    (held,) = tide.claim(queues=["vault"], worker="worker of the vault", session_id=session)
    own = {"run_id": held.run_id, "lease_id": held.lease_id}
    secrets.append(held.lease_id)
    tide.append_stream(**own, stream="out", chunks=["text"])
    secrets.append(tide.open_gate(**own, name="ok", prompt="?").token)
    tide.cancel(run_id=run.run_id, reason="asked for")
    tide.pause()
    tide.resume()
    connection.execute("select pg_notify('tide_work', %s)", (END,))

    heard: list[str] = []
    for note in stranger.notifies(timeout=10):
        if note.payload == END:
            break
        heard.append(note.payload)
    assert [payload for payload in heard if not HEARD.fullmatch(payload)] == []
    assert [text for text in secrets for payload in heard if str(text) in payload] == []
    # Who knows the secret does recognize what it is about.
    assert str(told_as("worker of the vault")) in heard
    assert str(told_as(run.run_id)) in heard
    assert f"{told_as(session)}!" in heard
    assert "*" in heard
