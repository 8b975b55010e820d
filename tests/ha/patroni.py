"""Two Postgres servers under Patroni with a witness, as a high-availability setup has them."""

from __future__ import annotations

import json
import os
import pwd
import re
import shutil
import signal
import subprocess
import time
import urllib.request
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from tests.servers import ROOT, free_port
from tidebase_pg.admin.embedded import UNPRIVILEGED, binaries, passable

PAGE = ROOT / "docs" / "high-availability.md"
PATIENCE = 180.0


def documented() -> dict[str, Any]:
    """The part of the configuration that the documentation gives."""
    found = re.search(r"```yaml\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert found is not None
    given: dict[str, Any] = yaml.safe_load(found[1])
    return given


@dataclass
class Node:
    """One server and the Patroni that looks after it."""

    name: str
    folder: Path
    port: int
    rest: int
    raft: int
    process: subprocess.Popen[bytes] | None = None


@dataclass
class Cluster:
    """Two nodes `one` and `two`, and a witness that only votes."""

    folder: Path
    program: Path
    nodes: dict[str, Node] = field(default_factory=dict[str, Node])

    def __post_init__(self) -> None:
        for name in ("one", "two", "witness"):
            place = self.folder / name
            place.mkdir(parents=True)
            self.nodes[name] = Node(name, place, free_port(), free_port(), free_port())
        if os.geteuid() == 0:
            owner = pwd.getpwnam(UNPRIVILEGED)
            for place in (self.folder, *self.folder.rglob("*")):
                os.chown(place, owner.pw_uid, owner.pw_gid)

    @property
    def servers(self) -> list[Node]:
        return [self.nodes["one"], self.nodes["two"]]

    @property
    def dsn(self) -> str:
        """Both hosts; the primary is found by asking."""
        hosts = ",".join(f"127.0.0.1:{node.port}" for node in self.servers)
        return f"postgresql://postgres:secret@{hosts}/postgres?target_session_attrs=read-write"

    def start(self, name: str) -> None:
        """Start a node, again or for the first time."""
        node = self.nodes[name]
        path = node.folder / "patroni.yml"
        path.write_text(yaml.safe_dump(self._configuration(node)))
        path.chmod(0o644)
        program = "patroni_raft_controller" if name == "witness" else "patroni"
        with (node.folder / "log").open("ab") as log:
            node.process = subprocess.Popen(
                [self.program.with_name(program), str(path)],
                stdout=log,
                stderr=log,
                start_new_session=True,
                user=UNPRIVILEGED if os.geteuid() == 0 else None,
                group="nogroup" if os.geteuid() == 0 else None,
                cwd=node.folder,
                env={**os.environ, "HOME": str(node.folder)},
            )

    def kill(self, name: str) -> None:
        """Let a node die as its machine would: Patroni first, then Postgres, both by SIGKILL."""
        node = self.nodes[name]
        assert node.process is not None
        os.killpg(node.process.pid, signal.SIGKILL)
        node.process.wait()
        with suppress(FileNotFoundError, ProcessLookupError):
            postmaster = (node.folder / "data" / "postmaster.pid").read_text().splitlines()[0]
            os.kill(int(postmaster), signal.SIGKILL)

    def stop(self) -> None:
        """End everything that was started."""
        for node in self.nodes.values():
            if node.process is not None and node.process.poll() is None:
                self.kill(node.name)

    def leader(self, *, synchronous: bool = True) -> str:
        """The node that leads, once there is one that runs and, unless told, a synchronous one."""
        give_up_at = time.monotonic() + PATIENCE
        while time.monotonic() < give_up_at:
            for node in self.servers:
                members = self._members(node)
                leaders = [m["name"] for m in members if self._is(m, "leader")]
                followers = [m["name"] for m in members if self._is(m, "sync_standby")]
                if len(leaders) == 1 and (followers or not synchronous):
                    return str(leaders[0])
            time.sleep(0.2)
        logs = "\n".join((node.folder / "log").read_text()[-2000:] for node in self.servers)
        raise AssertionError(f"no leader after {PATIENCE} s:\n{logs}")

    def switch_over(self, leader: str, candidate: str) -> None:
        """A planned change of roles, by Patroni's own program."""
        subprocess.run(
            [
                *(self.program.with_name("patronictl"), "-c", "patroni.yml", "switchover", "tide"),
                *("--leader", leader, "--candidate", candidate, "--force"),
            ],
            cwd=self.nodes[leader].folder,
            check=True,
            capture_output=True,
            timeout=PATIENCE,
        )

    @staticmethod
    def _is(member: dict[str, Any], role: str) -> bool:
        return member["role"] == role and member["state"] in ("running", "streaming")

    @staticmethod
    def _members(node: Node) -> list[dict[str, Any]]:
        with suppress(OSError, ValueError):
            address = f"http://127.0.0.1:{node.rest}/cluster"
            with urllib.request.urlopen(address, timeout=2) as answer:
                members: list[dict[str, Any]] = json.load(answer)["members"]
                return members
        return []

    def _configuration(self, node: Node) -> dict[str, Any]:
        others = [other.raft for other in self.nodes.values() if other is not node]
        raft = {
            "data_dir": str(node.folder / "raft"),
            "self_addr": f"127.0.0.1:{node.raft}",
            "partner_addrs": [f"127.0.0.1:{port}" for port in others],
        }
        if node.name == "witness":
            return {"scope": "tide", "raft": raft}
        rest = f"127.0.0.1:{node.rest}"
        return {
            **documented(),
            "scope": "tide",
            "name": node.name,
            "raft": raft,
            "restapi": {"listen": rest, "connect_address": rest},
            "postgresql": {
                "listen": f"127.0.0.1:{node.port}",
                "connect_address": f"127.0.0.1:{node.port}",
                "data_dir": str(node.folder / "data"),
                "bin_dir": str(binaries()),
                "use_pg_rewind": True,
                "authentication": {
                    "superuser": {"username": "postgres", "password": "secret"},
                    "replication": {"username": "replicator", "password": "secret"},
                },
                "parameters": {"unix_socket_directories": str(node.folder), "fsync": "off"},
                "pg_hba": [
                    "host all all 127.0.0.1/32 scram-sha-256",
                    "host replication replicator 127.0.0.1/32 scram-sha-256",
                ],
            },
        }


def started(ending: ExitStack, folder: Path, program: Path) -> Cluster:
    """A cluster that works, ended and removed with `ending`."""
    folder.chmod(0o755)
    if os.geteuid() == 0:
        # Patroni is no root, and reads Python where it is.
        interpreter = program.with_name("python3").resolve()
        ending.enter_context(passable([program, interpreter, binaries()]))
    ending.callback(shutil.rmtree, folder, ignore_errors=True)
    cluster = Cluster(folder / "cluster", program)
    ending.callback(cluster.stop)
    for name in cluster.nodes:
        cluster.start(name)
    return cluster
