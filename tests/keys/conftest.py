"""Fixtures of the tests of keys."""

from tests.roles.conftest import log_in as log_in
from tests.runs.acts import hour as hour
from tests.runs.acts import tide as tide
