"""The examples run as they stand; killed while the bank is paying, they go on and pay once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from tests.examples.test_documents import environment
from tests.servers import ROOT
from tidebase_pg import AsyncTidebase, Tidebase
from tidebase_pg.types import RunRow

HERE = ROOT / "examples/frameworks"
PATIENCE = 60.0

EXAMPLES = {
    # The module of the framework, the book of a run, and what it prints.
    "clerk_pydantic_ai": ("pydantic_ai", ["asked 1", "found 7", "asked 2", "paid", "asked 3"]),
    "clerk_openai_agents": ("agents.testing", ["asked 1", "found 7", "asked 2", "paid", "asked 3"]),
    "clerk_langgraph": ("langgraph", ["asked 1", "paid"]),
    "clerk_mcp": ("mcp.server", ["asked 1", "paid"]),
    "clerk_django": ("django_tasks", ["asked 1", "paid"]),
    "clerk_opentelemetry": ("opentelemetry", ["asked 1", "paid"]),
}


@pytest.fixture(params=EXAMPLES)
def example(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    if find_spec(EXAMPLES[name][0].partition(".")[0]) is None:
        pytest.skip("run: make test-agents")
    return name


def variables(dsn: str, book: Path, **more: str) -> dict[str, str]:
    spans = str(book.with_name("spans.txt"))
    return {**environment(dsn), "BOOK": str(book), "SPANS": spans, **more}


def entries(book: Path) -> list[str]:
    """The book, without whose key a payment was for."""
    lines = book.read_text().splitlines() if book.exists() else []
    return [line.partition(" 500 for ")[0] for line in lines]


def until(condition: Callable[[], Any], what: str) -> Any:
    give_up_at = time.monotonic() + PATIENCE
    while not (found := condition()):
        assert time.monotonic() < give_up_at, f"waited in vain: {what}"
        time.sleep(0.05)  # what is awaited is done by other processes
    return found


@contextmanager
def worker(example: str, env: dict[str, str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-m", "tidebase_pg", "work", f"{example}:tide", "--lease", "2s"]
    with log.open("wb") as said:
        process = subprocess.Popen(command, cwd=HERE, env=env, stdout=said, stderr=said)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def test_an_example_runs_as_it_stands(example: str, direct_dsn: str, tmp_path: Path) -> None:
    book = tmp_path / "book.txt"
    done = subprocess.run(
        [sys.executable, HERE / f"{example}.py"],
        env=variables(direct_dsn, book), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "You get 5.00 back."
    assert entries(book) == EXAMPLES[example][1]


def test_an_example_killed_while_the_bank_pays_goes_on_and_pays_once(
    example: str, direct_dsn: str, tmp_path: Path
) -> None:
    book, log = tmp_path / "book.txt", tmp_path / "worker.log"
    with Tidebase(direct_dsn) as tide:
        run_id = tide.enqueue("clerk", input={"order": 7}, max_attempts=3).run_id

        def run() -> RunRow:
            return tide.runs.get(run_id)

        # The bank has paid and its answer does not come: nobody recorded that it has.
        with worker(example, variables(direct_dsn, book, BANK_SECONDS="600"), log) as first:
            (gate,) = until(tide.gates.pending, "the question")
            assert "paid" not in entries(book)
            tide.gates.decide(gate.gate_id, "approved", "ann")
            until(lambda: "paid" in entries(book), "the payment")
            before = entries(book)
            first.send_signal(signal.SIGKILL)
            first.wait()
        assert run().status == "running"
        with worker(example, variables(direct_dsn, book), log):
            until(lambda: run().finished, f"the end, see {log}")
        row = run()
        assert (row.status, row.result, row.attempt) == ("completed", "You get 5.00 back.", 2)
    assert before == EXAMPLES[example][1][: len(before)]
    assert entries(book) == EXAMPLES[example][1]


async def test_a_task_of_the_example_outlives_the_server_that_made_it(
    direct_dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("mcp.server", reason="run: make test-agents")
    from mcp import Client
    from mcp.client.stdio import StdioServerParameters

    env = variables(direct_dsn, tmp_path / "book.txt")
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    monkeypatch.syspath_prepend(str(HERE))
    import clerk_mcp  # type: ignore[import-not-found]

    served = StdioServerParameters(
        command=sys.executable, args=["clerk_mcp.py", "serve"], cwd=str(HERE), env=env
    )
    known = [clerk_mcp.KnowsTasks()]
    async with Client(served, extensions=known) as client:
        task = await clerk_mcp.begin(client, 7)
    async with AsyncTidebase(direct_dsn) as tide:
        tide.workflow("clerk")(clerk_mcp.clerk)
        await tide.work(drain=True)
        async with Client(served, extensions=known) as client:
            asked = await clerk_mcp.ask(client, "get", taskId=task["taskId"])
            assert asked["status"] == "input_required"
            no = {key: {"action": "decline"} for key in asked["inputRequests"]}
            await clerk_mcp.ask(client, "update", taskId=task["taskId"], inputResponses=no)
            await tide.work(drain=True)
            done = await clerk_mcp.ask(client, "get", taskId=task["taskId"])
    assert done["result"]["content"][0]["text"] == "We are sorry."
    assert "paid" not in entries(Path(os.environ["BOOK"]))
