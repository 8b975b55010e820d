"""Channels: every event is sent to those who want it, in the transaction of the change."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID, uuid4

import pytest

from tests.runs.acts import MINUTE, Tide, refused
from tests.support import Clock, Connection, value
from tests.webhooks.outbox import HOOK, body, channel, later, outbox, pushing, report, types

ALL = [channel()]


def bodies(connection: Connection, run_id: UUID) -> list[tuple[str, Any]]:
    return [(d.type, json.loads(d.body)["payload"]) for d in outbox(connection, run_id)]


def logged(tide: Tide, run_id: UUID) -> list[tuple[str, Any]]:
    return [(event.type, event.payload) for event in tide.list_events(run_id=run_id)]


def told(read: dict[str, Any]) -> Any:
    """The payload as it is logged: about a gate more is sent."""
    payload = read.get("payload")
    if payload is not None and isinstance(payload.get("gate"), dict):
        del payload["gate"]
    return payload


KEYS = [
    *("type", "run_id", "runId", "gate_id", "gateId", "delivery_id", "deliveryId"),
    *("seq", "attempt", "created_at", "payload"),
]


def lead_a_life(tide: Tide, clock: Clock) -> list[UUID]:
    """Runs that between them meet every type of event but delivery.failed."""
    run = tide.started(queue="work", max_attempts=3, channels=ALL)
    held = {"run_id": run.run_id, "lease_id": run.lease_id}
    tide.begin_step(**held, name="one")
    tide.complete_step(**held, name="one", output=1)
    tide.begin_step(**held, name="two")
    tide.fail_step(**held, name="two", error={"message": "no"}, retryable=True)
    tide.set_state(run_id=run.run_id, value={"a": 1})
    tide.save_state(run_id=run.run_id, label="here")
    tide.create_snapshot(run_id=run.run_id, label="then", state={})
    tide.record_usage(run_id=run.run_id, total_tokens=3)
    tide.spawn(**held, edge="child", workflow="child", queue="elsewhere")
    rules = {"quorum": 2, "assignees": ["ann", "bob"]}
    rules |= {"escalate_after": "0", "escalate_to": ["eve"]}
    gate = tide.open_gate(**held, name="ask", prompt="?", rules=rules)
    tide.await_gate(**held, gate_id=gate.gate_id)
    tide.reconcile()
    for note in ("viewed", "commented", "reminded"):
        tide.note_gate(gate_id=gate.gate_id, note=note, actor="ann", comment="?")
    for actor in ("ann", "eve"):
        tide.decide_gate(gate_id=gate.gate_id, decision="approved", actor=actor)
    (run,) = tide.claim(queues=["work"])
    tide.fail(run_id=run.run_id, lease_id=run.lease_id, error={"message": "no"})
    clock.advance(MINUTE)
    (run,) = tide.claim(queues=["work"])
    tide.fail(run_id=run.run_id, lease_id=run.lease_id, error={}, retryable=False)
    tide.retry(run_id=run.run_id)
    tide.cancel(run_id=run.run_id)

    reviewed = tide.started(queue="work", max_attempts=2, lease="1 s", channels=ALL)
    tide.begin_step(
        run_id=reviewed.run_id,
        lease_id=reviewed.lease_id,
        name="pay",
        contract={"side_effects": ["payment"]},
    )
    later(tide, clock)
    (again,) = tide.claim(queues=["work"])
    tide.refuse_report(run_id=again.run_id, kind="fail", error={"message": "no"})
    tide.begin_step(
        run_id=again.run_id,
        lease_id=again.lease_id,
        name="pay",
        contract={"side_effects": ["payment"]},
    )

    pushing(tide)
    invoked = tide.enqueue(workflow="report", queue="pushed", channels=ALL).run_id
    tide.reconcile()
    begun = tide.begin_run(run_id=invoked)
    tide.complete(run_id=invoked, lease_id=begun.lease_id)

    stalled = tide.begun(recovery_url=HOOK, channels=ALL)
    later(tide, clock, 2 * MINUTE)
    return [run.run_id, reviewed.run_id, invoked, stalled.run_id]


def test_every_event_is_sent_as_it_is_logged(tide: Tide, hour: Clock) -> None:
    run_ids = lead_a_life(tide, hour)
    met = set()
    for run_id in run_ids:
        sent = [
            (kind, payload)
            for kind, payload in ((d.type, told(body(d))) for d in outbox(tide.connection, run_id))
            if kind not in ("run.invoke", "run.resume")
        ]
        assert sorted(sent, key=repr) == sorted(logged(tide, run_id), key=repr)
        met |= {kind for kind, _ in sent}
    known = set(value(tide.connection, "select tide._event_types()"))
    assert met == known - {"delivery.failed"}


def test_body_has_these_keys_and_no_others(tide: Tide) -> None:
    run = tide.started(channels=ALL)
    gate = tide.open_gate(run_id=run.run_id, lease_id=run.lease_id, name="ask", prompt="?")
    for delivery in outbox(tide.connection, run.run_id):
        of_gate = delivery.type == "gate.created"
        read = body(delivery)
        assert list(read) == KEYS
        assert read["type"] == delivery.type
        assert read["run_id"] == str(run.run_id)
        assert read["gate_id"] == (str(gate.gate_id) if of_gate else None)
        assert read["delivery_id"] == str(delivery.delivery_id)
        assert isinstance(read["payload"], dict)
    sent = {d.type: json.loads(d.body) for d in claimed(tide)}
    assert {tuple(read) for read in sent.values()} == {tuple(KEYS)}


def test_ids_are_told_as_clients_of_the_http_door_know_them(tide: Tide) -> None:
    run = tide.started(channels=ALL)
    gate = tide.open_gate(run_id=run.run_id, lease_id=run.lease_id, name="ask", prompt="?")
    for delivery in outbox(tide.connection, run.run_id):
        read = body(delivery)
        assert read["runId"] == f"run_{run.run_id.hex}"
        assert read["deliveryId"] == f"del_{delivery.delivery_id.hex}"
        of_gate = delivery.type == "gate.created"
        assert read["gateId"] == (f"gate_{gate.gate_id.hex}" if of_gate else None)


def test_what_a_gate_asks_goes_with_its_events(tide: Tide) -> None:
    run = tide.started()
    gate = tide.open_gate(
        channels=[channel()],
        run_id=run.run_id,
        lease_id=run.lease_id,
        name="ask",
        prompt='Send "it"?',
        data={"to": "ann"},
    )
    asking = {
        "id": f"gate_{gate.gate_id.hex}",
        "runId": f"run_{run.run_id.hex}",
        "name": "ask",
        "prompt": 'Send "it"?',
        "data": {"to": "ann"},
        "status": "pending",
        "decision": None,
        "actor": None,
        "capability": None,
        "resolveUrl": f"/runs/run_{run.run_id.hex}/gates/gate_{gate.gate_id.hex}/resolve",
    }
    (stored,) = [d for d in outbox(tide.connection) if d.type == "gate.created"]
    assert body(stored)["payload"]["gate"] == asking
    assert gate.token not in stored.body
    (sent,) = [json.loads(d.body) for d in claimed(tide) if d.type == "gate.created"]
    assert sent["payload"]["gate"] == asking | {"resolveToken": gate.token}
    tide.decide_gate(gate_id=gate.gate_id, decision="approved", actor="ann")
    (resolved,) = [json.loads(d.body) for d in claimed(tide) if d.type == "gate.resolved"]
    decided = {"status": "approved", "decision": "approved", "actor": "ann"}
    assert resolved["payload"]["gate"] == asking | decided


def claimed(tide: Tide) -> list[Any]:
    """All that is due, one after the other: the endpoint answers well."""
    found: list[Any] = []
    while more := tide.claim_deliveries(max_deliveries=100):
        for delivery in more:
            report(tide, delivery)
        found += more
    return found


def test_what_is_rolled_back_is_not_sent(tide: Tide) -> None:
    run = tide.begun(channels=ALL)
    before = types(tide.connection)
    with tide.connection.transaction(force_rollback=True):
        tide.complete(run_id=run.run_id, lease_id=run.lease_id)
        tide.create_run(workflow="other", channels=ALL)
        assert len(types(tide.connection)) == len(before) + 2
    assert types(tide.connection) == before == ["run.created", "run.started"]


def test_only_events_asked_for_are_sent(tide: Tide) -> None:
    run = tide.begun(
        channels=[
            channel(events=["run.completed", "run.failed"]),
            channel("https://other.example.com", events=["run.started"]),
            channel("https://all.example.com", events=[]),
            channel("https://null.example.com", events=None, secret_name=None),
        ]
    )
    tide.complete(run_id=run.run_id, lease_id=run.lease_id)
    sent = {}
    for delivery in outbox(tide.connection, run.run_id):
        sent.setdefault(delivery.endpoint, []).append(delivery.type)
    every = ["run.created", "run.started", "run.completed"]
    assert sent == {
        "https://hooks.example.com": ["run.completed"],
        "https://other.example.com": ["run.started"],
        "https://all.example.com": every,
        "https://null.example.com": every,
    }


def test_run_without_channels_sends_nothing(tide: Tide) -> None:
    for channels in ([], None):
        tide.begun(channels=channels)
        tide.started(channels=channels)
    assert outbox(tide.connection) == []


def test_channels_of_a_gate_get_events_of_that_gate_only(tide: Tide) -> None:
    run = tide.begun()
    held = {"run_id": run.run_id, "lease_id": run.lease_id}
    asked = tide.open_gate(**held, name="one", prompt="?", channels=ALL)
    other = tide.open_gate(**held, name="two", prompt="?")
    for gate in (other, asked):
        tide.decide_gate(gate_id=gate.gate_id, decision="approved", actor="ann")
    tide.complete(**held)
    sent = outbox(tide.connection, run.run_id)
    assert [d.type for d in sent] == ["gate.created", "gate.resolved"]
    assert {body(d)["gate_id"] for d in sent} == {str(asked.gate_id)}


def test_channels_of_a_gate_are_given_once(tide: Tide) -> None:
    run = tide.begun()
    for _ in range(2):
        tide.open_gate(
            run_id=run.run_id, lease_id=run.lease_id, name="one", prompt="?", channels=ALL
        )
    assert types(tide.connection) == ["gate.created"]


def asked(tide: Tide, **options: Any) -> tuple[Any, Any]:
    run = tide.begun()
    gate = tide.open_gate(
        run_id=run.run_id,
        lease_id=run.lease_id,
        name="ask",
        prompt="?",
        channels=ALL,
        **options,
    )
    return run, gate


def test_token_is_in_what_is_sent_and_decides(tide: Tide) -> None:
    _, gate = asked(tide)
    (delivery,) = tide.claim_deliveries()
    token = json.loads(delivery.body)["token"]
    assert token == gate.token
    decided = tide.resolve_gate(gate_id=gate.gate_id, token=token, decision="approved", actor="a")
    assert decided.status == "approved"


def test_token_is_nowhere_else(tide: Tide) -> None:
    run, gate = asked(tide)
    tide.claim_deliveries()
    shown = [
        repr(tide.list_deliveries()),
        repr(tide.list_events(run_id=run.run_id)),
        repr(tide.describe_run(run_id=run.run_id)),
        repr(outbox(tide.connection)[0].body),
        repr(tide.get_gate(gate_id=gate.gate_id)),
    ]
    assert not any(gate.token in text for text in shown)
    (listed,) = tide.list_deliveries()
    assert (listed.token, listed.lease_id, listed.ended_lease_id) == (None, None, None)


@pytest.mark.parametrize("ending", ["decided", "timed out", "cancelled"])
def test_token_is_not_sent_once_the_gate_is_closed(tide: Tide, hour: Clock, ending: str) -> None:
    run, gate = asked(tide, timeout=MINUTE)
    if ending == "decided":
        tide.decide_gate(gate_id=gate.gate_id, decision="approved", actor="ann")
    elif ending == "cancelled":
        tide.cancel(run_id=run.run_id)
    else:
        later(tide, hour)
    assert value(tide.connection, "select count(token) from tide.deliveries") == 0
    created = next(d for d in claimed(tide) if d.type == "gate.created")
    assert list(json.loads(created.body)) == KEYS


def test_token_is_forgotten_when_it_was_delivered(tide: Tide) -> None:
    asked(tide)
    (delivery,) = tide.claim_deliveries()
    report(tide, delivery)
    assert outbox(tide.connection)[0].token is None
    again = tide.redeliver(delivery_id=delivery.delivery_id)
    assert again.token is None
    (delivery,) = tide.claim_deliveries()
    assert "token" not in json.loads(delivery.body)


def test_token_is_kept_for_what_was_given_up_and_is_sent_again(tide: Tide) -> None:
    _, gate = asked(tide)
    (delivery,) = tide.claim_deliveries()
    report(tide, delivery, 410)
    assert tide.redeliver(delivery_id=delivery.delivery_id).token is None
    (delivery,) = tide.claim_deliveries()
    assert json.loads(delivery.body)["token"] == gate.token


def test_channels_come_through_every_way_to_make_a_run(tide: Tide) -> None:
    made = [
        tide.create_run(workflow="w", channels=ALL).run_id,
        tide.enqueue(workflow="w", channels=ALL).run_id,
        tide.enqueue(workflow="w", dedupe_key="key", channels=ALL).run_id,
        tide.enqueue(workflow="w", run_id=uuid4(), channels=ALL).run_id,
        tide.create_run(workflow="w", run_id=uuid4(), channels=ALL).run_id,
    ]
    many = tide.enqueue_many(
        queue="q",
        runs=[
            {"workflow": "w", "channels": ALL},
            {"workflow": "w"},
            {"workflow": "w", "dedupe_key": "k", "channels": [*ALL, *ALL]},
            {"workflow": "w", "channels": None},
        ],
    )
    assert [len(outbox(tide.connection, run_id)) for run_id in made] == [1] * 5
    assert [len(outbox(tide.connection, row.run_id)) for row in many] == [1, 0, 2, 0]
    # Whoever claims and settles asks for nothing but watchers: with channels each event is a row.
    for queue in ("default", "q"):
        claimed = tide.claim(queues=[queue], max_runs=9, worker="w")
        tide.settle(
            outcomes=[{"run_id": str(r.run_id), "lease_id": str(r.lease_id)} for r in claimed]
        )
    queued = [*made[1:4], many[0].run_id, many[2].run_id]
    life = ["run.enqueued", "run.claimed", "run.completed"]
    assert [sorted(set(types(tide.connection, id_))) for id_ in queued] == [sorted(life)] * 5
    assert len(outbox(tide.connection, many[2].run_id)) == 6


def test_channels_of_an_id_given_twice_miss_nothing(tide: Tide) -> None:
    run_id = str(uuid4())
    tide.enqueue_many(
        queue="q",
        runs=[
            {"workflow": "w", "run_id": run_id, "dedupe_key": "b", "channels": ALL},
            {"workflow": "w", "run_id": run_id, "dedupe_key": "a"},
        ],
    )
    tide.claim(queues=["q"])
    assert types(tide.connection, UUID(run_id)) == ["run.enqueued", "run.claimed"]


def test_a_call_repeated_with_its_id_adds_no_channel(tide: Tide) -> None:
    plain, queued, many = uuid4(), uuid4(), uuid4()
    for _ in range(2):
        tide.create_run(workflow="w", run_id=plain, channels=ALL)
        tide.enqueue(workflow="w", run_id=queued, channels=ALL)
        tide.enqueue_many(
            queue="q", runs=[{"workflow": "w", "run_id": str(many), "channels": ALL}] * 2
        )
    for run_id in (plain, queued, many):
        assert len(outbox(tide.connection, run_id)) == 1
        tide.cancel(run_id=run_id)
        assert types(tide.connection, run_id)[1:] == ["run.cancelled"]


def test_a_run_that_exists_already_keeps_its_channels(tide: Tide) -> None:
    first = tide.enqueue(workflow="w", dedupe_key="key", channels=ALL)
    second = tide.enqueue(
        workflow="w", dedupe_key="key", channels=[channel("https://late.example.com")]
    )
    assert second.run_id == first.run_id
    tide.cancel(run_id=first.run_id)
    assert {d.endpoint for d in outbox(tide.connection)} == {"https://hooks.example.com"}


BAD: list[tuple[Any, tuple[str, ...]]] = [
    ({}, ("channels",)),
    ("x", ("channels",)),
    ([1], ("channels[0]",)),
    ([{"url": HOOK, "urls": 1}], ("channels[0]", "urls")),
    ([channel(), {"url": HOOK, "secret": "x"}], ("channels[1]", "secret")),
    ([{"type": "mail", "url": HOOK}], ("channels.type", "mail")),
    ([{"type": "webhook"}], ("channels.url",)),
    ([channel(events=["run.ended"])], ("channels.events", "run.ended")),
    ([channel(events=[None])], ("channels.events",)),
    ([channel(events=[1])], ("channels.events",)),
    ([channel(events="run.completed")], ("channels.events",)),
    ([channel(events={"run.completed": 1})], ("channels.events",)),
    ([channel(secret_name="")], ("channels.secret_name",)),
    ([channel(secret_name="x" * 200)], ("channels.secret_name",)),
    ([channel()] * 11, ("channels", "10")),
]
BAD_URLS: list[Any] = [
    None,
    "",
    1,
    "hooks.example.com",
    "//hooks.example.com",
    "file:///etc/passwd",
    "ftp://hooks.example.com",
    "HTTPS:hooks.example.com",
    "https://",
    "https:///path",
    "https://user@hooks.example.com",
    "https://user:word@hooks.example.com/",
    "https://user:12@hooks.example.com/",
    "https://hooks.example.com#there",
    "https://hooks.example.com/a#there",
    "https://høøks.example.com",
    "https://hooks.example.com/ø",
    "https://hooks.example.com:0/",
    "https://hooks.example.com:65536/",
    "https://hooks.example.com:x/",
    "https://hooks.example.com:/",
    "https://[::1/",
    "https://hooks.example.com\\@other.example.com",
    " https://hooks.example.com",
    "https://hooks.example.com/a b",
    "https://hooks.example.com/\n",
    "https://hooks.example.com/" + "x" * 8192,
    "https://hooks.example.com/" + "x" * (2049 - 26),
]


@pytest.mark.parametrize(("channels", "words"), BAD, ids=repr)
def test_bad_channels_are_refused_and_nothing_is_made(
    tide: Tide, channels: Any, words: tuple[str, ...]
) -> None:
    check_refused(tide, channels, words)


@pytest.mark.parametrize("url", BAD_URLS, ids=lambda url: repr(url)[:60])
def test_bad_url_is_refused_and_nothing_is_made(tide: Tide, url: Any) -> None:
    check_refused(tide, [{"type": "webhook", "url": url}], ("channels.url",))
    if isinstance(url, str):
        with refused("22023", "recovery_url"):
            tide.create_run(workflow="w", recovery_url=url)
        with refused("22023", "push_url"):
            tide.set_queue(queue="q", settings={"push_url": url})


def check_refused(tide: Tide, channels: Any, words: tuple[str, ...]) -> None:
    run = tide.begun()
    given = json.dumps(channels)
    with refused("22023", *words):
        tide.create_run(workflow="w", channels=given)
    with refused("22023", *words):
        tide.enqueue(workflow="w", channels=given)
    with refused("22023", "runs[1].", *words):
        tide.enqueue_many(
            queue="q", runs=[{"workflow": "w"}, {"workflow": "w", "channels": channels}]
        )
    with refused("22023", *words):
        tide.open_gate(
            run_id=run.run_id, lease_id=run.lease_id, name="n", prompt="?", channels=given
        )
    assert value(tide.connection, "select count(*) from tide.runs") == 1
    assert value(tide.connection, "select count(*) from tide.channels") == 0
    assert value(tide.connection, "select count(*) from tide.gates") == 0


@pytest.mark.parametrize(
    ("url", "endpoint"),
    [
        ("https://Hooks.Example.com", "https://hooks.example.com"),
        ("http://hooks.example.com:8080/a?b=c", "http://hooks.example.com:8080"),
        ("https://hooks.example.com:65535?x", "https://hooks.example.com:65535"),
        ("http://[::1]:80/", "http://[::1]:80"),
        ("http://127.0.0.1/%20", "http://127.0.0.1"),
        ("https://hooks.example.com/" + "x" * (2048 - 26), "https://hooks.example.com"),
    ],
)
def test_urls_that_are_taken_and_their_endpoints(tide: Tide, url: str, endpoint: str) -> None:
    tide.create_run(workflow="w", channels=[channel(url)])
    (delivery,) = outbox(tide.connection)
    assert (delivery.url, delivery.endpoint) == (url, endpoint)
