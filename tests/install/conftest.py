"""Small releases in a folder, laid out like sql/, so that an upgrade can be made up."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.servers import Absent, RunningServer
from tests.support import Connection, Databases, open_connection
from tidebase_pg import admin
from tidebase_pg.admin import Release

THINGS = """\
-- Things; no lock.
create table tide.things (thing_id integer primary key, name text not null);
"""
FUNCTION = """\
create or replace function tide.answer()
returns integer
language sql
immutable
as $$
select {answer}
$$;
"""
INDEX = """\
-- tide: no transaction
-- An index on names; does not block writers.
create index concurrently if not exists things_name_idx on tide.things (name);
"""
COLUMN = "alter table tide.things add column size integer;\n"

MakeRelease = Callable[..., Release]


@pytest.fixture
def make_release(tmp_path: Path) -> MakeRelease:
    """make_release(version, migrations={name: body}, answer=42) -> Release"""

    def make(
        version: str = "0.1.0",
        migrations: Mapping[str, str] | None = None,
        *,
        answer: int | str = 42,
    ) -> Release:
        folder = tmp_path / "release"
        shutil.rmtree(folder, ignore_errors=True)
        (folder / "migrations").mkdir(parents=True)
        (folder / "functions" / "answers").mkdir(parents=True)
        (folder / "views").mkdir()
        shutil.copy(admin.sql_folder() / "header.sql", folder / "header.sql")
        for name, body in (migrations or {"0001_things.sql": THINGS}).items():
            (folder / "migrations" / name).write_text(body)
        function = FUNCTION.replace("{answer}", str(answer))
        (folder / "functions" / "answers" / "answer.sql").write_text(function)
        (folder / "views" / "answers.sql").write_text(
            "create or replace view tide.answers as select tide.answer() as answer;\n"
        )
        (folder / "grants.sql").write_text("grant usage on schema tide to public;\n")
        return Release.read(folder, version)

    return make


@pytest.fixture
def make_dsn(databases: Databases, server: RunningServer) -> Iterator[Callable[[], str]]:
    with ExitStack() as made:
        yield lambda: server.dsn(made.enter_context(databases.database()))


@pytest.fixture
def database(empty_dsn: str) -> Iterator[Connection]:
    """A connection to a database without the schema."""
    connection = open_connection(empty_dsn)
    yield connection
    connection.close()


@pytest.fixture
def psql(server: RunningServer) -> Callable[..., subprocess.CompletedProcess[str]]:
    try:
        program = server.program("psql")
    except Absent as absent:
        pytest.skip(str(absent))

    def run(dsn: str, text: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [program, "-X", "-q", "-f", "-", dsn], input=text, capture_output=True, text=True
        )

    return run
