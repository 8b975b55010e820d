"""A secret signs what its queues and its roles send, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.roles.conftest import log_in as log_in
from tests.runs.acts import Tide, refused
from tests.support import Connection

LogIn = Callable[..., Connection]

SECRET = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"


def channel(secret: str | None = None) -> list[dict[str, str]]:
    named = {} if secret is None else {"secret_name": secret}
    return [{"url": "https://example.com/", **named}]


@pytest.fixture
def client(log_in: LogIn) -> Tide:
    return Tide(log_in("tide_client"))


def enqueue(tide: Tide, secret: str | None, **options: Any) -> Any:
    return tide.enqueue(workflow="w", channels=channel(secret), **options)


def test_a_secret_nobody_was_given_signs_for_operators_only(
    tide: Tide, client: Tide, log_in: LogIn
) -> None:
    tide.set_webhook_secret(name="payments", secret=SECRET)
    told = []
    for name in ("payments", "unheard-of"):
        with refused("42501") as caught:
            enqueue(client, name)
        told.append(str(caught.value.diag.message_primary).replace(name, "<name>"))
    assert told[0] == told[1]
    enqueue(client, None)
    enqueue(client, "default")
    enqueue(Tide(log_in("tide_client", "tide_operator")), "payments")


def test_a_secret_belongs_to_queues_or_to_roles(
    tide: Tide, client: Tide, connection: Connection
) -> None:
    tide.grant_secret(name="payments", queues=["mine"])
    enqueue(client, "payments", queue="mine")
    with refused("42501", "payments"):
        enqueue(client, "payments", queue="other")
    row = tide.grant_secret(name="payments", roles=["tide_client"])
    assert (row.queues, row.roles) == ([], ["tide_client"])
    enqueue(client, "payments", queue="other")
    tide.grant_secret(name="payments", roles=["tide_viewer"])
    with refused("42501", "payments"):
        enqueue(client, "payments", queue="mine")


def test_the_default_secret_may_be_somebodys_too(tide: Tide, client: Tide) -> None:
    tide.grant_secret(name="default", queues=["mine"])
    enqueue(client, None, queue="mine")
    with refused("42501", "default"):
        enqueue(client, None, queue="other")


def test_a_worker_that_opens_a_gate_needs_the_secret_too(tide: Tide, log_in: LogIn) -> None:
    worker = Tide(log_in("tide_worker"))
    tide.enqueue(workflow="w")
    (run,) = worker.claim()
    held = {"run_id": run.run_id, "lease_id": run.lease_id}
    with refused("42501", "payments"):
        worker.open_gate(**held, name="a", prompt="?", channels=channel("payments"))
    tide.grant_secret(name="payments", queues=["default"])
    worker.open_gate(**held, name="a", prompt="?", channels=channel("payments"))


def test_a_secret_is_given_to_roles_that_exist_and_queues_one_may_use(
    tide: Tide, log_in: LogIn
) -> None:
    operator = Tide(log_in("tide_operator"))
    with refused("22023", "no_such_role"):
        operator.grant_secret(name="payments", roles=["no_such_role"])
    tide.grant_queue(queue="vault", role="tide_viewer")
    with refused("42501", "vault"):
        operator.grant_secret(name="payments", queues=["vault"])


def test_a_queue_may_leave_addresses_to_operators(tide: Tide, client: Tide) -> None:
    tide.set_queue(queue="default", settings={"operator_urls": True})
    with refused("42501", "default"):
        enqueue(client, None)
    with refused("42501", "default"):
        client.enqueue_many(queue="default", runs=[{"workflow": "w", "channels": channel()}])
    client.enqueue(workflow="w")
    enqueue(tide, None)


def test_a_queue_may_leave_recovery_urls_to_operators(
    tide: Tide, client: Tide, log_in: LogIn
) -> None:
    tide.set_queue(queue="default", settings={"operator_urls": True})
    address = {"recovery_url": "https://app.example/recover"}
    worker = Tide(log_in("tide_worker"))
    tide.enqueue(workflow="parent", queue="parents")
    (run,) = worker.claim(queues=["parents"])
    own = {"run_id": run.run_id, "lease_id": run.lease_id}
    with refused("42501", "default"):
        client.enqueue(workflow="w", **address)
    with refused("42501", "default"):
        client.enqueue_many(queue="default", runs=[{"workflow": "w", **address}])
    with refused("42501", "default"):
        worker.spawn(**own, edge="a", workflow="w", queue="default", options=address)
    with refused("42501", "default"):
        child = {"edge": "a", "workflow": "w", "queue": "default", **address}
        worker.spawn_many(**own, children=[child])
    assert tide.list_runs(queue="default") == []
    client.enqueue(workflow="w", queue="other", **address)
    tide.enqueue(workflow="w", **address)
    assert len(tide.list_runs(queue="default")) == 1
