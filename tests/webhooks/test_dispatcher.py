"""The dispatcher: everything due goes out, signed, whatever becomes of receivers and of itself."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import timedelta
from typing import Any

import pytest
from click.testing import CliRunner
from standardwebhooks import Webhook

from tests.support import Clock, Connection, one, value
from tests.webhooks.receivers import (
    BAD,
    HOST,
    NEVER,
    OK,
    Held,
    Raw,
    Receiver,
    Request,
    drip,
    flood,
    unused_port,
)
from tests.webhooks.receivers import raw as raw
from tests.webhooks.receivers import receive as receive
from tidebase_pg import Dispatcher, Tidebase
from tidebase_pg.cli import main
from tidebase_pg.values import new_secret

PLAIN = "a-plain-secret-of-some-length"
MINUTE = timedelta(minutes=1)


@pytest.fixture
def tidebase(dsn: str) -> Iterator[Tidebase]:
    with Tidebase(dsn) as tide:
        yield tide


@pytest.fixture
def dispatch(tidebase: Tidebase) -> Iterator[Callable[..., Dispatcher]]:
    """Starts dispatchers that may send to these receivers: `dispatch(receiver, …)`; stops them."""
    with ExitStack() as running:

        def dispatch(*receivers: Receiver | Raw, **options: Any) -> Dispatcher:
            made = tidebase.dispatcher(**allowed(*receivers), poll=0.05, **options)
            made.start()
            running.callback(made.stop)
            return made

        yield dispatch


def allowed(*receivers: Receiver | Raw) -> dict[str, Any]:
    ports = [receiver.port for receiver in receivers]
    return {"allow": ["127.0.0.1"], "allow_ports": ports, "allow_http": True}


def announce(tide: Tidebase, url: str, **channel: Any) -> Any:
    """One delivery: run.created of a new run."""
    channels = [{"type": "webhook", "url": url, "events": ["run.created"], **channel}]
    return tide.runs.create("w", channels=channels).run_id


def wait_for(tide: Tidebase, count: int, *statuses: str) -> list[Any]:
    """Once so many deliveries have one of these statuses: those."""
    give_up = threading.Event()
    timer = threading.Timer(NEVER, give_up.set)
    timer.start()
    try:
        while not give_up.is_set():
            rows = [row for row in tide.deliveries.list() if row.status in statuses]
            if len(rows) >= count:
                return rows
        raise AssertionError(f"{count} never were {statuses}: {tide.deliveries.list()}")
    finally:
        timer.cancel()


# Signatures -------------------------------------------------------------------------------


def verify(secret: str, request: Request) -> Any:
    return Webhook(secret).verify(request.body, request.headers)


@pytest.mark.parametrize("place", ["database", "environment", "environment, by name"])
def test_what_goes_out_is_signed_as_standard_webhooks_says(
    tidebase: Tidebase,
    connection: Connection,
    receive: Callable[..., Receiver],
    monkeypatch: pytest.MonkeyPatch,
    place: str,
) -> None:
    old, new = new_secret(), new_secret()
    name = "default"
    if place == "database":
        tidebase.webhooks.set_secret("default", old)
        tidebase.webhooks.set_secret("default", new)
        # Where both have one, the database counts.
        monkeypatch.setenv("TIDEBASE_WEBHOOK_SECRET", PLAIN)
    elif place == "environment":
        monkeypatch.setenv("TIDEBASE_WEBHOOK_SECRET", f"{new} {old}")
    else:
        name = "partner-7.eu"
        monkeypatch.setenv("TIDEBASE_WEBHOOK_SECRET", PLAIN)
        monkeypatch.setenv("TIDEBASE_WEBHOOK_SECRET_PARTNER_7_EU", f"{new} {old}")
    receiver = receive()
    run_id = announce(tidebase, receiver.url, secret_name=name)
    tidebase.dispatcher(**allowed(receiver)).run(once=True)
    (request,) = receiver.requests
    (delivery,) = tidebase.deliveries.list()
    assert request.body == delivery.body.encode()
    for secret in (old, new):
        assert verify(secret, request)["run_id"] == str(run_id)
    assert request.headers["webhook-id"] == str(delivery.delivery_id)
    assert request.headers["x-tidebase-signature"] == value(
        connection, "select tide.sign(%s, %s)", new, delivery.body
    )
    assert (delivery.status, delivery.http_status, delivery.response) == (
        "delivered",
        200,
        "thanks",
    )


def test_a_plain_secret_in_the_environment_signs_as_one_in_the_database(
    tidebase: Tidebase,
    connection: Connection,
    receive: Callable[..., Receiver],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TIDEBASE_WEBHOOK_SECRET", PLAIN)
    receiver = receive()
    announce(tidebase, receiver.url)
    tidebase.dispatcher(**allowed(receiver)).run(once=True)
    (request,) = receiver.requests
    expected = value(
        connection,
        "select tide._standard_signature(%s, %s, %s, %s)",
        PLAIN,
        request.headers["webhook-id"],
        int(request.headers["webhook-timestamp"]),
        request.body.decode(),
    )
    assert request.headers["webhook-signature"] == expected


def test_without_a_secret_it_goes_out_unsigned(
    tidebase: Tidebase, receive: Callable[..., Receiver], monkeypatch: pytest.MonkeyPatch
) -> None:
    # The default secret signs nothing that names another.
    monkeypatch.setenv("TIDEBASE_WEBHOOK_SECRET", new_secret())
    receiver = receive()
    announce(tidebase, receiver.url, secret_name="other")
    assert tidebase.dispatcher(**allowed(receiver)).run(once=True).delivered == 1
    (request,) = receiver.requests
    assert {name for name in request.headers if "signature" in name} == set()
    assert {"webhook-id", "webhook-timestamp"} <= request.headers.keys()


def test_an_unusable_secret_is_told_without_showing_it(
    tidebase: Tidebase, receive: Callable[..., Receiver], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TIDEBASE_WEBHOOK_SECRET", "hunter2")
    with pytest.raises(ValueError, match="TIDEBASE_WEBHOOK_SECRET holds a secret that") as raised:
        tidebase.dispatcher()
    assert "hunter2" not in str(raised.value)
    monkeypatch.delenv("TIDEBASE_WEBHOOK_SECRET")
    monkeypatch.setenv("TIDEBASE_WEBHOOK_SECRET_X", "whsec_hunter2")
    receiver = receive()
    announce(tidebase, receiver.url, secret_name="x")
    tidebase.dispatcher(**allowed(receiver)).run(once=True)
    (delivery,) = tidebase.deliveries.list()
    assert (delivery.status, receiver.requests) == ("pending", [])
    assert "TIDEBASE_WEBHOOK_SECRET_X" in (delivery.error or "")
    assert "hunter2" not in (delivery.error or "")


# Receivers --------------------------------------------------------------------------------


def test_bad_receivers_hold_up_no_other(
    tidebase: Tidebase,
    receive: Callable[..., Receiver],
    raw: Callable[..., Raw],
    dispatch: Callable[..., Dispatcher],
) -> None:
    held = receive(receiver=Held())
    assert isinstance(held, Held)
    good = [receive() for _ in range(3)]
    bad: list[Any] = [raw(how) for how in BAD.values()]
    bad += [raw(drip(OK + b"\r\n")), raw(flood(OK + b"\r\n", b"b" * 4096))]
    bad.append(receive(lambda request: (500, {}, b"no")))
    bad.append(receive(lambda request: (302, {"location": "http://169.254.169.254/"}, b"")))
    nobody = f"http://{HOST}:{unused_port()}/"
    urls = [held.url, nobody, *(one.url for one in bad)]
    for url in urls:
        for _ in range(5):
            announce(tidebase, url)
    for _ in range(10):
        for receiver in good:
            announce(tidebase, receiver.url)
    # Those that are silent are silent for as long as the test goes on.
    dispatch(held, *good, *bad, timeout=NEVER, connect_timeout=NEVER, read_timeout=NEVER)
    for receiver in good:
        for _ in range(10):
            receiver.arrived.get(timeout=NEVER)
    # Nobody who has not answered well is sent more than one at a time.
    assert len(held.requests) == 1
    held.let_go.set()
    for one_bad in bad:
        if isinstance(one_bad, Raw):
            one_bad.close()


def test_what_fails_goes_out_again_with_the_same_id_and_a_new_time(
    tidebase: Tidebase,
    clock: Clock,
    receive: Callable[..., Receiver],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    secret = new_secret()
    monkeypatch.setenv("TIDEBASE_WEBHOOK_SECRET", secret)
    statuses = [500, 302, 200]
    receiver = receive(lambda request: (statuses[len(receiver.requests) - 1], {}, b"so"))
    announce(tidebase, receiver.url)
    for expected in ("pending", "pending", "delivered"):
        report = tidebase.dispatcher(**allowed(receiver)).run(once=True)
        assert report.sent == 1
        (delivery,) = tidebase.deliveries.list()
        assert delivery.status == expected
        clock.advance(MINUTE)
    assert [request.headers["webhook-id"] for request in receiver.requests] == (
        [str(delivery.delivery_id)] * 3
    )
    assert len({request.headers["webhook-timestamp"] for request in receiver.requests}) == 3
    assert len({request.body for request in receiver.requests}) == 1
    assert (delivery.attempts, delivery.http_status, delivery.error) == (3, 200, None)


def test_a_forbidden_address_is_told_and_nothing_is_sent(
    tidebase: Tidebase, raw: Callable[..., Raw]
) -> None:
    inside = raw(drip(b""))
    announce(tidebase, f"http://localhost:{inside.port}/")
    announce(tidebase, "https://169.254.169.254/latest/meta-data/")
    announce(tidebase, f"http://{HOST}:{inside.port}/")
    report = tidebase.dispatcher(allow_ports=[inside.port], allow_http=True).run(once=True)
    assert (report.sent, report.failed) == (3, 3)
    for delivery in tidebase.deliveries.list():
        assert "which is not public" in (delivery.error or "")
    assert inside.accepted == 0


def test_one_connection_is_enough_for_all(
    tidebase: Tidebase,
    connection: Connection,
    receive: Callable[..., Receiver],
    dispatch: Callable[..., Dispatcher],
) -> None:
    held = [receive(receiver=Held()) for _ in range(4)]
    for receiver in held:
        announce(tidebase, receiver.url)
    tidebase.close()
    before = _connections(connection)
    dispatch(*held)
    for receiver in held:
        receiver.arrived.get(timeout=NEVER)
    assert _connections(connection) - before <= 1
    for receiver in held:
        assert isinstance(receiver, Held)
        receiver.let_go.set()
    assert len(wait_for(tidebase, 4, "delivered")) == 4


def _connections(connection: Connection) -> int:
    found: int = value(
        connection,
        "select count(*) from pg_stat_activity where datname = current_database() "
        "and application_name = 'tidebase-pg'",
    )
    return found


# Ends and interruptions -------------------------------------------------------------------


def test_a_dispatcher_that_is_stopped_waits_for_what_is_on_its_way(
    tidebase: Tidebase, receive: Callable[..., Receiver], dispatch: Callable[..., Dispatcher]
) -> None:
    held = receive(receiver=Held())
    assert isinstance(held, Held)
    announce(tidebase, held.url)
    dispatcher = dispatch(held)
    held.arrived.get(timeout=NEVER)
    announce(tidebase, held.url)
    dispatcher.end()
    held.let_go.set()
    dispatcher.stop()
    assert sorted(row.status for row in tidebase.deliveries.list()) == ["delivered", "pending"]
    assert dispatcher.report.delivered == 1


@pytest.mark.skipif(
    os.environ.get("TIDE_TEST_PGBOUNCER") == "1",
    reason="ends sessions of the server, which behind a pooler are not the dispatcher's",
)
def test_a_lost_database_connection_loses_no_report(
    tidebase: Tidebase,
    connection: Connection,
    receive: Callable[..., Receiver],
    dispatch: Callable[..., Dispatcher],
) -> None:
    held = receive(receiver=Held())
    assert isinstance(held, Held)
    announce(tidebase, held.url)
    tidebase.close()
    dispatcher = dispatch(held)
    held.arrived.get(timeout=NEVER)
    ended = connection.execute(
        "select pg_terminate_backend(pid) from pg_stat_activity "
        "where datname = current_database() and pid <> pg_backend_pid() "
        "and backend_type = 'client backend' and application_name <> 'clock'"
    ).fetchall()
    assert ended
    held.let_go.set()
    (delivery,) = wait_for(tidebase, 1, "delivered")
    assert (delivery.attempts, len(held.requests)) == (1, 1)
    announce(tidebase, held.url)
    assert len(wait_for(tidebase, 2, "delivered")) == 2
    dispatcher.stop()
    assert dispatcher.report.delivered == 2


def test_a_report_after_the_lease_is_forgotten(
    tidebase: Tidebase,
    clock: Clock,
    receive: Callable[..., Receiver],
    dispatch: Callable[..., Dispatcher],
) -> None:
    held = receive(receiver=Held())
    assert isinstance(held, Held)
    announce(tidebase, held.url)
    first = dispatch(held)
    held.arrived.get(timeout=NEVER)
    clock.advance(2 * MINUTE)
    second = dispatch(held)
    held.arrived.get(timeout=NEVER)
    held.let_go.set()
    (delivery,) = wait_for(tidebase, 1, "delivered")
    first.stop()
    second.stop()
    assert len(held.requests) == delivery.attempts == 2
    assert len({request.headers["webhook-id"] for request in held.requests}) == 1
    reports = [first.report, second.report]
    assert [sum(report.delivered for report in reports), sum(one.lost for one in reports)] == [1, 1]


def test_a_paused_installation_sends_nothing(
    tidebase: Tidebase, receive: Callable[..., Receiver]
) -> None:
    receiver = receive()
    announce(tidebase, receiver.url)
    tidebase.pause(reason="moving")
    assert tidebase.dispatcher(**allowed(receiver)).run(once=True).sent == 0
    tidebase.resume()
    assert tidebase.dispatcher(**allowed(receiver)).run(once=True).delivered == 1


def test_no_database_at_first_is_an_error() -> None:
    from psycopg import OperationalError

    with Tidebase(f"host={HOST} port={unused_port()} connect_timeout=2") as tide:
        with pytest.raises(OperationalError):
            tide.dispatcher().run()


def test_beside_others_it_waits_for_the_database_however_long() -> None:
    tried = threading.Event()

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if "goes on trying" in record.getMessage():
                tried.set()

    listener = Listener()
    logger = logging.getLogger("tidebase_pg.dispatcher")
    logger.addHandler(listener)
    try:
        with Tidebase(f"host={HOST} port={unused_port()} connect_timeout=2") as tide:
            dispatcher = tide.dispatcher()
            dispatcher.start()
            assert tried.wait(NEVER)
            dispatcher.stop()
    finally:
        logger.removeHandler(listener)


def test_without_the_packages_the_remedy_is_said(
    tidebase: Tidebase, dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "tidebase_pg.webhooks.http_sender", raising=False)
    monkeypatch.setitem(sys.modules, "httpcore", None)
    with pytest.raises(RuntimeError, match=r"pip install 'tidebase-pg\[webhooks\]'"):
        tidebase.dispatcher()
    result = CliRunner().invoke(main, ["--dsn", dsn, "deliver", "--once"])
    assert (result.exit_code, "tidebase-pg[webhooks]" in result.stderr) == (1, True)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"allow": ["127.1"]}, "neither a network nor a host"),
        ({"allow_ports": [70000]}, "allow_ports = 70000"),
        ({"concurrency": 0}, "concurrency = 0"),
        ({"timeout": 0}, "timeout = 0 s is too short"),
    ],
)
def test_wrong_options_are_named(tidebase: Tidebase, options: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        tidebase.dispatcher(**options)


# The program ------------------------------------------------------------------------------

Process = subprocess.Popen[str]


@pytest.fixture
def program(dsn: str) -> Iterator[Callable[..., Process]]:
    """Starts `tidebase-pg deliver` as a process of its own."""
    started: list[Process] = []

    def start(receiver: Receiver, *options: str) -> Process:
        arguments = ["--allow", HOST, "--allow-port", str(receiver.port), "--allow-http", *options]
        started.append(
            subprocess.Popen(
                [sys.executable, "-m", "tidebase_pg", "deliver", "--json", *arguments],
                env={**os.environ, "TIDEBASE_DSN": dsn},
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


def test_what_a_killed_dispatcher_was_sending_goes_out_again_with_the_same_id(
    tidebase: Tidebase,
    clock: Clock,
    receive: Callable[..., Receiver],
    program: Callable[..., Process],
) -> None:
    held = receive(receiver=Held())
    assert isinstance(held, Held)
    announce(tidebase, held.url)
    doomed = program(held)
    held.arrived.get(timeout=NEVER)
    doomed.send_signal(signal.SIGKILL)
    doomed.wait()
    held.let_go.set()
    dispatcher = tidebase.dispatcher(**allowed(held))
    clock.advance(2 * MINUTE)
    assert dispatcher.run(once=True).delivered == 1
    first, second = held.requests
    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    assert first.body == second.body
    (delivery,) = tidebase.deliveries.list()
    assert (delivery.status, delivery.attempts) == ("delivered", 2)


def test_a_signal_ends_the_program_once_what_is_on_its_way_is_reported(
    tidebase: Tidebase, receive: Callable[..., Receiver], program: Callable[..., Process]
) -> None:
    held = receive(receiver=Held())
    assert isinstance(held, Held)
    announce(tidebase, held.url)
    process = program(held)
    held.arrived.get(timeout=NEVER)
    process.send_signal(signal.SIGTERM)
    held.let_go.set()
    said, complaints = process.communicate(timeout=NEVER)
    assert process.returncode == 0, complaints
    assert json.loads(said) == {"sent": 1, "delivered": 1, "failed": 0, "lost": 0}
    assert [row.status for row in tidebase.deliveries.list()] == ["delivered"]


class Shell:
    """`tidebase-pg` on this test's database."""

    def __init__(self, dsn: str) -> None:
        self.dsn = dsn

    def run(self, *arguments: str, input: str = "") -> str:
        result = CliRunner().invoke(main, ["--dsn", self.dsn, *arguments], input=input)
        assert result.exit_code == 0, result.output
        return result.stdout

    def json(self, *arguments: str) -> Any:
        return json.loads(self.run(*arguments, "--json"))


@pytest.fixture
def shell(dsn: str) -> Shell:
    return Shell(dsn)


def test_the_program_sends_what_is_due_lists_it_and_sends_it_again(
    tidebase: Tidebase, shell: Shell, receive: Callable[..., Receiver]
) -> None:
    receiver = receive(lambda request: (410 if len(receiver.requests) == 1 else 200, {}, b""))
    run_id = announce(tidebase, receiver.url)
    options = ["--allow", "127.0.0.0/8", "--allow-port", str(receiver.port), "--allow-http"]
    report = shell.json("deliver", "--once", *options)
    assert (report["sent"], report["failed"]) == (1, 1)
    (row,) = shell.json("deliveries", "list", "--status", "dead", "--run", str(run_id))
    assert (row["http_status"], row["attempts"]) == (410, 1)
    assert not {"token", "lease_id", "ended_lease_id"} & row.keys()
    assert row["delivery_id"] in shell.run("deliveries", "list")
    (again,) = shell.json("deliveries", "redeliver", row["delivery_id"])
    assert again["status"] == "pending"
    assert shell.json("deliver", "--once", *options)["delivered"] == 1
    first, second = receiver.requests
    assert first.headers["webhook-id"] == second.headers["webhook-id"] == row["delivery_id"]


def test_the_program_sends_all_dead_ones_of_a_host_again(
    tidebase: Tidebase, shell: Shell, connection: Connection
) -> None:
    for host in ("one.example", "one.example", "two.example"):
        announce(tidebase, f"https://{host}/h")
    connection.execute("update tide.deliveries set status = 'dead', finished_at = now()")
    told = shell.json(
        "deliveries", "redeliver", "--dead", "--endpoint", "https://one.example", "--dry-run"
    )
    assert [row["status"] for row in told] == ["dead", "dead"]
    sent = shell.json("deliveries", "redeliver", "--dead", "--endpoint", "https://one.example")
    assert [row["delivery_id"] for row in sent] == [row["delivery_id"] for row in told]
    (left,) = shell.json("deliveries", "list", "--status", "dead")
    assert left["endpoint"] == "https://two.example"
    (last,) = shell.json("deliveries", "redeliver", "--dead")
    assert (last["delivery_id"], last["status"]) == (left["delivery_id"], "pending")
    assert shell.json("deliveries", "redeliver", "--dead") == []


@pytest.mark.parametrize(
    "wrong", [[], ["--dead", "{id}"], ["{id}", "--dry-run"], ["{id}", "--endpoint", "a.example"]]
)
def test_the_program_takes_ids_or_all_dead_ones_and_never_both(
    shell: Shell, wrong: list[str]
) -> None:
    given = [text.format(id="0190a0a0-0000-7000-8000-000000000000") for text in wrong]
    result = CliRunner().invoke(main, ["--dsn", shell.dsn, "deliveries", "redeliver", *given])
    assert result.exit_code == 2
    assert "--dead" in result.output


def test_the_program_sets_secrets_from_the_standard_input(
    shell: Shell, connection: Connection
) -> None:
    assert "set" in shell.run("webhooks", "set-secret", "partner", input=f"{PLAIN}\n")
    made = shell.run("webhooks", "set-secret", "--generate").strip()
    rows = connection.execute(
        "select s.name, s.secret from tide.webhook_secrets as s order by s.name"
    ).fetchall()
    assert [tuple(row) for row in rows] == [("default", made), ("partner", PLAIN)]
    shell.run("webhooks", "set-secret", "partner", "--keep", "0s", input=f"{PLAIN} two\n")
    assert one(
        connection,
        "select s.secret from tide.webhook_secrets as s "
        "where s.name = 'partner' and (s.expires_at is null or s.expires_at > tide._now())",
    ) == (f"{PLAIN} two",)
    shell.run("webhooks", "set-secret", "partner", "--remove")
    assert value(connection, "select count(*) from tide.webhook_secrets") == 1


def test_the_program_refuses_a_bad_secret_in_one_line(shell: Shell) -> None:
    for given in ("short\n", "\n"):
        result = CliRunner().invoke(
            main, ["--dsn", shell.dsn, "webhooks", "set-secret"], input=given
        )
        assert result.exit_code in (1, 2)
        assert "Traceback" not in result.output
        assert "short" not in result.output
