"""Fixtures of the tests of the schema's functions."""

from tests.roles.conftest import log_in as log_in
from tests.runs.acts import hour as hour
from tests.runs.acts import tide as tide
