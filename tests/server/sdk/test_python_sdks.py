"""The SDKs of Tidebase from PyPI take the HTTP door for Tidebase."""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.server.conftest import PATIENCE, Http, Served, fresh, serving, wait_until
from tests.server.sdk.conftest import VERSIONS, Processes, Sdk, running
from tests.server.test_program import COMMAND, answers, environment
from tests.servers import Absent, Bouncer, RunningServer, free_port
from tests.support import Connection, Databases
from tidebase_pg.server import Settings

# 0.6.0 and 0.7.0 do not differ in a byte of their code; here its own tests are enough of 0.5.0.
DIFFERENT = ("0.5.0", "0.7.0") if os.environ.get("TIDE_TEST_SDK") else ("0.7.0",)
OWN_TESTS = {"0.5.0": 9, "0.6.0": 12, "0.7.0": 12}
SCENARIOS = (
    "steps", "contracts", "state", "gates", "children", "queues", "schedules", "events",
    "sessions", "lost_answers", "refusals", "asynchronous",
)  # fmt: skip

OWN_VERSIONS = VERSIONS if os.environ.get("TIDE_TEST_SDK") else DIFFERENT

each_version = pytest.mark.parametrize("version", DIFFERENT)
newest = pytest.mark.parametrize("version", ["0.7.0"])


@pytest.mark.parametrize("version", OWN_VERSIONS)
def test_its_own_tests_pass(sdks: Callable[[str], Sdk], served: Served, version: str) -> None:
    sdk = sdks(version)
    done = subprocess.run(
        [str(sdk.python), "-m", "unittest", "discover", "-s", "tests"],
        cwd=sdk.source,
        env={**os.environ, "TIDEBASE_URL": served.url},
        capture_output=True,
        text=True,
        timeout=3 * PATIENCE,
    )
    assert done.returncode == 0, done.stderr
    assert re.search(rf"Ran {OWN_TESTS[version]} tests", done.stderr), done.stderr
    assert "skipped" not in done.stderr


@pytest.mark.parametrize("scenario", SCENARIOS)
@each_version
def test_what_its_users_do_works(processes: Processes, scenario: str) -> None:
    processes.run(scenario)


@each_version
def test_with_a_key_everything_works_and_without_it_nothing(
    sdks: Callable[[str], Sdk], sdk_dsn: str, tmp_path: Path, version: str
) -> None:
    with (
        serving(Settings(dsn=sdk_dsn, api_key="the key of this door")) as served,
        running(sdks(version), tmp_path, served.url, "the key of this door") as processes,
    ):
        processes.run("unauthorized")
        processes.run("steps")
        processes.run("gates")


def test_two_gateways_are_one(
    sdks: Callable[[str], Sdk], sdk_dsn: str, served: Served, http: Http, tmp_path: Path
) -> None:
    with serving(Settings(dsn=sdk_dsn)) as other:
        queue = fresh("replicas")
        run_id = enqueue(http, queue)
        with running(sdks("0.7.0"), tmp_path, other.url) as processes:
            worker = processes.start("work", queue, "first")
            processes.wait_for("first waits")
            assert http.get(f"/runs/{run_id}")["run"]["status"] == "running"
            processes.tell("first.go", "step")
            processes.ended(worker)
    assert http.get(f"/runs/{run_id}")["run"]["result"] == "first"


def test_a_gateway_killed_in_the_midst_of_a_run_costs_nothing(
    sdks: Callable[[str], Sdk], sdk_dsn: str, http: Http, tmp_path: Path
) -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    run_id = http.run("go-on")
    with running(sdks("0.7.0"), tmp_path, url) as processes:
        with gateway(sdk_dsn, port) as first:
            worker = processes.start("go_on", run_id)
            processes.wait_for("waits")
            first.kill()
        with gateway(sdk_dsn, port):
            processes.tell("go", "")
            processes.ended(worker)
    run = http.get(f"/runs/{run_id}")["run"]
    assert (run["status"], run["result"], run["attempt"]) == ("completed", "done", 1)
    assert processes.log() == ["executed first", "waits", "executed second"]


@contextmanager
def gateway(dsn: str, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """The program, which listens on this port once it is here."""
    arguments = ["serve", "--port", str(port), "--no-reconcile", "--no-deliver"]
    process = subprocess.Popen([*COMMAND, "--dsn", dsn, *arguments], env=environment())
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}") as client:
            wait_until(lambda: process.poll() is not None or answers(client))
        assert process.poll() is None
        yield process
    finally:
        process.kill()
        process.wait()


def test_pgbouncer_may_stand_behind_the_gateway(
    sdks: Callable[[str], Sdk],
    databases: Databases,
    template: str,
    server: RunningServer,
    tmp_path: Path,
) -> None:
    # Another user runs it, who may not look into the folders of pytest.
    folder = tempfile.TemporaryDirectory(prefix="tide-bouncer-")
    try:
        bouncer = Bouncer(Path(folder.name), server)
    except Absent as absent:
        pytest.skip(str(absent))
    with folder, databases.database(template) as name:
        try:
            with serving(Settings(dsn=bouncer.start().dsn(name))) as served:
                with running(sdks("0.7.0"), tmp_path, served.url) as processes:
                    for scenario in ("steps", "gates", "events"):
                        processes.run(scenario)
        finally:
            bouncer.stop()


# --- workers that hang or die, beside their successors ---------------------------------------


def enqueue(http: Http, queue: str, attempts: int = 5) -> str:
    body = {"workflowName": "job", "maxAttempts": attempts}
    made: str = http.post(f"/queues/{queue}/enqueue", body)["run"]["id"]
    return made


def expire(sql: Connection, run_id: str) -> None:
    """The lease of a run is over, and upkeep has taken it back."""
    key = run_id.removeprefix("run_")
    sql.execute("delete from tide.lease_renewals where run_id = %s", (key,))
    sql.execute(
        "update tide.runs_active set leased_until = now() - interval '1 hour' where run_id = %s",
        (key,),
    )
    sql.execute("call tide.reconcile()")


@pytest.fixture(params=[False, True], ids=["one address", "scoped"])
def urls(request: pytest.FixtureRequest, served: Served) -> Callable[[str], str]:
    """Where a worker sends its calls: all to one URL, or each to that of its name."""
    return lambda name: f"{served.url}/w/{name}" if request.param else served.url


ENDINGS = ("return", "raise", "step", "raise in a step")


@pytest.mark.parametrize("ending", ENDINGS)
@newest
def test_a_worker_that_wakes_up_too_late_changes_nothing_of_its_successor(
    processes: Processes,
    http: Http,
    sql: Connection,
    urls: Callable[[str], str],
    ending: str,
) -> None:
    """What slips through without a URL of one's own: a late return completes the run, once."""
    queue = fresh("zombies")
    run_id = enqueue(http, queue)
    first = processes.start("work", queue, "first", url=urls("first"))
    processes.wait_for("first waits")
    expire(sql, run_id)
    second = processes.start("work", queue, "second", url=urls("second"))
    processes.wait_for("second waits")
    processes.tell("first.go", ending)
    processes.ended(first)

    run = http.get(f"/runs/{run_id}")["run"]
    slips = ending == "return" and urls("x") == urls("y")
    if slips:
        assert (run["status"], run["result"], run["attempt"]) == ("completed", "first", 2)
    else:
        assert (run["status"], run["attempt"]) == ("running", 2)
    processes.tell("second.go", "step")
    processes.ended(second)
    run = http.get(f"/runs/{run_id}")["run"]
    assert run["status"] == "completed"
    if not slips:
        assert run["result"] == "second"
    log = processes.log()
    assert log.count("first executed first") == 1
    assert "second executed first" not in log
    assert "first executed second" not in log
    assert log.count("second executed second") == (not slips)


@pytest.mark.parametrize("ending", ["return", "raise"])
@newest
def test_a_worker_hung_in_a_step_changes_nothing_of_its_successor(
    processes: Processes,
    http: Http,
    sql: Connection,
    urls: Callable[[str], str],
    ending: str,
) -> None:
    queue = fresh("zombies")
    run_id = enqueue(http, queue)
    first = processes.start("work_in_step", queue, "first", url=urls("first"))
    processes.wait_for("first waits")
    expire(sql, run_id)
    second = processes.start("work_in_step", queue, "second", url=urls("second"))
    processes.wait_for("second waits")
    processes.tell("first.go", ending)
    processes.ended(first)
    run = http.get(f"/runs/{run_id}")["run"]
    assert (run["status"], run["attempt"]) == ("running", 2)
    processes.tell("second.go", "return")
    processes.ended(second)
    run = http.get(f"/runs/{run_id}")["run"]
    assert (run["status"], run["result"]) == ("completed", "second")


@each_version
def test_a_killed_worker_is_followed_and_no_step_is_done_twice(
    processes: Processes, http: Http, sql: Connection
) -> None:
    queue = fresh("killed")
    run_id = enqueue(http, queue)
    first = processes.start("work", queue, "first")
    processes.wait_for("first waits")
    first.kill()
    first.wait()
    expire(sql, run_id)
    second = processes.start("work", queue, "second")
    processes.wait_for("second waits")
    processes.tell("second.go", "step")
    processes.ended(second)
    run = http.get(f"/runs/{run_id}")["run"]
    assert (run["status"], run["result"], run["attempt"]) == ("completed", "second", 2)
    assert "second executed first" not in processes.log()


@pytest.mark.parametrize("ending", ["raise", "raise in a step"])
@newest
def test_the_failure_of_a_successor_is_taken_or_costs_one_lease(
    processes: Processes,
    http: Http,
    sql: Connection,
    urls: Callable[[str], str],
    ending: str,
) -> None:
    """Its predecessor was killed and can never tell that it stopped."""
    queue = fresh("followed")
    run_id = enqueue(http, queue, attempts=3)
    first = processes.start("work", queue, "first", url=urls("first"))
    processes.wait_for("first waits")
    first.kill()
    first.wait()
    expire(sql, run_id)
    second = processes.start("work", queue, "second", url=urls("second"))
    processes.wait_for("second waits")
    processes.tell("second.go", ending)
    processes.ended(second)
    run = http.get(f"/runs/{run_id}")["run"]
    if ending == "raise" and urls("x") == urls("y"):
        assert run["status"] == "running"
        (told,) = [e for e in events(http, run_id) if e["type"] == "report.refused"]
        assert "second gave up" in str(told["payload"]["error"])
        expire(sql, run_id)
        run = http.get(f"/runs/{run_id}")["run"]
    assert (run["status"], run["attempt"]) == ("queued", 2)


def events(http: Http, run_id: str) -> list[dict[str, object]]:
    found: list[dict[str, object]] = http.get(f"/runs/{run_id}")["events"]
    return found


@newest
def test_an_asynchronous_worker_that_wakes_up_too_late_is_stopped(
    processes: Processes, http: Http, sql: Connection
) -> None:
    queue = fresh("zombies")
    run_id = enqueue(http, queue)
    first = processes.start("work_async", queue, "first")
    processes.wait_for("first waits")
    expire(sql, run_id)
    processes.start("work_async", queue, "second")
    processes.wait_for("second waits")
    processes.tell("stop", "")
    processes.tell("first.go", "step")
    processes.ended(first)
    run = http.get(f"/runs/{run_id}")["run"]
    assert (run["status"], run["attempt"]) == ("running", 2)
    assert "first ended with RunCancelled" in processes.log()
    processes.tell("second.go", "step")
    processes.wait_for("second executed second")
    assert "first executed second" not in processes.log()
