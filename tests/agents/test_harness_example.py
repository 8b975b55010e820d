"""The example of the harness runs as it stands; killed while the bank is paying, it goes on and
pays once."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("pydantic_ai_harness", reason="run: make test-harness")

from pydantic_ai.messages import ModelResponse, ToolCallPart
from pydantic_ai_harness.step_persistence import ContinuableSnapshot, RunRecord, ToolEffectRecord

from tests.agents.test_examples import HERE, entries, until, variables
from tests.support import open_connection, value
from tidebase_pg.agents.harness import TideStepStore

BOOK = ["asked 1", "found 7", "asked 2", "asked 3", "paid", "asked 4", "asked 1"]
SAID = ["You get 5.00 back.", "A kite."]
PROGRAM = [sys.executable, "clerk_harness.py"]


def start(env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(PROGRAM, cwd=HERE, env=env, capture_output=True, text=True, check=False)


def said(env: dict[str, str]) -> list[str]:
    done = start(env)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_the_example_runs_as_it_stands_and_pays_for_nothing_the_second_time(
    direct_dsn: str, tmp_path: Path
) -> None:
    book = tmp_path / "book.txt"
    for _ in range(2):
        assert said(variables(direct_dsn, book)) == SAID
        assert entries(book) == BOOK


def test_the_example_killed_while_the_bank_pays_goes_on_pays_once_and_remembers(
    direct_dsn: str, tmp_path: Path
) -> None:
    book, log = tmp_path / "book.txt", tmp_path / "log.txt"
    # The bank has paid and its answer does not come: nobody recorded that it has.
    env = variables(direct_dsn, book, BANK_SECONDS="600")
    with log.open("wb") as output:
        first = subprocess.Popen(PROGRAM, cwd=HERE, env=env, stdout=output, stderr=output)
    try:
        until(lambda: "paid" in entries(book) or first.poll() is not None, f"the bank, see {log}")
    finally:
        first.send_signal(signal.SIGKILL)
        first.wait()
    assert entries(book) == BOOK[:5], log.read_text()
    assert said(variables(direct_dsn, book)) == SAID
    assert entries(book) == BOOK
    with open_connection(direct_dsn) as connection:
        kept = value(connection, "select content from tide_harness.files")
    assert kept == "The kite of order 7 broke.\n"


async def test_the_example_leaves_to_a_person_what_was_begun_and_must_not_be_repeated(
    direct_dsn: str, tmp_path: Path
) -> None:
    asked = ModelResponse(parts=[ToolCallPart("write_memory", {"content": "x"}, tool_call_id="1")])
    async with TideStepStore.from_conn_string(direct_dsn) as steps:
        await steps.setup()
        await steps.register_run(RunRecord(run_id="a", conversation_id="order-7"))
        await steps.save_snapshot(
            ContinuableSnapshot(
                run_id="a",
                conversation_id="order-7",
                step_index=1,
                messages=[asked],
                state="interrupted",
            )
        )
        await steps.record_tool_effect(
            ToolEffectRecord(
                tool_call_id="1", tool_name="write_memory", run_id="a", status="completed"
            )
        )
    done = start(variables(direct_dsn, tmp_path / "book.txt"))
    assert (done.returncode, done.stdout) == (1, "")
    assert "a person has to look: write_memory was begun in a" in done.stderr
    assert entries(tmp_path / "book.txt") == []
