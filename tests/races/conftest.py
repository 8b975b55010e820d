"""Fixtures of the races: a stepper on the test's database, reached directly."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.races.stepper import Stepper


@pytest.fixture
def stepper(direct_dsn: str) -> Iterator[Stepper]:
    """Plays scripts; who waits for whom is only seen without a pooler between."""
    made = Stepper(direct_dsn)
    yield made
    made.close()
