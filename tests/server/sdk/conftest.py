"""Fixtures of the tests with Tidebase's own SDKs: a venv for each version, made once and kept.

TIDE_TEST_SDK=all takes every version through everything; =required fails where one cannot be had.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.server.conftest import PATIENCE, Http, Served, client_of, serving, wait_until
from tests.servers import ROOT, RunningServer
from tests.support import Connection, Databases, open_connection
from tidebase_pg.server import Settings

PROGRAM = Path(__file__).with_name("program.py")
KEPT = ROOT / ".tidebase" / "sdk"
VERSIONS = ("0.5.0", "0.6.0", "0.7.0")
LONGEST_INSTALL = 180


def unavailable(reason: str) -> None:
    """Skip, or fail where everything has to be there."""
    if os.environ.get("TIDE_TEST_SDK") == "required":
        pytest.fail(reason)
    pytest.skip(reason)


@dataclass(frozen=True)
class Sdk:
    """One version of the SDK from PyPI: its Python, and what its source package holds."""

    version: str
    python: Path
    source: Path


def fetch(version: str) -> Sdk:
    home = KEPT / version
    sdk = Sdk(version, home / "venv" / "bin" / "python", home / f"tidebase-{version}")
    if (home / "ready").exists():
        return sdk
    home.mkdir(parents=True, exist_ok=True)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q"]
    with tempfile.TemporaryDirectory() as folder:
        for command in (
            [sys.executable, "-m", "venv", "--without-pip", str(home / "venv")],
            [*pip, "--python", str(sdk.python), "install", f"tidebase=={version}"],
            [
                *pip,
                "download",
                "--no-deps",
                "--no-binary=:all:",
                "-d",
                folder,
                f"tidebase=={version}",
            ],
        ):
            subprocess.run(
                command, check=True, capture_output=True, text=True, timeout=LONGEST_INSTALL
            )
        (archive,) = Path(folder).glob("*.tar.gz")
        with tarfile.open(archive) as packed:
            packed.extractall(home, filter="data")
    (home / "ready").touch()
    return sdk


@pytest.fixture(scope="session")
def sdks() -> Callable[[str], Sdk]:
    """A version of the SDK; the test is skipped where it cannot be had."""
    made: dict[str, Sdk] = {}

    def sdk(version: str) -> Sdk:
        if version not in made:
            try:
                made[version] = fetch(version)
            except (subprocess.SubprocessError, OSError) as error:
                said = getattr(error, "stderr", None) or error
                unavailable(f"tidebase=={version} cannot be had from PyPI: {said}")
        return made[version]

    return sdk


@dataclass
class Processes:
    """Programs of users, each in a process of its own; what is left of them ends with the test."""

    sdk: Sdk
    folder: Path
    url: str
    key: str | None = None
    started: list[subprocess.Popen[str]] = field(default_factory=list[subprocess.Popen[str]])

    def start(
        self, scenario: str, *arguments: str, url: str | None = None, key: str | None = None
    ) -> subprocess.Popen[str]:
        environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith("TIDEBASE_")},
            "TIDEBASE_URL": url or self.url,
        }
        if (key or self.key) is not None:
            environment["TIDEBASE_API_KEY"] = key or self.key or ""
        process = subprocess.Popen(
            [str(self.sdk.python), str(PROGRAM), scenario, str(self.folder), *arguments],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.started.append(process)
        return process

    def run(self, scenario: str, *arguments: str, **options: str) -> None:
        self.ended(self.start(scenario, *arguments, **options))

    def ended(self, process: subprocess.Popen[str]) -> None:
        """Wait for its end, which has to be a good one."""
        said, _ = process.communicate(timeout=2 * PATIENCE)
        assert process.returncode == 0, said

    def log(self) -> list[str]:
        path = self.folder / "log"
        return path.read_text().splitlines() if path.exists() else []

    def wait_for(self, line: str) -> None:
        def said() -> bool:
            for process in self.started:
                if process.poll() not in (None, 0, -9):
                    raise AssertionError(process.communicate()[0])
            return line in self.log()

        wait_until(said)

    def tell(self, name: str, what: str) -> None:
        """What a waiting program has to do now; written whole or not at all."""
        draft = self.folder / f".{name}"
        draft.write_text(what)
        draft.rename(self.folder / name)


@pytest.fixture
def processes(
    sdks: Callable[[str], Sdk], version: str, tmp_path: Path, served: Served
) -> Iterator[Processes]:
    with running(sdks(version), tmp_path, served.url) as made:
        yield made


@contextmanager
def running(sdk: Sdk, folder: Path, url: str, key: str | None = None) -> Iterator[Processes]:
    made = Processes(sdk, folder, url, key)
    try:
        yield made
    finally:
        for process in made.started:
            if process.poll() is None:
                process.kill()
            if process.stdout is not None and not process.stdout.closed:
                process.communicate()


# One gateway over one database for all of these tests: each makes runs of its own.
@pytest.fixture(scope="session")
def sdk_dsn(databases: Databases, template: str, server: RunningServer) -> Iterator[str]:
    with databases.database(template) as name:
        yield server.dsn(name)


@pytest.fixture(scope="session")
def served(sdk_dsn: str) -> Iterator[Served]:
    with serving(Settings(dsn=sdk_dsn)) as made:
        yield made


@pytest.fixture(scope="session")
def http(served: Served) -> Iterator[Http]:
    with client_of(served) as made:
        yield made


@pytest.fixture(scope="session")
def sql(sdk_dsn: str) -> Iterator[Connection]:
    with open_connection(sdk_dsn) as connection:
        yield connection
