"""`make test-all` writes what came of each cell into the docs, and touches nothing else there."""

from __future__ import annotations

import importlib.util
import sys
from types import ModuleType

import pytest

from tests.servers import ROOT

PAGE = ROOT / "docs" / "production.md"


@pytest.fixture(scope="module")
def matrix() -> ModuleType:
    spec = importlib.util.spec_from_file_location("matrix", ROOT / "tools" / "matrix.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["matrix"] = module
    spec.loader.exec_module(module)
    return module


def test_the_table_is_put_before_the_limits_and_replaced_the_next_time(matrix: ModuleType) -> None:
    page = "# Page\n\n## Before\n\ntext\n\n## Limits\n\n- one\n"
    first = matrix.placed(page, "| a |\n")
    assert first == page.replace("## Limits", f"{matrix.HEADING}\n\n| a |\n\n## Limits")
    assert matrix.placed(first, "| b |\n") == first.replace("| a |", "| b |")
    assert matrix.BEFORE in PAGE.read_text(encoding="utf-8").splitlines()


def test_every_server_is_a_cell_directly_and_through_pgbouncer(matrix: ModuleType) -> None:
    names = [cell.name for cell in matrix.cells()]
    assert len(set(names)) == len(names)
    for server in (15, 16, 17, 18):
        assert {f"PostgreSQL {server}", f"PostgreSQL {server}, through PgBouncer"} <= set(names)


def test_the_folders_of_a_cell_are_there(matrix: ModuleType) -> None:
    for cell in matrix.cells():
        for path in cell.tests:
            assert path.startswith("--") or (ROOT / path).is_dir(), path


def test_a_cell_says_what_it_came_to_or_why_it_was_not_run(matrix: ModuleType) -> None:
    absent = matrix.Cell("Python 2.0", "the driver", (), python="2.0")
    told = matrix.run(absent, (), "1")
    assert (told.result, told.good) == ("not run: no python2.0 here", True)
    line = "| Python 2.0 | the driver | not run: no python2.0 here |  | 2026-01-02, abc |"
    assert matrix.row(told, "2026-01-02", "abc") == line


def test_a_cell_that_is_run_alone_leaves_the_rows_of_the_others(matrix: ModuleType) -> None:
    first, second, *_ = (cell.name for cell in matrix.cells())
    page = "# Page\n\n## Limits\n\n- one\n"
    for name in (second, first):
        rows = matrix.rows_of(page) | {name: f"| {name} | all | 1 passed | 1 | today |"}
        page = matrix.placed(page, matrix.table(rows))
    found = matrix.rows_of(page)
    assert [name for name, line in found.items() if "1 passed" in line] == [first, second]
    assert [line for line in found.values() if "not run yet" in line] == list(found.values())[3:]
    assert page.endswith("## Limits\n\n- one\n")
