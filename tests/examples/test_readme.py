"""The README and the tutorial keep their word, and each guarantee names its test."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from tests.examples.documents import blocks
from tests.examples.test_documents import environment
from tests.servers import ROOT
from tidebase_pg import Tidebase

TEST = re.compile(r"\[`(test_\w+)`\]\(([\w/.-]+)\)")


def test_every_guarantee_names_its_test() -> None:
    page = (ROOT / "docs/production.md").read_text(encoding="utf-8")
    section = page.split("## What is guaranteed")[1]
    rows = [line for line in section.split("\n## ")[0].splitlines() if line.startswith("| ")][1:]
    assert len(rows) >= 10
    assert [row for row in rows if not TEST.search(row)] == []


@contextmanager
def worker(folder: Path, dsn: str, said: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The worker of the tutorial, as its command line has it."""
    (line,) = [
        line
        for block in blocks("docs/tutorial.md", "sh")
        for line in block.code.splitlines()
        if line.startswith("tidebase-pg work")
    ]
    log: IO[bytes]
    with said.open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "tidebase_pg", *line.split()[1:]],
            cwd=folder, env=environment(dsn), stdout=log, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            yield process
        finally:
            process.terminate()
            process.wait()


def printed(folder: Path, dsn: str, *command: str) -> str:
    done = subprocess.run(
        command, cwd=folder, env=environment(dsn), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def wait_for(said: Path, words: str) -> None:
    give_up_at = time.monotonic() + 30
    while not said.exists() or words not in said.read_text():
        assert time.monotonic() < give_up_at, f"the worker never said {words!r}"
        time.sleep(0.02)


def test_example_of_the_readme_asks_before_it_publishes(dsn: str, tmp_path: Path) -> None:
    (block,) = blocks("README.md", "python")
    (tmp_path / "first.py").write_text(block.code)
    printed(tmp_path, dsn, sys.executable, "first.py")
    with Tidebase(dsn) as tide:
        (gate,) = tide.gates.pending()
        assert (gate.prompt, gate.data) == ("Publish this?", {"facts": "all about tides"})
        assert tide.runs.get(gate.run_id).attempt == 0


def test_tutorial_pays_once_though_its_worker_is_killed(dsn: str, tmp_path: Path) -> None:
    (block,) = blocks("docs/tutorial.md", "python")
    # Two seconds do for a machine; the reader gets ten to find the process.
    (tmp_path / "agent.py").write_text(block.code.replace("seconds=10", "seconds=2"))
    run_id = printed(tmp_path, dsn, sys.executable, "agent.py", "tides")
    first, second = tmp_path / "first", tmp_path / "second"
    with Tidebase(dsn) as tide:
        with worker(tmp_path, dsn, first) as killed:
            wait_for(first, "paying for: write")
            killed.kill()
        with worker(tmp_path, dsn, second):
            give_up_at = time.monotonic() + 60
            while not (pending := tide.gates.pending()):
                assert time.monotonic() < give_up_at, "nobody was asked"
                time.sleep(0.02)
            gate_id = str(pending[0].gate_id)
            assert "publish" in printed(tmp_path, dsn, "tidebase-pg", "gates", "list")
            answer = [
                "tidebase-pg",
                "gates",
                "approve",
                gate_id,
                "--payload",
                '{"note": "well done"}',
            ]
            printed(tmp_path, dsn, *answer)
            run = tide.runs.wait(run_id, timeout=60)
        assert "step.completed" in printed(tmp_path, dsn, "tidebase-pg", "events", run_id)
        assert "publish" in printed(tmp_path, dsn, "tidebase-pg", "runs", "show", run_id)
    assert (run.status, run.result) == ("completed", {"published": True})
    assert first.read_text().count("paying for: plan tides") == 1
    assert second.read_text().splitlines()[:2] == [
        "paying for: write",
        "published: notes on why two a day?; notes on why the moon?",
    ]
