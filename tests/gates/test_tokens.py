"""Tokens reach those who are to decide, and not who asked for the run."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.roles.conftest import log_in as log_in
from tests.runs.acts import Tide, refused
from tests.support import value

ANN = {"url": "https://ann.example.com/"}
BOB = {"url": "https://bob.example.com/", "events": ["gate.created"]}


def sent(tide: Tide) -> dict[str, dict[str, Any]]:
    """What goes where, one at a time from each host."""
    claimed = tide.claim_deliveries(max_deliveries=100)
    return {row.url: json.loads(row.body) for row in claimed if row.type == "gate.created"}


def asking(tide: Tide, run: Any, **options: Any) -> Any:
    held = {"run_id": run.run_id, "lease_id": run.lease_id}
    return tide.open_gate(**held, name="pay", prompt="Pay?", data={"cents": 1200}, **options)


def test_who_enqueued_is_sent_the_gate_without_its_token(tide: Tide) -> None:
    run = tide.started(channels=[BOB])
    gate = asking(tide, run, channels=[ANN | {"events": ["gate.created"]}])
    bodies = sent(tide)
    assert bodies[ANN["url"]]["token"] == gate.token
    assert "token" not in bodies[BOB["url"]]
    assert bodies[BOB["url"]]["gate_id"] == str(gate.gate_id)
    assert value(tide.connection, "select count(*) from tide.deliveries where token <> ''") == 1


def test_a_channel_of_another_gate_is_not_sent_the_token(tide: Tide) -> None:
    run = tide.started()
    asking(tide, run, channels=[BOB])
    held = {"run_id": run.run_id, "lease_id": run.lease_id}
    other = tide.open_gate(**held, name="other", prompt="?", channels=[ANN])
    bodies = sent(tide)
    assert bodies[ANN["url"]]["token"] == other.token
    assert bodies[BOB["url"]]["token"] != other.token


def test_a_rule_of_the_queue_sends_each_gate_to_those_who_decide(tide: Tide) -> None:
    tide.set_queue(
        queue="default",
        settings={"gate_channels": [ANN | {"events": ["gate.created"], "secret_name": "people"}]},
    )
    run = tide.started(channels=[BOB])
    gate = asking(tide, run)
    bodies = sent(tide)
    assert bodies[ANN["url"]]["token"] == gate.token
    assert "token" not in bodies[BOB["url"]]
    tide.set_queue(queue="default", settings={"gate_channels": None})
    run = tide.started()
    asking(tide, run)
    assert sent(tide) == {}


@pytest.mark.parametrize(
    "channels",
    [
        [{"url": "ftp://a"}],
        [{"url": "https://a/", "who": 1}],
        {"url": "https://a/"},
        [{}],
        '"x"',
        [{"url": "https://a/", "events": ["no.such"]}],
        [{"url": "https://a/", "type": "mail"}],
    ],
)
def test_a_rule_that_is_none_is_refused(tide: Tide, channels: Any) -> None:
    with refused("22023", "gate_channels"):
        tide.set_queue(queue="default", settings={"gate_channels": channels})


def test_a_requester_cannot_decide_the_gate_of_its_own_run(tide: Tide, log_in: Any) -> None:
    """By no token it was sent, and by none it could guess."""
    client = Tide(log_in("tide_client"))
    client.enqueue(workflow="pay", channels=[BOB])
    (run,) = tide.claim()
    gate = asking(tide, run, channels=[ANN])
    for token in [*map(str, sent(tide)[BOB["url"]].values()), str(gate.gate_id)]:
        with refused("TD024"):
            client.resolve_gate(
                gate_id=gate.gate_id, token=token, decision="approved", actor="the manager"
            )
