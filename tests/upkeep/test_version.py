"""version: what is installed, from the ledger."""

from __future__ import annotations

from tests.runs.acts import Tide
from tests.support import value


def test_version_is_that_of_the_newest_install(tide: Tide) -> None:
    assert tide.version() == value(
        tide.connection, "select version from tide.installs order by install_id desc limit 1"
    )
    tide.connection.execute(
        "insert into tide.installs (version, functions_sha256) values ('9.9.9', '')"
    )
    assert tide.version() == "9.9.9"
