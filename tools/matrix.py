"""Run the tests on every server and Python there is, and write what came of it into the docs.

`python tools/matrix.py`: all cells, each with its row of the table in docs/production.md. `--only
WORD` runs the cells whose name has the word, and leaves the other rows as they are; with `--tests
PATHS`, other tests than those of the cells, nothing is written. What a cell says goes to
build/matrix/. Ends with 1 if a test failed.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parent.parent
LOGS: Final = ROOT / "build" / "matrix"
PAGE: Final = ROOT / "docs" / "production.md"
HEADING: Final = "## What it was tested on"
BEFORE: Final = "## Limits"
TEXT: Final = """\
`make test-all` ran the tests in each of these cells. Each that has all tests also runs functions at
every isolation level (`tests/upkeep/test_isolation.py`) and sees databases of other encodings than
UTF8 refused (`tests/install/test_encodings.py`). A cell may be run alone, as in
`make test-all ONLY="PostgreSQL 15"`.
"""
BOUNCER: Final = Path("/usr/sbin/pgbouncer")

ALL: Final = ("tests", "--ignore=tests/agents", "--ignore=tests/site", "--ignore=tests/studio")
SCHEMA: Final = tuple(
    f"tests/{folder}"
    for folder in (
        "children", "events", "gates", "keys", "lanes", "queues", "races", "roles", "runs",
        "schedules", "state", "steps", "streams", "upkeep", "usage", "webhooks",
    )
)  # fmt: skip
DRIVER: Final = tuple(
    f"tests/{folder}"
    for folder in ("driver", "examples", "install", "server", "testing", "webhooks")
)


class NotHere(Exception):
    """What a cell needs is not on this machine."""


@dataclass(frozen=True)
class Cell:
    """One way to run tests."""

    name: str
    what: str
    tests: Sequence[str]
    settings: Mapping[str, str] = field(default_factory=dict[str, str])
    options: Sequence[str] = ()
    python: str | None = None
    """A version such as "3.12", of which a venv is made; None = the Python that runs this."""


@dataclass(frozen=True)
class Outcome:
    """What a cell came to."""

    cell: Cell
    result: str
    good: bool
    seconds: float = 0.0


def cells() -> list[Cell]:
    found = [
        Cell(
            f"PostgreSQL {server}{', through PgBouncer' if bouncer else ''}",
            "all",
            ALL,
            {"TIDE_TEST_POSTGRES": server, "TIDE_TEST_PGBOUNCER": str(int(bouncer))},
        )
        for server in ("15", "16", "17", "18")
        for bouncer in (False, True)
    ]
    for locale in ("und", "tr-TR"):
        settings = {"TIDE_TEST_POSTGRES": "15", "TIDE_TEST_LOCALE": locale}
        found.append(Cell(f"PostgreSQL 15, ICU locale {locale}", "the schema", SCHEMA, settings))
    found.append(Cell("Python with -X dev", "the driver", DRIVER, options=["-X", "dev"]))
    this = f"{sys.version_info.major}.{sys.version_info.minor}"
    for version in ("3.11", "3.12", "3.13", "3.14"):
        if version != this:
            found.append(Cell(f"Python {version}", "the driver", DRIVER, python=version))
    return found


def interpreter(version: str) -> str:
    """The Python of a venv with the package. Raises NotHere."""
    home = ROOT / ".venv" / f"python-{version}"
    python, ready = home / "bin" / "python", home / "ready"
    if ready.exists():
        return str(python)
    given = shutil.which(f"python{version}")
    if given is None:
        raise NotHere(f"no python{version} here")
    install = [
        str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check",
        "--editable", f"{ROOT}[dev]",
    ]  # fmt: skip
    for command in ([given, "-m", "venv", "--clear", str(home)], install):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            said = (done.stderr.strip() or done.stdout.strip() or "no reason given").splitlines()
            raise NotHere(f"no venv of python{version}: {said[-1][:200]}")
    ready.touch()
    return str(python)


def run(cell: Cell, tests: Sequence[str], jobs: str) -> Outcome:
    """Run the tests of a cell; what they say goes to a file of its name."""
    try:
        if cell.settings.get("TIDE_TEST_PGBOUNCER") == "1" and not BOUNCER.exists():
            raise NotHere("no PgBouncer here")
        python = sys.executable if cell.python is None else interpreter(cell.python)
    except NotHere as absent:
        return Outcome(cell, f"not run: {absent}", good=True)
    LOGS.mkdir(parents=True, exist_ok=True)
    log = LOGS / (re.sub(r"\W+", "-", cell.name).strip("-") + ".log")
    command = [
        python, *cell.options, "-m", "pytest", "-q", "-n", jobs, "--dist", "loadfile",
        "--no-loadscope-reorder", *tests,
    ]  # fmt: skip
    began = time.monotonic()
    with log.open("w") as output:
        code = subprocess.run(
            command, cwd=ROOT, env={**os.environ, **cell.settings},
            stdout=output, stderr=subprocess.STDOUT, check=False,
        ).returncode  # fmt: skip
    seconds = time.monotonic() - began
    counted = re.findall(r"(\d+ (?:passed|failed|errors?|skipped))", log.read_text()[-300:])
    result = ", ".join(counted) or f"ended with {code}, see {log.relative_to(ROOT)}"
    return Outcome(cell, result, code == 0, seconds)


def row(outcome: Outcome, day: str, commit: str) -> str:
    """The line of the table that says what a cell came to."""
    minutes = f"{outcome.seconds / 60:.0f}" if outcome.seconds else ""
    cell = outcome.cell
    return f"| {cell.name} | {cell.what} | {outcome.result} | {minutes} | {day}, {commit} |"


def table(rows: Mapping[str, str]) -> str:
    """One line for each cell there is, by its name; those never run say so."""
    lines = ["| cell | tests of | came to | minutes | when, commit |", "|---|---|---|---|---|"]
    lines += [
        rows.get(cell.name, f"| {cell.name} | {cell.what} | not run yet | | |") for cell in cells()
    ]
    return "\n".join(lines) + "\n"


def rows_of(page: str) -> dict[str, str]:
    """The lines of the table on the page, by the name of the cell."""
    _, found, section = page.partition(f"{HEADING}\n")
    if not found:
        return {}
    lines = [line for line in section.partition(f"{BEFORE}\n")[0].splitlines() if line[:2] == "| "]
    return {line.split("|")[1].strip(): line for line in lines}


def placed(page: str, written: str) -> str:
    """The page with this section instead of the one it has, or before the limits."""
    section = f"{HEADING}\n\n{written}\n"
    start = page.find(f"{HEADING}\n")
    if start < 0:
        return page.replace(f"{BEFORE}\n", f"{section}{BEFORE}\n", 1)
    return page[:start] + section + page[page.index(f"{BEFORE}\n", start) :]


def commit_here() -> str:
    command = ["git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"]
    asked = subprocess.run(command, capture_output=True, text=True, check=False)
    return asked.stdout.strip() or "no commit"


def main() -> int:
    parser = argparse.ArgumentParser(description="Run the tests in every cell.")
    parser.add_argument("--only", default="", help="words in the names of cells")
    parser.add_argument("--tests", nargs="+", help="instead of those of the cell")
    parser.add_argument("--jobs", default="2")
    options = parser.parse_args()
    outcomes: list[Outcome] = []
    commit = commit_here()
    for cell in cells():
        if options.only not in cell.name:
            continue
        outcome = run(cell, options.tests or cell.tests, options.jobs)
        outcomes.append(outcome)
        line = row(outcome, datetime.now(UTC).date().isoformat(), commit)
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()
        if not options.tests:
            # At once, since what comes after it may be stopped.
            page = PAGE.read_text(encoding="utf-8")
            rows = rows_of(page) | {cell.name: line}
            PAGE.write_text(placed(page, f"{TEXT}\n{table(rows)}"), encoding="utf-8")
    return 0 if all(one.good for one in outcomes) else 1


if __name__ == "__main__":
    sys.exit(main())
