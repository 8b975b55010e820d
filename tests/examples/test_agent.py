"""The example agent: asks first, sends out researchers, keeps its budget; and its demo runs."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.servers import ROOT

QUESTION = "Why do tides follow the moon?"


@pytest.fixture
def example(monkeypatch: pytest.MonkeyPatch, dsn: str) -> Iterator[ModuleType]:
    """examples/agent/agent.py, imported as its worker imports it."""
    monkeypatch.setenv("TIDEBASE_DSN", dsn)
    monkeypatch.syspath_prepend(str(ROOT / "examples" / "agent"))
    import agent

    yield agent
    agent.tide.close()
    del sys.modules["agent"]


@pytest.fixture
def task(tmp_path: Path) -> dict[str, Any]:
    (tmp_path / "docs").mkdir()
    (tmp_path / "README.md").write_text("# Tides\n\nTides rise and fall with the moon, always.\n")
    (tmp_path / "docs" / "moon.md").write_text(
        "The moon pulls at the water of the sea. Nobody asked why the moon is grey and round.\n"
    )
    (tmp_path / "docs" / "cheese.md").write_text("Cheese is made of milk and takes its time.\n")
    return {"question": QUESTION, "folder": str(tmp_path), "output": str(tmp_path / "out")}


def approve(example: ModuleType) -> None:
    (gate,) = example.tide.gates.pending()
    example.tide.gates.decide(gate.gate_id, "approved", "ann")


def test_agent_reads_what_speaks_of_the_question_once_approved(
    example: ModuleType, task: dict[str, Any]
) -> None:
    tide = example.tide
    run_id = tide.enqueue(example.agent, input=task).run_id
    tide.work(drain=True)
    (gate,) = tide.gates.pending()
    assert gate.prompt == "Read 2 documents, 24 words?"
    assert (tide.runs.get(run_id).waiting_on, tide.runs.children(run_id)) == ("gate", [])

    approve(example)
    tide.work(drain=True)
    run = tide.runs.get(run_id)
    assert (run.status, run.result["decided_by"]) == ("completed", "ann")
    text = Path(run.result["path"]).read_text()
    assert "- Tides rise and fall with the moon, always." in text
    assert "- The moon pulls at the water of the sea." in text
    assert "Cheese" not in text
    assert tide.runs.state(run_id).value["status"] == "answered"


def test_agent_that_is_refused_reads_nothing(example: ModuleType, task: dict[str, Any]) -> None:
    tide = example.tide
    run_id = tide.enqueue(example.agent, input=task).run_id
    tide.work(drain=True)
    (gate,) = tide.gates.pending()
    tide.gates.decide(gate.gate_id, "rejected", "ann")
    tide.work(drain=True)
    assert tide.runs.get(run_id).result == {"path": None, "decided_by": "ann"}
    assert tide.runs.children(run_id) == []


def test_researchers_wait_while_the_budget_of_the_agent_is_used_up(
    example: ModuleType, task: dict[str, Any]
) -> None:
    tide = example.tide
    run_id = tide.enqueue(example.agent, input=task, budget={"max_tokens": 24}).run_id
    tide.work(drain=True)
    approve(example)
    tide.work(drain=True)
    children = [tide.runs.get(child.child_id) for child in tide.runs.children(run_id)]
    assert tide.runs.get(run_id).waiting_on == "children"
    assert "budget" in [child.waiting_on for child in children]

    tide.runs.set_budget(run_id, {"max_tokens": 1000})
    tide.work(drain=True)
    assert tide.runs.get(run_id).status == "completed"
    keys = [row.request_key for child in children for row in tide.runs.usage(child.run_id)]
    assert sorted(keys) == ["facts", "facts", "terms", "terms"]


def test_demo_survives_both_kills_and_its_own_checks() -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "examples" / "agent" / "demo.py"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    (answer,) = re.findall(r"^== The answer: (.+)$", done.stdout, re.MULTILINE)
    shutil.rmtree(Path(answer).parent)
    assert done.stdout.count("  ok  ") == 7
    assert done.stdout.count("kill -9") == 2
