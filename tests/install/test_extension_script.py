"""The script of the extension, which is made without Python, follows the plan of the installer."""

from __future__ import annotations

import itertools
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.conventions.bodies import ROOT
from tidebase_pg.admin.releases import Release, State, plan, released

MARKS = ("no transaction", "with the functions", "after the functions", "after the deploy")


def script_files(folder: Path, after: str) -> list[str]:
    """The files in the script for who has migrations up to this one, in its order."""
    made = subprocess.run(
        ["sh", folder / "extension.sh", "9.9.9", after], capture_output=True, text=True, check=True
    )
    files = re.findall(r"^-- ((?:migrations|functions|views)/.*\.sql)$", made.stdout, re.MULTILINE)
    return [name.removeprefix("migrations/") for name in files]


def planned_files(folder: Path, state: State) -> list[str]:
    planned = plan(Release.read(folder), state.applied)
    return [one.name for one in planned if one.name not in ("roles.sql", "grants.sql")]


@pytest.mark.parametrize("version", [None, "0.1.0"])
def test_the_script_has_the_order_of_the_plan(version: str | None) -> None:
    folder = ROOT / "sql"
    state = State() if version is None else released(version)
    last = max((name[:4] for name in state.applied if name[0].isdigit()), default="0000")
    assert script_files(folder, last) == planned_files(folder, state)


def test_whatever_a_first_line_says_both_understand_it_alike(tmp_path: Path) -> None:
    folder = tmp_path / "sql"
    shutil.copytree(ROOT / "sql", folder)
    marks = [
        ", ".join(chosen)
        for size in range(len(MARKS) + 1)
        for chosen in itertools.permutations(MARKS, size)
    ]
    for number, said in enumerate(marks, start=9000):
        line = f"-- tide: {said}\n" if said else ""
        (folder / "migrations" / f"{number}_made_up.sql").write_text(line + "select 1;\n")
    assert script_files(folder, "0000") == planned_files(folder, State())
