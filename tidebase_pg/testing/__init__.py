"""Tools for tests of workflows, which pytest has as the fixture `tide_test`.

>>> with databases() as server, server.tide_test(tide) as tide_test:
...     run = tide_test.enqueue(refund, input={"cents": 5})
...     assert tide_test.drain().completed == [run]
"""

from __future__ import annotations

from tidebase_pg.testing.clock import Clock
from tidebase_pg.testing.crashes import CrashReport, Finding
from tidebase_pg.testing.databases import KitError, TestServer, databases
from tidebase_pg.testing.kit import TestedStep, TestRun, TideTest
from tidebase_pg.testing.reports import Report

__all__ = [
    "Clock",
    "CrashReport",
    "Finding",
    "KitError",
    "Report",
    "TestRun",
    "TestServer",
    "TestedStep",
    "TideTest",
    "databases",
]
