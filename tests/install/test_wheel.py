"""What is published: the wheel runs alone, the source archive builds the wheel again."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from tests.servers import ROOT
from tidebase_pg import admin
from tidebase_pg.version import __version__


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    for target in ("sdist", "wheel"):
        subprocess.run(
            [sys.executable, "-m", "hatchling", "build", "--target", target, "-d", str(folder)],
            cwd=ROOT,
            check=True,
            capture_output=True,
        )
    return folder


def sql_files() -> set[str]:
    return {path.relative_to(ROOT).as_posix() for path in (ROOT / "sql").rglob("*.sql")}


def test_wheel_carries_the_package_its_types_the_sql_and_the_licence(built: Path) -> None:
    (wheel,) = built.glob("*.whl")
    assert wheel.name == f"tidebase_pg-{__version__}-py3-none-any.whl"
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {f"tidebase_pg/{name}" for name in sql_files()} <= names
    modules = {path.relative_to(ROOT).as_posix() for path in (ROOT / "tidebase_pg").rglob("*.py")}
    assert modules | {"tidebase_pg/py.typed"} <= names
    assert f"tidebase_pg-{__version__}.dist-info/licenses/LICENSE" in names
    assert {name.split("/")[0] for name in names} == {
        "tidebase_pg",
        "pytest_tidebase.py",
        f"tidebase_pg-{__version__}.dist-info",
    }


def test_sql_of_the_wheel_prints_as_that_of_the_checkout(built: Path, tmp_path: Path) -> None:
    (wheel,) = built.glob("*.whl")
    zipfile.ZipFile(wheel).extractall(tmp_path)
    printed = subprocess.run(
        [sys.executable, "-m", "tidebase_pg", "install", "--print"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert printed.stdout == admin.render(admin.current())


def test_core_needs_psycopg_its_pool_and_click_only(built: Path) -> None:
    (wheel,) = built.glob("*.whl")
    metadata = zipfile.ZipFile(wheel).read(f"tidebase_pg-{__version__}.dist-info/METADATA").decode()
    needed = [line for line in metadata.splitlines() if line.startswith("Requires-Dist:")]
    core = {line.split()[1].split(">")[0] for line in needed if "extra ==" not in line}
    assert core == {"psycopg", "psycopg-pool", "click"}


def test_source_archive_has_what_building_and_testing_need(built: Path) -> None:
    (archive,) = built.glob("*.tar.gz")
    with tarfile.open(archive) as opened:
        names = {name.partition("/")[2] for name in opened.getnames()}
    needed = {"pyproject.toml", "Makefile", "LICENSE", "README.md", "tests/conftest.py"}
    assert needed | sql_files() <= names
    assert not any(name.startswith((".git/", ".venv", ".tidebase")) for name in names)
