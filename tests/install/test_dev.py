"""`tidebase-pg dev`: a database in one command, kept in a folder, gone when told."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from importlib import util
from pathlib import Path

import pytest

from tests.servers import scratch
from tests.support import open_connection, value
from tidebase_pg import admin
from tidebase_pg.admin.embedded import EmbeddedError, Server, binaries
from tidebase_pg.version import __version__

DEV = [sys.executable, "-m", "tidebase_pg", "dev", "--json"]


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="tide-dev-", dir=scratch()) as made:
        yield Path(made)
        Server(Path(made) / ".tidebase").stop(mode="immediate")


def dev(folder: Path, *arguments: str) -> dict[str, object]:
    done = subprocess.run(
        [*DEV, *arguments], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    answer: dict[str, object] = json.loads(done.stdout)
    return answer


def test_detached_server_has_the_schema_and_keeps_its_data(folder: Path) -> None:
    first = dev(folder, "--detach")
    assert first["data"] == str(folder / ".tidebase")
    dsn = str(first["dsn"])
    assert admin.status(dsn).installed == __version__
    with open_connection(dsn) as connection:
        connection.execute("create table kept as select 1 as a")

    assert dev(folder, "--detach") == first
    assert dev(folder) == first, "found running, it is left alone"
    assert dev(folder, "--stop") == {"stopped": True}
    assert dev(folder, "--stop") == {"stopped": False}

    assert dev(folder, "--detach") == first
    with open_connection(dsn) as connection:
        assert value(connection, "select a from kept") == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_server_in_the_foreground_ends_with_the_command(
    folder: Path, number: signal.Signals
) -> None:
    process = subprocess.Popen(DEV, cwd=folder, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    answer = json.loads(process.stdout.readline())
    assert admin.status(answer["dsn"]).current
    process.send_signal(number)
    assert process.wait() == 0
    process.stdout.close()
    assert not Server(folder / ".tidebase").running


def test_server_is_not_open_to_other_users_or_the_network(folder: Path) -> None:
    server = Server(folder / ".tidebase")
    with open_connection(server.start()) as connection:
        assert value(connection, "show listen_addresses") == ""
    assert server.folder.stat().st_mode & 0o077 == 0


def test_deep_folder_gets_a_short_socket(folder: Path) -> None:
    server = Server(folder / ("deep" * 20) / "deeper" / "a b'c,d")
    try:
        with open_connection(server.start()) as connection:
            assert value(connection, "select 1") == 1
        assert server.socket_folder.parent == Path(tempfile.gettempdir()).resolve()
    finally:
        server.stop(mode="immediate")
        server.socket_folder.rmdir()


def test_environment_of_another_postgres_is_not_heeded(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGPORT", "1")
    monkeypatch.setenv("PGHOST", "nowhere.invalid")
    monkeypatch.setenv("PGDATA", "/nowhere")
    with open_connection(Server(folder / ".tidebase").start()) as connection:
        assert value(connection, "select 1") == 1


def test_folder_with_something_else_in_it_is_left_alone(folder: Path) -> None:
    (folder / "thesis.txt").write_text("mine")
    owner = folder.stat().st_uid
    with pytest.raises(EmbeddedError, match="holds something else"):
        Server(folder).start()
    assert folder.stat().st_uid == owner
    assert os.listdir(folder) == ["thesis.txt"]  # noqa: PTH208


def test_failing_start_tells_what_the_server_said(folder: Path) -> None:
    server = Server(folder / ".tidebase", settings={"shared_buffers": "nonsense"})
    with pytest.raises(EmbeddedError, match="shared_buffers"):
        server.start()


def test_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(util, "find_spec", lambda name: None)
    with pytest.raises(EmbeddedError, match=r"pip install 'tidebase-pg\[embedded\]'"):
        binaries()
