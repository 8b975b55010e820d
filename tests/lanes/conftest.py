"""Fixtures of the tests of the schema's functions."""

from tests.runs.acts import hour as hour
from tests.runs.acts import tide as tide
