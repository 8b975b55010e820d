"""The benchmarks run, and their page shows the run whose figures are kept, and nothing else."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import zlib
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from benchmarks import charts, costs, page, report
from benchmarks.measures import ORDER
from benchmarks.results import Result
from tests.servers import ROOT
from tests.support import LONG

RESULTS = ROOT / "benchmarks" / "results"
RUN = re.compile(r"\]\(\.\./benchmarks/results/([\w-]+)\.json\)")
PLOT = re.compile(r"!\[[^\]]*\]\(\.\./benchmarks/results/([\w-]+\.svg)\)")

REPEATED = {"enqueue_one", "batches", "limits", "slow_commits", "gates", "pooler"}
"""Measurements that do with other functions and sizes what the others do."""
TRIED = sorted(set(ORDER) - REPEATED)

in_length = pytest.mark.skipif(not LONG, reason="run: make test-long")


@cache
def kept() -> tuple[str, dict[str, Any]]:
    """The run that the page is of: the stem of its files, and what was measured."""
    (stem,) = RUN.findall(page.PAGE.read_text(encoding="utf-8"))
    return stem, json.loads((RESULTS / f"{stem}.json").read_text())


def test_page_shows_the_figures_of_the_kept_run() -> None:
    stem, document = kept()
    text = page.PAGE.read_text(encoding="utf-8")
    assert page.written(text, document, stem) == text


def test_plots_of_the_page_are_those_of_the_kept_run() -> None:
    stem, document = kept()
    drawn = {
        charts.path(RESULTS / stem, name).name: plot
        for name, plot in charts.charts(page.results_of(document)).items()
    }
    assert PLOT.findall(page.PAGE.read_text(encoding="utf-8")) == list(drawn)
    assert {name: (RESULTS / name).read_text() for name in drawn} == drawn


@in_length
def test_benchmarks_measure_and_judge_at_the_smallest_scale(tmp_path: Path) -> None:
    output = tmp_path / "run.json"
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", "--scale", "smoke", "--output", str(output),
         "--only", *TRIED],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    document = json.loads(output.read_text())
    results = [Result.of(each) for each in document["results"]]
    assert set(document["seconds_of"]) == set(TRIED)
    assert {result.name: result.skipped for result in results if result.skipped} == {}
    peers = {"absurd", "dbos", "pgqueuer"}
    assert [
        (result.name, str(aim))
        for result in results
        for aim in result.aims
        if result.reached(aim) is None and aim.against not in peers
    ] == []
    assert {path.name for path in tmp_path.glob("*.svg")} == {
        f"run-{name}.svg" for name in ("throughput", "latency", "backlog", "growth")
    }
    words = re.findall(r"^  (reached|MISSED|not measured) ", done.stdout, re.MULTILINE)
    assert words == [row[-1] for row in report.judged(results)]


def test_page_shows_what_a_run_costs_by_its_input() -> None:
    stem, document = kept()
    cost = Result("cost_wal_8_1", "8 kB one by one, write-ahead log", "bytes/run", "raw")
    cost.values = {"raw": [9_000.0, 10_000.0, 11_000.0], "tide": [20_000.0]}
    others = [one for one in document["results"] if not one["name"].startswith("cost_")]
    shown = page.figures({**document, "results": [*others, cost.document()]}, stem)
    assert "### Write-ahead log of a run, by its input" in shown
    assert "| bytes/run | raw | tide | ratio |" in shown
    assert "| 8 kB one by one | 10,000 | 20,000 | 2.00 |" in shown
    assert "of a run, by its input" not in page.figures({**document, "results": others}, stem)


def test_input_of_a_measured_run_has_its_size_and_does_not_compress() -> None:
    for kilobytes in costs.SIZES:
        given = costs.payload(kilobytes)
        assert json.loads(given) == ({"text": json.loads(given)["text"]} if kilobytes else {})
        assert 0 <= len(given) - 1024 * kilobytes < 16
        assert len(zlib.compress(given.encode())) >= 0.7 * len(given)


def test_nothing_is_compared_with_what_took_nothing() -> None:
    result = Result("idle", "Idle", "statements", "raw", {"raw": [0.0], "tide": [2.0]})
    assert result.document()["contenders"]["tide"]["ratio"] is None
    assert "| tide | 2.0 |  |  |" in report.markdown([result])
