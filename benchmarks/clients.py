"""Processor time of a worker's process, with all its threads, for each of its runs.

`python -m benchmarks.clients [--beside COMMIT ...]`: this tree, and the package as it was at other
commits, take turns. Each has a database of its own with the schema of its commit.
"""

from __future__ import annotations

import argparse
import io
import os
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Final

from benchmarks.stage import SUPERUSER, Stage, execute

ROOT: Final = Path(__file__).resolve().parent.parent
HERE: Final = "this tree"
COLOURS: Final = ("sync", "async")
STEPS: Final = 3
CONCURRENCY: Final = 10
WORK: Final = f"""
import asyncio, resource, sys
from tidebase_pg import AsyncTidebase, Tidebase

def spent():
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime

options = dict(concurrency={CONCURRENCY}, drain=True, reconcile=False)
if sys.argv[1] == "sync":
    tide = Tidebase()

    @tide.workflow("noop")
    def noop(run, given):
        for number in range({STEPS}):
            run.step(f"step {{number}}", lambda: number)

    before = spent()
    report = tide.work(**options)
else:
    tide = AsyncTidebase()

    @tide.workflow("noop")
    async def noop(run, given):
        async def one():
            return 1
        for number in range({STEPS}):
            await run.step(f"step {{number}}", one)

    before = spent()
    report = asyncio.run(tide.work(**options))
print(1e6 * (spent() - before) / report.completed)
"""


@dataclass(slots=True)
class Contender:
    """The package of one commit, its database, and what its workers have spent on a run."""

    name: str
    folder: Path
    dsn: str
    spent: dict[str, list[float]] = field(default_factory=lambda: {one: [] for one in COLOURS})

    def python(self, *arguments: str) -> str:
        environment = {**os.environ, "PYTHONPATH": str(self.folder), "TIDEBASE_DSN": self.dsn}
        command = [sys.executable, *arguments]
        done = subprocess.run(
            command, cwd=self.folder, env=environment, check=False, capture_output=True, text=True
        )
        if done.returncode:
            raise RuntimeError(f"{self.name}: {done.stderr}")
        return done.stdout

    def round(self, colour: str, runs: int) -> None:
        execute(self.dsn, f"select count(tide.enqueue('noop')) from generate_series(1, {runs})")
        self.spent[colour].append(float(self.python("-c", WORK, colour)))


def unpacked(commit: str, ending: ExitStack) -> Path:
    """The package and its schema as they were at a commit."""
    folder = Path(ending.enter_context(tempfile.TemporaryDirectory(prefix="tide-clients-")))
    packed = subprocess.run(
        ["git", "archive", commit, "tidebase_pg", "sql"], cwd=ROOT, check=True, capture_output=True
    )
    with tarfile.open(fileobj=io.BytesIO(packed.stdout)) as archive:
        archive.extractall(folder, filter="data")
    return folder


def measure(commits: Sequence[str], runs: int, rounds: int) -> list[Contender]:
    with Stage() as stage, ExitStack() as ending:
        contenders: list[Contender] = []
        for place, name in enumerate([HERE, *commits]):
            execute(stage.dsn(), f"create database clients_{place}")
            dsn = f"postgresql:///clients_{place}?host={stage.server.socket_folder}"
            dsn += f"&port={stage.port}&user={SUPERUSER}"
            folder = ROOT if name == HERE else unpacked(name, ending)
            contenders.append(Contender(name, folder, dsn))
            contenders[-1].python("-m", "tidebase_pg", "install")
        for number in range(rounds):
            turns = contenders if number % 2 else list(reversed(contenders))
            for colour in COLOURS:
                for one in turns:
                    one.round(colour, runs)
        return contenders


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.clients", description=__doc__)
    parser.add_argument("--beside", nargs="*", default=[], metavar="COMMIT")
    parser.add_argument("--runs", type=int, default=1000, help="runs of a round")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of each colour")
    given = parser.parse_args()
    print(f"microseconds of processor time for a run of {STEPS} steps, medians")
    for one in measure(given.beside, given.runs, given.rounds):
        cells = [f"{colour} {median(spent):.0f}" for colour, spent in one.spent.items()]
        print(f"  {one.name:12} {'  '.join(cells)}")


if __name__ == "__main__":
    main()
