"""Fixtures of the tests of what a DBA runs: doctor, uninstall, roles."""

from __future__ import annotations

import subprocess
from collections.abc import Callable

import pytest

from tests.runs.acts import hour as hour
from tests.runs.acts import tide as tide
from tests.servers import Absent, RunningServer


@pytest.fixture
def psql(server: RunningServer) -> Callable[[str, str], subprocess.CompletedProcess[str]]:
    """psql(dsn, text): what a DBA does with a text that was printed."""
    try:
        program = server.program("psql")
    except Absent as absent:
        pytest.skip(str(absent))

    def psql(dsn: str, text: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [program, "-X", "-q", dsn], input=text, capture_output=True, text=True, check=False
        )

    return psql
