"""The README keeps its word: its Python quickstart does what it says, its tests exist."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import pytest

from tests.examples.documents import blocks
from tests.examples.test_documents import environment
from tests.servers import ROOT
from tidebase_pg import Tidebase

TEST = re.compile(r"\[`(test_\w+)`\]\(([\w/.-]+)\)")


def named_tests() -> list[tuple[str, str]]:
    return TEST.findall((ROOT / "README.md").read_text(encoding="utf-8"))


@pytest.mark.parametrize(("name", "file"), named_tests())
def test_every_test_named_in_the_readme_exists(name: str, file: str) -> None:
    found = re.findall(
        r"^(?:async )?def (test_\w+)", (ROOT / file).read_text(encoding="utf-8"), re.MULTILINE
    )
    assert name in found, f"{file} has no {name}"


def test_every_guarantee_of_the_readme_names_its_test() -> None:
    section = (ROOT / "README.md").read_text(encoding="utf-8").split("## What is guaranteed")[1]
    rows = [line for line in section.split("\n## ")[0].splitlines() if line.startswith("| ")][1:]
    assert len(rows) >= 10
    assert [row for row in rows if not TEST.search(row)] == []


@contextmanager
def worker(folder: Path, dsn: str, said: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The worker of the quickstart, as its command line has it."""
    (line,) = [
        line
        for block in blocks("README.md", "sh")
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


def test_python_quickstart_pays_once_though_its_worker_is_killed(dsn: str, tmp_path: Path) -> None:
    (block,) = blocks("README.md", "python")
    # Two seconds do for a machine; the reader gets ten to find the process.
    (tmp_path / "tides.py").write_text(block.code.replace("sleep(10)", "sleep(2)"))
    printed = subprocess.run(
        [sys.executable, "tides.py"],
        cwd=tmp_path, env=environment(dsn), capture_output=True, text=True, check=True,
    )  # fmt: skip
    run_id = printed.stdout.strip()

    first, second = tmp_path / "first", tmp_path / "second"
    with Tidebase(dsn) as tide:
        with worker(tmp_path, dsn, first) as killed:
            give_up_at = time.monotonic() + 30
            while not first.exists() or "writing" not in first.read_text():
                assert time.monotonic() < give_up_at, "the first worker wrote nothing"
                time.sleep(0.02)
            killed.kill()
        with worker(tmp_path, dsn, second):
            run = tide.runs.wait(run_id, timeout=30)
    assert (run.status, run.attempt) == ("completed", 2)
    assert run.result == {"text": "tides follow the moon; tides come twice a day"}
    assert first.read_text().count("paying") == 1
    assert second.read_text().count("paying") == 0
