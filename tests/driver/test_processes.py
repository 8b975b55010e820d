"""Worker processes: killed in the middle, and stopped by signals."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Generator, Iterable, Iterator
from pathlib import Path
from typing import IO, Any
from uuid import UUID

import pytest

from tests.driver.conftest import Background
from tidebase_pg import Run, Tidebase, calls

PATIENCE = 60
ROOT = Path(__file__).parents[2]
Process = subprocess.Popen[str]
Start = Callable[..., Process]


@contextlib.contextmanager
def application(dsn: str) -> Generator[Start]:
    """Starts the application as a process of its own."""
    started: list[Process] = []

    def start(mode: str, concurrency: int = 1) -> Process:
        started.append(
            subprocess.Popen(
                [sys.executable, "-m", "tests.driver.application", mode, str(concurrency)],
                cwd=ROOT,
                env={**os.environ, "TIDEBASE_DSN": dsn},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
        return started[-1]

    try:
        yield start
    finally:
        for one in started:
            one.kill()
            one.wait()
            for pipe in (one.stdin, one.stdout, one.stderr):
                assert pipe is not None
                pipe.close()


@pytest.fixture
def process(dsn: str) -> Iterator[Start]:
    with application(dsn) as start:
        yield start


def read_until(pipe: IO[str] | None, words: str) -> None:
    assert pipe is not None
    said = []
    for line in pipe:
        said.append(line)
        if words in line:
            return
    raise AssertionError(f"it never said {words!r}: {''.join(said)}")


@pytest.mark.parametrize("mode", ["sync", "async"])
def test_a_killed_worker_s_run_goes_on_where_it_was(
    tide: Tidebase,
    background: Background,
    process: Start,
    tmp_path: Path,
    mode: str,
) -> None:
    log = tmp_path / "log"
    backoff = {"base": 0, "jitter": 0}
    run_id = tide.enqueue("killed", input={"log": str(log)}, max_attempts=3, backoff=backoff).run_id
    doomed = process(mode)
    read_until(doomed.stdout, "in the middle")
    doomed.send_signal(signal.SIGKILL)
    doomed.wait()

    def note(line: str) -> int:
        with log.open("a") as file:
            return file.write(line + "\n")

    @tide.workflow("killed")
    def killed(run: Run, input: Any) -> Any:
        first = run.step("first", lambda: note("first again"))
        run.step("second", lambda: note("second again"))
        return first

    background.start(tide, reconcile=0.05)
    run = tide.runs.wait(run_id, timeout=PATIENCE)
    assert (run.status, run.result, run.attempt) == ("completed", len("first\n"), 2)
    assert log.read_text().splitlines() == ["first", "second", "second again"]


@pytest.mark.parametrize("mode", ["sync", "async"])
def test_of_a_batch_whose_worker_was_killed_only_what_was_in_flight_happens_twice(
    tide: Tidebase,
    background: Background,
    process: Start,
    tmp_path: Path,
    mode: str,
) -> None:
    log = tmp_path / "log"

    def enqueue(numbers: Iterable[int]) -> list[UUID]:
        made = tide.enqueue_many(
            {
                "workflow": "batched",
                "input": {"log": str(log), "number": number},
                "max_attempts": 2,
                "backoff": {"base": 0, "jitter": 0},
            }
            for number in numbers
        )
        return [one.run_id for one in made]

    doomed = process(mode, concurrency=4)
    answered = enqueue(range(4))
    for run_id in answered:
        tide.runs.wait(run_id, timeout=PATIENCE)
    cut = enqueue(range(4, 8))
    read_until(doomed.stdout, "in the middle")
    doomed.send_signal(signal.SIGKILL)
    doomed.wait()

    def note(number: int) -> int:
        with log.open("a") as file:
            file.write(f"{number}\n")
        return number

    @tide.workflow("batched", batch=4)
    def batched(runs: list[Run], inputs: list[Any]) -> list[int]:
        return [
            run.step("send", lambda one=one: note(one["number"]))
            for run, one in zip(runs, inputs, strict=True)
        ]

    background.start(tide, concurrency=4, reconcile=0.05)
    runs = [tide.runs.wait(run_id, timeout=PATIENCE) for run_id in [*answered, *cut]]
    assert [run.status for run in runs] == ["completed"] * 8
    assert [run.result for run in runs] == list(range(8))
    assert [run.attempt for run in runs] == [1] * 4 + [2] * 4
    sent = [int(line) for line in log.read_text().split()]
    # Of the second batch two had sent and recorded it, the third was under way, the last not begun.
    assert sorted(sent) == sorted([*range(8), sent[6]])
    assert sorted(sent[:4]) == list(range(4))
    assert sent[6] in sent[7:]


def test_an_unkeyed_effect_in_flight_when_its_worker_was_killed_waits_for_an_operator(
    tide: Tidebase, background: Background, process: Start, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    backoff = {"base": 0, "jitter": 0}
    run_id = tide.enqueue("effect", input={"log": str(log)}, max_attempts=3, backoff=backoff).run_id
    doomed = process("sync")
    read_until(doomed.stdout, "in the middle")
    doomed.send_signal(signal.SIGKILL)
    doomed.wait()

    called: list[int] = []

    @tide.workflow("effect")
    def effect(run: Run, input: Any) -> Any:
        run.step("send", lambda: called.append(1), side_effects=["mail"])

    background.start(tide, reconcile=0.05)
    while (run := tide.runs.get(run_id)).waiting_on is None:
        assert run.status in ("running", "queued")
    assert (run.waiting_on, called) == ("review", [])
    tide.execute(calls.resolve_step(run_id, "send", "retry"))
    assert tide.runs.wait(run_id, timeout=PATIENCE).status == "completed"
    assert called == [1]


@pytest.mark.parametrize("mode", ["sync", "async"])
def test_a_signal_lets_running_runs_end_and_claims_no_more(
    tide: Tidebase, process: Start, tmp_path: Path, mode: str
) -> None:
    log = str(tmp_path / "log")
    first = tide.enqueue("killed", input={"log": log}).run_id
    worker = process(mode)
    read_until(worker.stdout, "in the middle")
    second = tide.enqueue("killed", input={"log": log}).run_id
    worker.send_signal(signal.SIGTERM)
    read_until(worker.stderr, "stops; running: 1")
    assert worker.stdin is not None
    worker.stdin.write("\n")
    worker.stdin.flush()
    assert worker.wait(PATIENCE) == 0
    assert tide.runs.get(first).status == "completed"
    untouched = tide.runs.get(second)
    assert (untouched.status, untouched.attempt) == ("queued", 0)


@pytest.mark.parametrize("mode", ["sync", "async"])
def test_a_second_signal_hands_the_runs_back_at_once(
    tide: Tidebase, process: Start, tmp_path: Path, mode: str
) -> None:
    run_id = tide.enqueue("killed", input={"log": str(tmp_path / "log")}).run_id
    worker = process(mode)
    read_until(worker.stdout, "in the middle")
    worker.send_signal(signal.SIGINT)
    read_until(worker.stderr, "stops; running: 1")
    worker.send_signal(signal.SIGINT)
    while tide.runs.get(run_id).status == "running":
        assert worker.poll() is None
    if mode == "async":
        assert worker.stdin is not None
        worker.stdin.close()  # asyncio.to_thread, used by the workflow, delays the exit
        worker.stdin = open(os.devnull, "w")  # noqa: PTH123, SIM115
    assert worker.wait(PATIENCE) == 0
    run = tide.runs.get(run_id)
    assert (run.status, run.attempt) == ("queued", 0)
