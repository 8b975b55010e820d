"""The example report: the same sources give the same report, however often a step is repeated."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from tests.servers import ROOT
from tidebase_pg import Tidebase


@pytest.fixture
def example(monkeypatch: pytest.MonkeyPatch, dsn: str) -> Iterator[ModuleType]:
    """examples/report/report.py, imported as its worker imports it."""
    monkeypatch.setenv("TIDEBASE_DSN", dsn)
    monkeypatch.syspath_prepend(str(ROOT / "examples" / "report"))
    import report

    yield report
    report.tide.close()
    del sys.modules["report"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "docs").mkdir()
    (tmp_path / "README.md").write_text(
        "# Tides\n\nWater rises.\n```\n# no heading\n```\nWater falls.\n"
    )
    (tmp_path / "docs" / "concepts.md").write_text(
        "# Moon\n\n```sh\n# no heading\n```\n\n## Phases\n"
    )
    (tmp_path / "ignored.py").write_text("pass\n")
    return tmp_path


def test_report_holds_the_figures_of_its_sources(example: ModuleType, folder: Path) -> None:
    result = example.tide.run(
        "report", input={"folder": str(folder), "output": str(folder / "out")}
    )
    assert result["sources"] == 2
    text = Path(result["path"]).read_text()
    assert "2 sources, 9 words" in text
    assert "- **README.md**: Tides\n- **docs/concepts.md**: Moon; Phases\n" in text
    assert "ignored.py" not in text


def test_report_written_twice_is_one_and_the_same_file(example: ModuleType, folder: Path) -> None:
    facts = {"README.md": example.extract("README.md", "# Tides\n\nhigh water", 0.0)}
    comparison = example.compare(facts)
    paths = {example.write(folder / "out", "one", facts, comparison) for _ in range(2)}
    assert [path.name for path in (folder / "out").iterdir()] == ["report-one.md"]
    assert paths == {str(folder / "out" / "report-one.md")}


def test_sources_are_read_once_though_the_files_change(example: ModuleType, folder: Path) -> None:
    tide: Tidebase = example.tide
    run_id = tide.runs.create("report").run_id
    with tide.runs.attach("report", run_id) as run:
        first = run.step("read README.md", lambda: example.read(folder, "README.md"))
    (folder / "README.md").write_text("changed")
    with tide.runs.attach("report", run_id) as run:
        assert run.step("read README.md", lambda: example.read(folder, "README.md")) == first
