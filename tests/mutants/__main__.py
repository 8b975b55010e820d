"""Change one rule at a time, and see that a test notices: `python -m tests.mutants`.

Of Python, the package is changed in a copy of the repository; of SQL, the function is replaced in a
copy of a database, which each test gets a copy of. Only the tests that are to kill a mutant run.
Fails when a mutant survives or cannot be installed, and when those tests fail without it.
`--only TEXT` takes the mutants whose file or rule has the text.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from queue import SimpleQueue

from tests.mutants.rules import MUTANTS, Mutant
from tests.servers import ROOT, OwnServer, scratch
from tests.support import Databases, install_for_copies, open_connection

PLUGINS = ("pytest_asyncio.plugin", "pytest_timeout", "pytest_postgresql.plugin", "pytest_tidebase")
"""Those the tests need; the others take longer to load than most of the tests to run."""
LONGEST_TEST = 120
"""Seconds after which a test counts as one that waits for ever."""
OUTCOME = re.compile(r"^(FAILED|ERROR) (\S+)", re.MULTILINE)


class Broken(Exception):
    """The tests say nothing about a mutant: they do not run, or fail without it."""


def copy_of_repository(folder: Path) -> Path:
    """The files of the repository as they are now, without what git does not keep."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, check=True, capture_output=True,
    ).stdout  # fmt: skip
    for name in filter(None, listed.decode().split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, folder / name)
    return folder


def failures(
    folder: Path, databases: Databases, template: str, tests: Sequence[str], *options: str
) -> list[str]:
    """The tests that fail there. Raises Broken when they do not run."""
    done = subprocess.run(
        [
            sys.executable, "-m", "pytest", "-q", "--tb=line", "-p", "no:cacheprovider",
            *(option for plugin in PLUGINS for option in ("-p", plugin)),
            f"--timeout={LONGEST_TEST}", *options, *tests,
        ],
        cwd=folder,
        env={
            **os.environ, "PYTHONPATH": str(folder), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
            "TIDE_TEST_DSN": databases.server.dsn(), "TIDE_TEST_TEMPLATE": template,
        },
        capture_output=True,
        text=True,
    )  # fmt: skip
    found = OUTCOME.findall(done.stdout)
    failed = [test for outcome, test in found if outcome == "FAILED"]
    if done.returncode not in (0, 1) or (done.returncode == 1 and not failed):
        raise Broken(done.stdout[-3000:] + done.stderr[-3000:])
    return failed


def killer_of(mutant: Mutant, folder: Path, databases: Databases, template: str) -> str | None:
    """The first test that fails because of the mutant."""
    path = folder / mutant.file
    original = path.read_text(encoding="utf-8")
    mutated = mutant.applied_to(original)
    if mutant.file.startswith("sql/"):
        with databases.database(template) as changed:
            with open_connection(databases.server.dsn(changed)) as connection:
                connection.execute(mutated.encode())
            failed = failures(folder, databases, changed, mutant.killed_by, "--exitfirst")
    else:
        path.write_text(mutated, encoding="utf-8")
        try:
            failed = failures(folder, databases, template, mutant.killed_by, "--exitfirst")
        finally:
            path.write_text(original, encoding="utf-8")
    return failed[0] if failed else None


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.mutants")
    parser.add_argument("--only", default="", help="of which file or rule")
    parser.add_argument("--jobs", type=int, default=2, help="so many mutants at a time")
    given = parser.parse_args()
    mutants = [m for m in MUTANTS if given.only in m.file or given.only in m.rule]
    began = time.monotonic()
    survivors: list[Mutant] = []
    broken: list[str] = []
    printing = threading.Lock()

    def say(text: str) -> None:
        with printing:
            sys.stdout.write(f"{time.monotonic() - began:5.0f} s  {text}\n")
            sys.stdout.flush()

    with ExitStack() as ending:
        temporary = Path(tempfile.mkdtemp(prefix="tide-mutants-", dir=scratch()))
        ending.callback(shutil.rmtree, temporary, ignore_errors=True)
        server = OwnServer(temporary, os.environ.get("TIDE_TEST_POSTGRES", "18"))
        ending.callback(server.stop)
        databases = Databases(server.start(), "tide_mutant")
        ending.callback(databases.close)
        template = ending.enter_context(databases.database())
        install_for_copies(databases.server.dsn(template))
        folders: SimpleQueue[Path] = SimpleQueue()
        for number in range(given.jobs):
            folders.put(copy_of_repository(temporary / f"copy-{number}"))

        def attack(mutant: Mutant) -> None:
            folder = folders.get()
            try:
                killer = killer_of(mutant, folder, databases, template)
            except Broken as error:
                broken.append(mutant.rule)
                say(f"broken    {mutant.rule}\n{error}")
            else:
                if killer is None:
                    survivors.append(mutant)
                say(f"{'killed' if killer else 'SURVIVED':9} {mutant.rule}: {killer}")
            finally:
                folders.put(folder)

        tests = sorted({test for mutant in mutants for test in mutant.killed_by})
        folder = folders.get()
        failed = failures(folder, databases, template, tests)
        folders.put(folder)
        if failed:
            say(f"without any mutant there fail: {' '.join(failed)}")
            return 2
        say(f"{len(tests)} tests pass without mutants")
        with ThreadPoolExecutor(given.jobs) as pool:
            list(pool.map(attack, mutants))
    say(f"{len(mutants)} mutants, {len(survivors)} survived, {len(broken)} broken")
    return 1 if survivors or broken else 0


if __name__ == "__main__":
    sys.exit(main())
