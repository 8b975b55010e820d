"""Fixtures of the tests of adapters; each file is skipped where its framework is absent."""

from tests.runs.acts import hour as hour
