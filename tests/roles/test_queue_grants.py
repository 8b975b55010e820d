"""A restricted queue is for members of the roles it was granted to, judged by the login."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any, NamedTuple
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from tests.runs.acts import NOBODY, Tide, refused
from tests.support import Clock, Connection, open_connection, value

LogIn = Callable[..., Connection]

EVERYTHING = ("tide_client", "tide_worker", "tide_operator")
QUEUE = "vault"


@pytest.fixture
def team(connection: Connection) -> Iterator[str]:
    """A group of the application's own."""
    name = f"{connection.info.dbname}_team"
    connection.execute(sql.SQL("create role {} nologin").format(sql.Identifier(name)))
    yield name
    connection.execute(sql.SQL("drop role if exists {}").format(sql.Identifier(name)))


class Scene(NamedTuple):
    """Runs of a restricted queue, and a run of an open one to spawn from."""

    queued: UUID
    failed: UUID
    pushed: UUID
    held: dict[str, Any]


@pytest.fixture
def scene(tide: Tide, team: str) -> Scene:
    """The queue is granted to the team; everything was made by the owner."""
    failed = tide.started("report", queue=QUEUE)
    tide.begin_step(run_id=failed.run_id, lease_id=failed.lease_id, name="write")
    tide.complete_step(run_id=failed.run_id, lease_id=failed.lease_id, name="write", output=1)
    tide.fail(run_id=failed.run_id, lease_id=failed.lease_id, retryable=False)
    tide.set_schedule(name="nightly", cron="0 3 * * *", workflow="report", queue=QUEUE)
    queued = tide.enqueue(workflow="report", queue=QUEUE, metadata={"of": "vault"}).run_id
    pushed = tide.enqueue(workflow="report", queue=QUEUE, delay="1 hour").run_id
    parent = tide.started("parent")
    tide.grant_queue(queue=QUEUE, role=team)
    return Scene(
        queued, failed.run_id, pushed, {"run_id": parent.run_id, "lease_id": parent.lease_id}
    )


def beyond(call: Callable[[], Any]) -> Any:
    """Past the grant: a refusal for the state of a run is as good as an answer."""
    try:
        return call()
    except psycopg.Error as error:
        if not (error.sqlstate or "").startswith("TD"):
            raise
        return error


def children(queue: str) -> list[dict[str, str]]:
    return [{"edge": "many", "workflow": "part", "queue": queue}]


ENQUEUE: dict[str, Callable[[Tide, Scene], Any]] = {
    "enqueue": lambda tide, _: tide.enqueue(workflow="report", queue=QUEUE),
    "enqueue_many": lambda tide, _: tide.enqueue_many(queue=QUEUE, runs=[{"workflow": "a"}]),
    "spawn": lambda tide, at: tide.spawn(**at.held, edge="one", workflow="part", queue=QUEUE),
    "spawn_many": lambda tide, at: tide.spawn_many(**at.held, children=children(QUEUE)),
    "fork_run": lambda tide, at: tide.fork_run(run_id=at.failed, at_step="write"),
    "retry": lambda tide, at: tide.retry(run_id=at.failed),
    "set_schedule": lambda tide, _: tide.set_schedule(
        name="hourly", cron="@hourly", workflow="report", queue=QUEUE
    ),
    "fire_schedule": lambda tide, _: tide.fire_schedule(name="nightly"),
    "recover": lambda tide, at: beyond(lambda: tide.recover(run_id=at.failed)),
}
CLAIM: dict[str, Callable[[Tide, Scene], Any]] = {
    "claim": lambda tide, _: tide.claim(queues=["default", QUEUE]),
    "settle_and_claim": lambda tide, _: tide.settle_and_claim(outcomes=[], queues=[QUEUE]),
    "begin_run": lambda tide, at: beyond(lambda: tide.begin_run(run_id=at.queued)),
    "await_work": lambda tide, _: tide.await_work(worker="w", queues=[QUEUE], duration="0"),
    "hold_run": lambda tide, at: beyond(lambda: tide.hold_run(run_id=at.queued)),
    "renew_run": lambda tide, at: tide.renew_run(run_id=at.queued),
    "refuse_report": lambda tide, at: tide.refuse_report(run_id=at.queued, kind="fail"),
}
EITHER: dict[str, Callable[[Tide, Scene], Any]] = {
    "get_run": lambda tide, at: tide.get_run(run_id=at.queued),
    "describe_run": lambda tide, at: tide.describe_run(run_id=at.queued),
    "explain_wait": lambda tide, at: tide.explain_wait(run_id=at.queued),
    "outline_events": lambda tide, at: tide.outline_events(run_id=at.queued),
    "list_events": lambda tide, at: tide.list_events(run_id=at.queued),
    "reschedule": lambda tide, at: tide.reschedule(run_id=at.queued, run_at="2030-01-01Z"),
    "revoke_lease": lambda tide, at: tide.revoke_lease(run_id=at.queued),
    "cancel": lambda tide, at: tide.cancel(run_id=at.pushed),
}
ACTS = ENQUEUE | CLAIM | EITHER
NAMING = {"enqueue", "enqueue_many", "spawn", "spawn_many", "set_schedule"}
NAMING |= {"claim", "settle_and_claim", "await_work"}


@pytest.mark.parametrize("act", ACTS)
def test_a_stranger_is_refused_and_a_member_is_not(
    tide: Tide, scene: Scene, team: str, log_in: LogIn, act: str
) -> None:
    stranger, member = Tide(log_in(*EVERYTHING)), Tide(log_in(*EVERYTHING, team))
    before = value(tide.connection, "select count(*) from tide.event_log")
    with refused("42501", stranger.connection.info.user) as caught:
        ACTS[act](stranger, scene)
    # Only who named the queue is told its name.
    assert (QUEUE in str(caught.value)) == (act in NAMING)
    assert value(tide.connection, "select count(*) from tide.event_log") == before
    ACTS[act](member, scene)


def test_a_stranger_cannot_tell_a_run_of_the_queue_from_none(
    tide: Tide, scene: Scene, log_in: LogIn
) -> None:
    stranger = Tide(log_in(*EVERYTHING))
    for run_id in (scene.queued, scene.failed, uuid4()):
        with refused("42501") as caught:
            stranger.get_run(run_id=run_id)
        assert str(caught.value).startswith(f"run {run_id} does not exist, or login")
        with refused("42501") as caught:
            stranger.complete(run_id=run_id, lease_id=NOBODY)
        assert str(caught.value).startswith(f"run {run_id} does not exist, or login")
        (verdict,) = stranger.settle(outcomes=[{"run_id": str(run_id), "lease_id": str(NOBODY)}])
        assert (verdict.accepted, verdict.reason) == (False, "missing")


@pytest.mark.parametrize("act", ACTS)
def test_each_act_needs_its_verb(
    tide: Tide, scene: Scene, team: str, log_in: LogIn, act: str
) -> None:
    member = Tide(log_in(*EVERYTHING, team))
    for verb in ("enqueue", "claim"):
        tide.grant_queue(queue=QUEUE, role=team, verbs=[verb])
        may = act in EITHER or act in (ENQUEUE if verb == "enqueue" else CLAIM)
        with member.connection.transaction(force_rollback=True):
            if may:
                ACTS[act](member, scene)
            else:
                with refused("42501"):
                    ACTS[act](member, scene)


def test_a_pushed_run_is_begun_by_members_only(tide: Tide, team: str, log_in: LogIn) -> None:
    tide.set_queue(queue="pushes", settings={"push_url": "http://example.com/push"})
    run_id = tide.enqueue(workflow="report", queue="pushes").run_id
    tide.reconcile()
    assert tide.get_run(run_id=run_id).waiting_on == "push"
    tide.grant_queue(queue="pushes", role=team, verbs=["claim"])
    with refused("42501", run_id):
        Tide(log_in("tide_worker")).begin_run(run_id=run_id)
    assert Tide(log_in("tide_worker", team)).begin_run(run_id=run_id).status == "running"


def test_what_is_asked_for_all_queues_leaves_restricted_ones_out(
    tide: Tide, scene: Scene, team: str, log_in: LogIn
) -> None:
    stranger, member = Tide(log_in(*EVERYTHING)), Tide(log_in(*EVERYTHING, team))
    assert {run.queue for run in stranger.list_runs()} == {"default"}
    assert stranger.list_runs(queue=QUEUE) == []
    assert stranger.list_runs(metadata={"of": "vault"}) == []
    stranger.cancel_many(workflow="report")
    assert stranger.cancel_many(queue=QUEUE) == 0
    assert stranger.cancel_many(metadata={"of": "vault"}) == 0
    assert tide.get_run(run_id=scene.queued).status == "queued"
    assert {run.queue for run in member.list_runs()} == {"default", QUEUE}
    assert member.cancel_many(queue=QUEUE) == 2
    cancelled = {"queue": QUEUE, "status": "cancelled"}
    assert stranger.redrive(filters=cancelled, dry_run=True)["runs"] == 0
    assert stranger.redrive(filters=cancelled)["runs"] == 0
    assert member.redrive(filters=cancelled)["runs"] == 2


def test_who_may_only_claim_from_a_queue_retries_nothing_of_it(
    tide: Tide, team: str, log_in: LogIn
) -> None:
    run_id = tide.enqueue(workflow="report", queue=QUEUE).run_id
    tide.cancel(run_id=run_id)
    tide.grant_queue(queue=QUEUE, role=team, verbs=["claim"])
    member = Tide(log_in(*EVERYTHING, team))
    cancelled = {"queue": QUEUE, "status": "cancelled"}
    assert member.redrive(filters=cancelled, dry_run=True)["runs"] == 0
    assert member.redrive(filters=cancelled)["runs"] == 0
    with refused("42501"):
        member.retry(run_id=run_id)


def test_open_queues_are_as_before(tide: Tide, scene: Scene, log_in: LogIn) -> None:
    stranger = Tide(log_in(*EVERYTHING))
    run_id = stranger.enqueue(workflow="report", queue="open").run_id
    assert [run.run_id for run in stranger.claim(queues=["open"])] == [run_id]


def test_membership_counts_however_it_came_about(
    tide: Tide, connection: Connection, scene: Scene, team: str, log_in: LogIn
) -> None:
    """Directly, through another group, and also where a login does not inherit."""
    connection.execute(sql.SQL("create role {} in role {}").format(
        sql.Identifier(f"{team}_inner"), sql.Identifier(team)
    ))  # fmt: skip
    try:
        through = log_in(*EVERYTHING, f"{team}_inner")
        Tide(through).enqueue(workflow="report", queue=QUEUE)
        alone = log_in(*EVERYTHING)
        connection.execute(
            sql.SQL("grant {} to {}").format(sql.Identifier(team), sql.Identifier(alone.info.user))
        )
        Tide(alone).enqueue(workflow="report", queue=QUEUE)
        connection.execute(
            sql.SQL("revoke {} from {}").format(
                sql.Identifier(team), sql.Identifier(alone.info.user)
            )
        )
        with refused("42501"):
            Tide(alone).enqueue(workflow="report", queue=QUEUE)
    finally:
        connection.execute(sql.SQL("drop role {}").format(sql.Identifier(f"{team}_inner")))


def test_set_role_does_not_widen(
    tide: Tide, connection: Connection, scene: Scene, log_in: LogIn
) -> None:
    """The login counts: not the role that is set, nor the owner of a function in between."""
    login = log_in(*EVERYTHING)
    for role in (*EVERYTHING, "none"):
        login.execute(f"set role {role}".encode())
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            login.execute("select * from tide.enqueue('report', queue => 'vault')")
        login.execute("reset role")
    connection.execute(
        """
        create function lend() returns uuid language sql security definer as
        'select e.run_id from tide.enqueue(''report'', queue => ''vault'') as e'
        """
    )
    with refused("42501", login.info.user):
        login.execute("select lend()")


def test_parameters_change_nothing(scene: Scene, team: str, log_in: LogIn) -> None:
    login = log_in(*EVERYTHING)
    for name in ("tide.role", "tide.login", "tide.queue", "tide.tenant", "request.jwt.claim.role"):
        login.execute("select set_config(%s, %s, false)", (name, team))
    login.execute("select set_config('application_name', %s, false)", (team,))
    with refused("42501"):
        Tide(login).enqueue(workflow="report", queue=QUEUE)


def test_upkeep_carried_by_anybody_serves_restricted_queues(
    tide: Tide, hour: Clock, team: str, log_in: LogIn
) -> None:
    """Schedules fire into them and silent workers are replaced, whoever claims or reconciles."""
    tide.set_schedule(name="hourly", cron="30 * * * *", workflow="report", queue=QUEUE)
    tide.set_schedule(name="later", cron="45 * * * *", workflow="later", queue=QUEUE)
    lost = tide.started("lost", queue=QUEUE, max_attempts=3)
    tide.grant_queue(queue=QUEUE, role=team)
    stranger = Tide(log_in(*EVERYTHING))
    hour.advance(timedelta(minutes=31))
    assert stranger.claim(queues=["default"]) == []
    states = {run.workflow: run.status for run in tide.list_runs(queue=QUEUE)}
    assert states == {"lost": "queued", "report": "queued"}
    again = [run for run in tide.claim(queues=[QUEUE], max_runs=9) if run.run_id == lost.run_id]
    assert len(again) == 1
    hour.advance(timedelta(minutes=15))
    value(stranger.connection, "call tide.reconcile()")
    assert tide.sweep_failures() == []
    states = {run.workflow: run.status for run in tide.list_runs(queue=QUEUE)}
    assert states["later"] == states["lost"] == "queued"


def test_a_worker_ends_its_run_after_its_grant_was_taken(
    tide: Tide, scene: Scene, team: str, log_in: LogIn
) -> None:
    """A lease is a promise: what was claimed rightfully may be finished."""
    member = Tide(log_in(*EVERYTHING, team))
    (run,) = member.claim(queues=[QUEUE])
    tide.grant_queue(queue=QUEUE, role="tide_viewer")
    tide.revoke_queue(queue=QUEUE, role=team)
    with refused("42501"):
        member.claim(queues=[QUEUE])
    member.begin_step(run_id=run.run_id, lease_id=run.lease_id, name="write")
    member.complete(run_id=run.run_id, lease_id=run.lease_id)
    assert tide.get_run(run_id=run.run_id).status == "completed"


def test_the_last_grant_taken_back_opens_the_queue(
    tide: Tide, scene: Scene, team: str, log_in: LogIn
) -> None:
    stranger, member = Tide(log_in(*EVERYTHING)), Tide(log_in(*EVERYTHING, team))
    assert member.revoke_queue(queue=QUEUE, role=team) is not None
    stranger.enqueue(workflow="report", queue=QUEUE)


def test_nobody_opens_a_restricted_queue_to_themselves(
    tide: Tide, scene: Scene, team: str, log_in: LogIn
) -> None:
    stranger = Tide(log_in(*EVERYTHING))
    own = stranger.connection.info.user
    for act, role in (("grant_queue", own), ("revoke_queue", team), ("grant_queue", team)):
        with refused("42501", own, QUEUE):
            stranger.call(act, queue=QUEUE, role=role)
    with refused("42501", own, QUEUE):
        stranger.set_queue(queue=QUEUE, settings={"paused": True})


def test_who_restricted_a_queue_goes_on_saying_who_uses_it(
    tide: Tide, team: str, log_in: LogIn
) -> None:
    operator, other = Tide(log_in("tide_operator")), Tide(log_in("tide_operator"))
    operator.grant_queue(queue=QUEUE, role=team)
    operator.grant_queue(queue=QUEUE, role="tide_worker")
    with refused("42501"):
        other.revoke_queue(queue=QUEUE, role=team)
    operator.revoke_queue(queue=QUEUE, role="tide_worker")
    operator.revoke_queue(queue=QUEUE, role=team)
    other.set_queue(queue=QUEUE, settings={"paused": True})


def test_a_queue_whose_role_is_gone_stays_closed(
    tide: Tide, connection: Connection, scene: Scene, team: str, log_in: LogIn
) -> None:
    connection.execute(sql.SQL("drop role {}").format(sql.Identifier(team)))
    with refused("42501"):
        Tide(log_in(*EVERYTHING)).enqueue(workflow="report", queue=QUEUE)


def test_granting_again_replaces_the_verbs_and_notes_the_login(
    tide: Tide, connection: Connection, team: str, log_in: LogIn
) -> None:
    operator = Tide(log_in("tide_operator"))
    operator.grant_queue(queue=QUEUE, role=team)
    row = operator.grant_queue(queue=QUEUE, role=team, verbs=["claim"])
    assert (row.queue, row.role, row.verbs) == (QUEUE, team, ["claim"])
    assert row.granted_by == operator.connection.info.user
    assert value(connection, "select count(*) from tide.queue_grants") == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"role": "no such role"}, "role 'no such role' does not exist"),
        ({"role": None}, "role null does not exist"),
        ({"verbs": []}, "verbs"),
        ({"verbs": ["drop"]}, "verbs"),
        ({"verbs": None}, "verbs"),
        ({"queue": ""}, "queue"),
    ],
)
def test_a_grant_that_means_nothing_is_refused(
    tide: Tide, arguments: dict[str, Any], words: str
) -> None:
    given = {"queue": QUEUE, "role": "tide_worker", **arguments}
    with refused("22023", words):
        tide.grant_queue(**given)


def test_a_member_stays_one_whatever_role_is_set(
    tide: Tide, scene: Scene, team: str, direct_dsn: str, log_in: LogIn
) -> None:
    member = log_in(*EVERYTHING, team)
    with open_connection(make_conninfo(direct_dsn, user=member.info.user)) as other:
        other.execute("set role tide_client")
        other.execute("select * from tide.enqueue('report', queue => 'vault')")
