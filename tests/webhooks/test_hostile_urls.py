"""Wherever a URL is taken, one that leads inside is refused, or nothing is connected to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import psycopg
import pytest

from tests.runs.acts import Tide
from tests.server.conftest import Http, client_of, serving
from tests.webhooks.receivers import Raw, silence
from tests.webhooks.receivers import raw as raw
from tidebase_pg import Tidebase
from tidebase_pg.server import Settings
from tidebase_pg.webhooks.http_sender import lookup

HOSTILE = [
    # This machine, as it is and as resolvers read it.
    "http://127.0.0.1:{port}/",
    "https://127.0.0.1:{port}/",
    "http://127.255.255.254:{port}/",
    "http://127.1:{port}/",
    "http://127.0.1:{port}/",
    "http://2130706433:{port}/",
    "http://0x7f000001:{port}/",
    "http://0x7f.0.0.1:{port}/",
    "http://0x7f.1:{port}/",
    "http://0177.0.0.1:{port}/",
    "http://017700000001:{port}/",
    "http://127.0.0.1.:{port}/",
    "http://0.0.0.0:{port}/",
    "http://0:{port}/",
    "http://localhost:{port}/",
    "http://localhost.:{port}/",
    "http://LOCALHOST:{port}/",
    # IPv6, and IPv4 inside it.
    "http://[::1]:{port}/",
    "http://[::]:{port}/",
    "http://[0:0:0:0:0:0:0:1]:{port}/",
    "http://[::ffff:127.0.0.1]:{port}/",
    "http://[::ffff:7f00:1]:{port}/",
    "http://[::127.0.0.1]:{port}/",
    "http://[64:ff9b::7f00:1]:{port}/",
    "http://[64:ff9b:1::127.0.0.1]:{port}/",
    "http://[2002:7f00:1::]:{port}/",
    "http://[2001:0:7f00:1::1]:{port}/",
    "http://[fe80::1]:{port}/",
    "http://[fe80::1%25lo]:{port}/",
    "http://[fc00::1]:{port}/",
    "http://[ff02::1]:{port}/",
    # Networks nobody else has, and the metadata of clouds.
    "http://10.0.0.1:{port}/",
    "http://172.16.0.1:{port}/",
    "http://192.168.0.1:{port}/",
    "http://169.254.169.254/latest/meta-data/",
    "http://2852039166/latest/meta-data/",
    "http://0xa9fea9fe/latest/meta-data/",
    "http://0251.0376.0251.0376/latest/meta-data/",
    "http://[::ffff:169.254.169.254]/latest/meta-data/",
    "http://[fd00:ec2::254]/latest/meta-data/",
    "http://[fd20:ce::254]/computeMetadata/v1/",
    "http://100.100.100.200/latest/meta-data/",
    "http://168.63.129.16/metadata/instance",
    "http://192.0.0.192/opc/v2/",
    # Names that answer with such addresses.
    "http://rebinding.example:{port}/",
    "http://REBINDING.example.:{port}/",
    "http://127.0.0.1.nip.example:{port}/",
    "http://metadata.google.internal/computeMetadata/v1/",
    "http://mixed.example:{port}/",
    "http://mapped.example:{port}/",
    "http://nowhere.example:{port}/",
    # Two hosts in one URL, encodings, other scripts, other schemes.
    "http://user@127.0.0.1:{port}/",
    "http://hooks.example:{port}@127.0.0.1:{port}/",
    "http://127.0.0.1:{port}\\@hooks.example/",
    "http://127.0.0.1:{port}#@hooks.example/",
    "http://hooks.example:{port}:80/",
    "http://%31%32%37.0.0.1:{port}/",
    "http://127%2e0%2e0%2e1:{port}/",
    "http://\uff11\uff12\uff17.0.0.1:{port}/",
    "http://127\u30020\u30020\u30021:{port}/",
    "http://\u24db\u24de\u24d2\u24d0\u24db\u24d7\u24de\u24e2\u24e3:{port}/",
    "http://\u2460\u2461\u2466.0.0.1:{port}/",
    "http://127.0.0.1:{port}/\r\nX-Injected: 1",
    "http://127.0.0.1\t:{port}/",
    " http://127.0.0.1:{port}/",
    "http:127.0.0.1:{port}/",
    "//127.0.0.1:{port}/",
    "gopher://127.0.0.1:{port}/_x",
    "file:///etc/passwd",
    "dict://127.0.0.1:{port}/",
]
NAMES = {
    "rebinding.example": ["127.0.0.1"],
    "127.0.0.1.nip.example": ["127.0.0.1"],
    "metadata.google.internal": ["169.254.169.254"],
    "mixed.example": ["1.1.1.1", "127.0.0.1"],
    "mapped.example": ["::ffff:127.0.0.1"],
    "nowhere.example": [],
}


def resolve(host: str, port: int) -> Sequence[str]:
    """Names of the list as their owner answers; others as the system does."""
    found = NAMES.get(host.lower().rstrip("."))
    return lookup(host, port) if found is None else found


def hook(url: str) -> dict[str, Any]:
    return {"type": "webhook", "url": url, "events": ["run.created", "run.enqueued"]}


# --- places in SQL --------------------------------------------------------------------------


def channel_of_enqueue(tide: Tide, url: str) -> None:
    tide.enqueue(workflow="w", channels=[hook(url)])


def channel_of_enqueue_many(tide: Tide, url: str) -> None:
    tide.enqueue_many(queue="default", runs=[{"workflow": "w", "channels": [hook(url)]}])


def channel_of_create_run(tide: Tide, url: str) -> None:
    tide.create_run(workflow="w", channels=[hook(url)])


def channel_of_spawn(tide: Tide, url: str) -> None:
    parent = tide.begun()
    own = {"run_id": parent.run_id, "lease_id": parent.lease_id}
    tide.spawn(**own, edge="e", workflow="w", options={"channels": [hook(url)]})


def channel_of_a_gate(tide: Tide, url: str) -> None:
    run = tide.begun()
    channels = [{"type": "webhook", "url": url}]
    tide.open_gate(
        run_id=run.run_id, lease_id=run.lease_id, name="g", prompt="?", channels=channels
    )


def gate_channels_of_a_queue(tide: Tide, url: str) -> None:
    channels = [{"type": "webhook", "url": url}]
    tide.set_queue(queue="asking", settings={"gate_channels": channels})
    run = tide.started(queue="asking")
    tide.open_gate(run_id=run.run_id, lease_id=run.lease_id, name="g", prompt="?")
    tide.set_queue(queue="asking", settings={"gate_channels": None})


def push_url_of_a_queue(tide: Tide, url: str) -> None:
    queue = f"pushed-{abs(hash(url))}"
    tide.set_queue(queue=queue, settings={"push_url": url})
    tide.enqueue(workflow="w", queue=queue)


def recovery_url_of_create_run(tide: Tide, url: str) -> None:
    tide.recover(run_id=tide.create_run(workflow="w", recovery_url=url).run_id)


def recovery_url_of_enqueue(tide: Tide, url: str) -> None:
    tide.recover(run_id=tide.enqueue(workflow="w", recovery_url=url).run_id)


def recovery_url_of_enqueue_many(tide: Tide, url: str) -> None:
    runs = [{"workflow": "w", "recovery_url": url}]
    tide.recover(run_id=tide.enqueue_many(queue="default", runs=runs)[0].run_id)


def recovery_url_of_spawn(tide: Tide, url: str) -> None:
    parent = tide.begun()
    own = {"run_id": parent.run_id, "lease_id": parent.lease_id}
    child = tide.spawn(**own, edge="e", workflow="w", options={"recovery_url": url})
    tide.recover(run_id=child.child_id)


# --- places over HTTP -----------------------------------------------------------------------


def channel_of_enqueue_over_http(http: Http, url: str) -> int:
    return http("POST", "/queues/q/enqueue", {"workflowName": "w", "channels": [hook(url)]})[0]


def channel_of_create_over_http(http: Http, url: str) -> int:
    return http("POST", "/runs/w", {"channels": [hook(url)]})[0]


def channel_of_a_gate_over_http(http: Http, url: str) -> int:
    run_id, _ = http.begun()
    body = {"name": "g", "prompt": "?", "channels": [{"type": "webhook", "url": url}]}
    return http("POST", f"/runs/{run_id}/gates/begin", body)[0]


def channel_of_a_child_over_http(http: Http, url: str) -> int:
    run_id, _ = http.begun()
    body = {"name": "c", "workflowName": "w", "channels": [hook(url)]}
    return http("POST", f"/runs/{run_id}/children", body)[0]


def recovery_url_of_enqueue_over_http(http: Http, url: str) -> int:
    return _recovered(http, "/queues/q/enqueue", {"workflowName": "w", "recoveryWebhook": url})


def recovery_url_of_create_over_http(http: Http, url: str) -> int:
    return _recovered(http, "/runs/w", {"recoveryWebhook": url})


def recovery_url_of_a_child_over_http(http: Http, url: str) -> int:
    run_id, _ = http.begun()
    body = {"name": "c", "workflowName": "w", "recoveryWebhook": url}
    return _recovered(http, f"/runs/{run_id}/children", body)


def push_url_of_a_queue_over_http(http: Http, url: str) -> int:
    queue = f"pushed-{abs(hash(url))}"
    status, _ = http("PUT", f"/queues/{queue}/config", {"invokeUrl": url})
    if status == 200:
        http.post(f"/queues/{queue}/enqueue", {"workflowName": "w"})
    return status


def _recovered(http: Http, path: str, body: dict[str, Any]) -> int:
    status, made = http("POST", path, body)
    if status < 300:
        http.post(f"/runs/{(made.get('run') or made['child'])['id']}/recover")
    return status


IN_SQL: list[Callable[[Tide, str], None]] = [
    channel_of_enqueue, channel_of_enqueue_many, channel_of_create_run, channel_of_spawn,
    channel_of_a_gate, gate_channels_of_a_queue, push_url_of_a_queue, recovery_url_of_create_run,
    recovery_url_of_enqueue, recovery_url_of_enqueue_many, recovery_url_of_spawn,
]  # fmt: skip
OVER_HTTP: list[Callable[[Http, str], int]] = [
    channel_of_enqueue_over_http, channel_of_create_over_http, channel_of_a_gate_over_http,
    channel_of_a_child_over_http, recovery_url_of_enqueue_over_http,
    recovery_url_of_create_over_http, recovery_url_of_a_child_over_http,
    push_url_of_a_queue_over_http,
]  # fmt: skip
NEVER_ASKED: list[Callable[..., Any]] = [
    recovery_url_of_enqueue, recovery_url_of_enqueue_many, recovery_url_of_enqueue_over_http,
]  # fmt: skip
"""Runs of a queue keep the URL, and nothing is posted to it: a worker takes them up."""


@pytest.mark.parametrize("place", IN_SQL)
def test_no_place_in_sql_takes_a_webhook_inside(
    tide: Tide, dsn: str, raw: Callable[..., Raw], place: Callable[[Tide, str], None]
) -> None:
    inside = raw(silence)
    stored = 0
    for url in urls(inside):
        try:
            with tide.connection.transaction():
                place(tide, url)
        except psycopg.errors.InvalidParameterValue as error:
            assert "url" in str(error).splitlines()[0]
        else:
            stored += 1
    tide.reconcile()
    assert_nothing_goes_inside(dsn, inside, stored, place not in NEVER_ASKED)


@pytest.mark.parametrize("place", OVER_HTTP)
def test_no_place_over_http_takes_a_webhook_inside(
    tide: Tide, dsn: str, raw: Callable[..., Raw], place: Callable[[Http, str], int]
) -> None:
    inside = raw(silence)
    stored = 0
    with serving(Settings(dsn=dsn)) as served, client_of(served) as http:
        for url in urls(inside):
            status = place(http, url)
            assert status in (200, 201, 400), (url, status)
            stored += status < 300
    tide.reconcile()
    assert_nothing_goes_inside(dsn, inside, stored, place not in NEVER_ASKED)


def urls(inside: Raw) -> list[str]:
    return [url.replace("{port}", str(inside.port)) for url in HOSTILE]


def assert_nothing_goes_inside(dsn: str, inside: Raw, stored: int, asked: bool) -> None:
    """Of what was stored each is tried, and refused before anything is connected to; with all
    else allowed, so that it is the address that is refused."""
    assert len(HOSTILE) >= 44
    assert stored >= 44, "what looks like a URL is kept, since names change what they mean"
    with Tidebase(dsn) as tide:
        dispatcher = tide.dispatcher(allow_ports=[inside.port], allow_http=True, resolve=resolve)
        report = dispatcher.run(once=True)
        tried = [row for row in tide.deliveries.list(max_deliveries=1000) if row.attempts]
    assert (report.delivered, len(tried)) == (0, stored if asked else 0)
    for row in tried:
        assert row.http_status is None, row.url
        assert (row.error or "").startswith("not sent"), (row.url, row.error)
    assert inside.accepted == 0
