"""What pages read does not grow with the runs there are: buffers of their calls, never time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from benchmarks import studio
from benchmarks.studio import Look
from tests.servers import RunningServer
from tests.support import Databases

FEW = (33_000, 11_000)
MANY = (132_000, 44_000)
"""Runs that ended, a third of them failed; runs that are queued, and as many that are parked.
Counts stop at 10 000, and there are more in both."""
LOOKED = sorted(studio.PAGES.keys() - {studio.EXAMINED})
RATIO = 1.5
LAST = "run that is last in line"
EXTRA = 100
"""Levels of indexes. What read all there is would touch four times as much."""


@pytest.fixture(scope="module")
def houses(
    databases: Databases, template: str, server: RunningServer
) -> Iterator[tuple[dict[str, Look], dict[str, Look]]]:
    """What each page takes beside few runs, and beside many."""
    with ExitStack() as opened:
        found: list[dict[str, Look]] = []
        for finished, waiting in (FEW, MANY):
            dsn = server.dsn(opened.enter_context(databases.database(template)))
            studio.fill(dsn, finished, waiting)
            found.append(studio.looks(dsn, 1, LOOKED))
        yield found[0], found[1]


MOST = 1000
"""Buffers that the calls of a page touch, in whatever house."""
LINE = 12_000
"""Of a run in line, up to 10 000 rows before it are counted; each may lie on a page of its own."""
SEARCHED = 40_000
"""A list of runs looks at 5000 runs of each partition for a page, and counts among 10 000."""


@pytest.mark.parametrize("name", LOOKED)
def test_a_page_reads_no_more_than_its_bound(
    houses: tuple[dict[str, Look], dict[str, Look]], name: str
) -> None:
    most = SEARCHED if name.startswith("runs") else LINE if name == LAST else MOST
    assert houses[1][name].buffers <= most


# Of a line that is shorter than what is counted, all is counted.
@pytest.mark.parametrize("name", [name for name in LOOKED if name != LAST])
def test_a_page_reads_no_more_beside_four_times_as_many_runs(
    houses: tuple[dict[str, Look], dict[str, Look]], name: str
) -> None:
    few, many = (house[name].buffers for house in houses)
    assert many <= few * RATIO + EXTRA, f"{few} buffers beside {FEW}, {many} beside {MANY}"
