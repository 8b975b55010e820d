"""Workers without a lease in hand: a zombie beside its successor, each rule by what may slip."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from tests.server.conftest import LEASE, Http, Served, client_of, fresh, serving
from tests.support import Clock, Connection
from tidebase_pg.server import Settings


@pytest.fixture(scope="module")
def hands(module_dsn: str) -> Iterator[Clock]:
    made = Clock(module_dsn)
    yield made
    made.close()


@pytest.fixture(autouse=True)
def running(hands: Clock) -> Iterator[None]:
    """Every test begins at the server's time."""
    hands.run()
    yield
    hands.run()


@pytest.fixture(scope="module")
def proxied(module_dsn: str) -> Iterator[Http]:
    """A gateway to which every client has one address, that of a proxy it trusts."""
    settings = Settings(dsn=module_dsn, lease=LEASE, trusted_proxies=frozenset({"127.0.0.1"}))
    with serving(settings) as served, client_of(served) as http:
        yield http


class Scene:
    """A run whose first worker is silent beyond its lease, and whose second one holds it."""

    def __init__(
        self,
        http: Http,
        hands: Clock,
        sql: Connection,
        first: Http,
        second: Http,
        attempts: int = 3,
    ) -> None:
        self.http, self.hands, self.sql = http, hands, sql
        self.zombie, self.successor = first, second
        queue = fresh("q")
        body = {"workflowName": "w", "maxAttempts": 3}
        self.run_id: str = http.post(f"/queues/{queue}/enqueue", body)["run"]["id"]
        self.old: str = first.post("/queues/claim", {"queues": [queue]})["leaseOwner"]
        self.pass_over(LEASE)
        sql.execute("call tide.reconcile()")
        claimed = second.post("/queues/claim", {"queues": [queue]})
        assert [run["id"] for run in claimed["runs"]] == [self.run_id]
        self.new: str = claimed["leaseOwner"]

    def pass_over(self, length: timedelta) -> None:
        self.hands.advance(length + timedelta(seconds=1))

    def say(self, who: Http, word: str, body: Any = None) -> tuple[int, Any]:
        return who("POST", f"/runs/{self.run_id}/{word}", body or {})

    def run(self) -> Any:
        return self.http.get(f"/runs/{self.run_id}")["run"]

    def step(self, who: Http, lease: str, name: str = "s") -> Any:
        body = {"name": name, "inputHash": "h", "leaseOwner": lease}
        return who.post(f"/runs/{self.run_id}/steps/begin", body)


@pytest.fixture
def scoped(http: Http, hands: Clock, sql: Connection) -> Scene:
    """Both say who they are, by URLs of their own."""
    return Scene(http, hands, sql, http.as_worker("one"), http.as_worker("two"))


@pytest.fixture
def hidden(proxied: Http, hands: Clock, sql: Connection) -> Scene:
    """Nobody can tell them apart."""
    return Scene(proxied, hands, sql, proxied, proxied)


@pytest.mark.parametrize("word", ["complete", "fail"])
def test_with_its_own_url_a_zombie_changes_nothing(scoped: Scene, word: str) -> None:
    status, body = scoped.say(scoped.zombie, word, {"error": {"message": "late"}})
    assert (status, body["code"]) == (409, "lease_lost")
    run = scoped.run()
    assert (run["status"], run["attempt"], run["leaseOwner"]) == ("running", 2, "two")
    assert scoped.say(scoped.successor, word, {})[0] == 200


def test_with_its_own_url_a_zombie_inside_its_workflow_is_told_to_stop(scoped: Scene) -> None:
    zombie = scoped.zombie
    found = scoped.step(zombie, scoped.old)
    assert (found["action"], found["reason"]) == ("cancelled", "lease_lost")
    for word, body in (
        ("gates/begin", {"name": "g", "prompt": "?"}),
        ("children", {"name": "c", "workflowName": "w"}),
        ("snapshots", {"label": "l", "state": 1}),
    ):
        status, answer = scoped.say(zombie, word, body)
        assert (status, answer["code"]) == (409, "run_cancelled"), word
        assert answer["reason"] == "lease_lost"
    status, answer = zombie("PUT", f"/runs/{scoped.run_id}/state", {"value": 1})
    assert (status, answer["code"]) == (409, "run_cancelled")
    detail = scoped.http.get(f"/runs/{scoped.run_id}")
    assert (detail["gates"], detail["childRuns"], detail["stateVersions"]) == ([], [], [])


def test_a_successor_is_never_refused_what_is_its_own(scoped: Scene) -> None:
    successor = scoped.successor
    assert scoped.step(successor, scoped.new)["action"] == "execute"
    assert scoped.say(successor, "gates/begin", {"name": "g", "prompt": "?"})[0] == 200
    assert scoped.say(successor, "children", {"name": "c", "workflowName": "w"})[0] == 200
    assert successor("PUT", f"/runs/{scoped.run_id}/state", {"value": 1})[0] == 200
    assert scoped.say(successor, "heartbeat", {"leaseOwner": scoped.new})[0] == 200
    assert scoped.say(successor, "complete")[0] == 200


def test_a_refused_report_is_in_the_log_and_renews_nothing(scoped: Scene) -> None:
    before = scoped.run()["leaseExpiresAt"]
    scoped.say(scoped.zombie, "fail", {"error": {"message": "late"}})
    events = scoped.http.get(f"/runs/{scoped.run_id}")["events"]
    refused = [event["payload"] for event in events if event["type"] == "report.refused"]
    assert [(one["kind"], one["worker"]) for one in refused] == [("fail", "one")]
    assert scoped.run()["leaseExpiresAt"] == before


def test_without_a_lost_attempt_everybody_may_act(proxied: Http) -> None:
    run_id = proxied.run()
    proxied.post(f"/runs/{run_id}/begin", headers={"x-tidebase-worker": "w1"})
    assert proxied("POST", f"/runs/{run_id}/fail", {"error": {}})[0] == 200


def test_an_address_that_lost_the_run_is_refused(http: Http, hands: Clock, sql: Connection) -> None:
    one = Scene(http, hands, sql, http, http.as_worker("two"))
    status, body = one.say(one.zombie, "complete")
    assert (status, body["code"]) == (409, "lease_lost")
    assert one.run()["status"] == "running"


def test_an_address_that_lost_nothing_is_the_holders(
    http: Http, hands: Clock, sql: Connection
) -> None:
    """Its failure needs no other proof."""
    one = Scene(http, hands, sql, http.as_worker("one"), http)
    status, body = one.say(one.successor, "fail", {"error": {"message": "mine"}})
    assert (status, body["run"]["status"], body["run"]["attempt"]) == (200, "queued", 2)


def test_what_is_additive_is_taken_from_a_zombie_nobody_can_tell(hidden: Scene) -> None:
    zombie, path = hidden.zombie, f"/runs/{hidden.run_id}"
    zombie.post(f"{path}/gates/begin", {"name": "g", "prompt": "Sure?"})
    zombie.post(f"{path}/children", {"name": "c", "workflowName": "sub"})
    zombie.put(f"{path}/state", {"value": 1})
    zombie.post(f"{path}/state/save", {"label": "l"})
    zombie.post(f"{path}/snapshots", {"label": "l", "state": 1})
    zombie.post(f"{path}/usage", {"costUsd": 1})
    run = hidden.run()
    assert (run["status"], run["attempt"]) == ("running", 2)
    # The successor meets the same gate and the same child.
    again = hidden.successor.post(f"{path}/children", {"name": "c", "workflowName": "sub"})
    assert again["created"] is False
    assert hidden.step(hidden.successor, hidden.new)["action"] == "execute"


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("gates/begin", {"name": "g", "prompt": "Sure?"}),
        ("children", {"name": "c", "workflowName": "sub"}),
        ("state", {"value": 1}),
        ("snapshots", {"label": "l", "state": 1}),
    ],
)
def test_with_its_own_url_a_zombie_adds_nothing_either(
    scoped: Scene, path: str, body: dict[str, Any]
) -> None:
    method = "PUT" if path == "state" else "POST"
    status, answer = scoped.zombie(method, f"/runs/{scoped.run_id}/{path}", body)
    assert (status, answer["code"], answer["reason"]) == (409, "run_cancelled", "lease_lost")
    shown = scoped.http.get(f"/runs/{scoped.run_id}")
    assert (shown["gates"], shown["childRuns"], shown["stateVersions"]) == ([], [], [])


def test_a_zombie_nobody_can_tell_executes_no_step(hidden: Scene) -> None:
    assert hidden.step(hidden.zombie, hidden.old)["reason"] == "lease_lost"


def test_a_zombie_nobody_can_tell_may_complete_once(hidden: Scene) -> None:
    assert hidden.say(hidden.zombie, "complete", {"result": 1})[0] == 200
    assert hidden.step(hidden.successor, hidden.new)["reason"] == "finished"
    status, body = hidden.say(hidden.successor, "complete", {"result": 2})
    assert (status, body["code"], body["run"]["result"]) == (409, "run_finished", 1)


def test_an_unproven_failure_burns_no_attempt(hidden: Scene) -> None:
    status, body = hidden.say(hidden.zombie, "fail", {"error": {"message": "late"}})
    assert (status, body["code"]) == (409, "lease_unproven")
    run = hidden.run()
    assert (run["status"], run["attempt"]) == ("running", 2)


def test_the_error_of_its_step_proves_a_failure(hidden: Scene) -> None:
    step = hidden.step(hidden.successor, hidden.new)["step"]["id"]
    error = {"name": "ValueError", "message": "no"}
    body = {"leaseOwner": hidden.new, "error": error}
    hidden.say(hidden.successor, f"steps/{step}/fail", body)
    status, answer = hidden.say(hidden.successor, "fail", {"error": error})
    assert (status, answer["requeued"]) == (200, True)


def test_the_error_of_a_refused_step_report_is_the_zombies(hidden: Scene) -> None:
    error = {"name": "ValueError", "message": "late"}
    status, _ = hidden.say(
        hidden.zombie, "steps/step_cw/fail", {"leaseOwner": hidden.old, "error": error}
    )
    assert status == 409
    status, body = hidden.say(hidden.zombie, "fail", {"error": error})
    assert (status, body["code"]) == (409, "lease_unproven")
    assert hidden.run()["status"] == "running"


def test_once_the_zombie_was_stopped_a_failure_is_the_successors(hidden: Scene) -> None:
    hidden.step(hidden.zombie, hidden.old)
    assert hidden.say(hidden.successor, "fail", {"error": {"message": "mine"}})[0] == 200


def test_two_leases_after_its_loss_a_zombie_is_forgotten(hidden: Scene) -> None:
    for _ in range(2):
        hidden.pass_over(LEASE / 2)
        hidden.say(hidden.successor, "heartbeat", {"leaseOwner": hidden.new})
        hidden.pass_over(LEASE / 2)
        hidden.say(hidden.successor, "heartbeat", {"leaseOwner": hidden.new})
    assert hidden.say(hidden.successor, "fail", {"error": {"message": "mine"}})[0] == 200


def test_a_refused_rightful_failure_costs_one_lease(hidden: Scene) -> None:
    assert hidden.say(hidden.successor, "fail", {"error": {"message": "mine"}})[0] == 409
    hidden.pass_over(LEASE)
    hidden.sql.execute("call tide.reconcile()")
    assert hidden.run()["status"] == "queued"


def test_a_plain_run_taken_over_has_a_zombie_too(http: Http, hands: Clock, sql: Connection) -> None:
    one, two = http.as_worker("one"), http.as_worker("two")
    run_id = http.run()
    one.post(f"/runs/{run_id}/begin")
    hands.advance(LEASE + timedelta(seconds=1))
    two.post(f"/runs/{run_id}/begin")
    status, body = one("POST", f"/runs/{run_id}/complete", {})
    assert (status, body["code"]) == (409, "lease_lost")
    assert two("POST", f"/runs/{run_id}/complete", {})[0] == 200


def test_replicas_judge_alike(served: Served, module_dsn: str, hidden: Scene) -> None:
    settings = Settings(dsn=module_dsn, trusted_proxies=frozenset({"127.0.0.1"}))
    hidden.step(hidden.zombie, hidden.old)
    with serving(settings) as replica, client_of(replica) as other:
        status, _ = other("POST", f"/runs/{hidden.run_id}/fail", {"error": {"message": "mine"}})
    assert status == 200
