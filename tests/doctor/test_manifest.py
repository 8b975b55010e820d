"""The manifest that drift is judged by is what this release installs, on every Postgres.

To accept a change: TIDE_TEST_WRITE_MANIFEST=1 pytest tests/doctor/test_manifest.py
"""

from __future__ import annotations

import os

from psycopg.rows import tuple_row

from tests.support import Connection
from tidebase_pg import admin
from tidebase_pg.admin import drift


def test_the_manifest_is_what_is_installed(connection: Connection) -> None:
    with connection.transaction(), connection.cursor(row_factory=tuple_row) as cursor:
        found = drift.describe(cursor)
    path = admin.sql_folder() / drift.MANIFEST
    if os.environ.get("TIDE_TEST_WRITE_MANIFEST") == "1":
        path.write_text(drift.render(found))
    assert drift.render(found) == path.read_text(), (
        "sql/ makes something else than sql/manifest.json says. "
        "To accept: TIDE_TEST_WRITE_MANIFEST=1 pytest tests/doctor/test_manifest.py"
    )


def test_an_installation_does_not_differ_from_its_manifest(connection: Connection) -> None:
    with connection.transaction(), connection.cursor(row_factory=tuple_row) as cursor:
        found = drift.describe(cursor)
    assert list(drift.compare(drift.manifest(), found, drift.scripts())) == []


def test_every_function_and_view_has_the_script_that_makes_it() -> None:
    manifest, scripts = drift.manifest(), drift.scripts()
    functions = {f"functions/{facts['name']}" for facts in manifest["functions"].values()}
    views = {
        f"views/{name}" for name, facts in manifest["relations"].items() if facts["kind"] == "view"
    }
    assert functions | views == scripts.keys()
