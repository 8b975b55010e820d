"""A line to Postgres that can be cut, frozen and slowed: a proxy of the campaign's."""

from __future__ import annotations

import contextlib
import random
import select
import socket
import threading
import time

from tests.driver.statements import Proxy, hang_up

LOOK = 0.05
"""Seconds between two looks at what a frozen line is to do."""


class Link:
    """One connection through the proxy."""

    def __init__(self, client: socket.socket, server: socket.socket) -> None:
        self.ends = (client, server)
        self.frozen_until = 0.0
        self.slow_until = 0.0
        self.cut = False

    def carry(self) -> None:
        """Until one end hangs up, or the line is cut."""
        client, server = self.ends
        other = {client: server, server: client}
        while not self.cut:
            ready, _, _ = select.select(self.ends, (), (), LOOK)
            frozen = time.monotonic() < self.frozen_until
            for end in ready:
                if frozen:  # what is sent is acknowledged by the system, and goes no further
                    if end.recv(1, socket.MSG_PEEK) == b"":
                        return
                    continue
                if not (data := end.recv(65536)):
                    return
                if time.monotonic() < self.slow_until:
                    for start in range(0, len(data), 512):
                        time.sleep(LOOK)
                        other[end].sendall(data[start : start + 512])
                else:
                    other[end].sendall(data)
            if frozen and ready:
                time.sleep(LOOK)


class Line(Proxy):
    """Forwards until it is told otherwise."""

    def __init__(self, dsn: str) -> None:
        super().__init__(dsn)
        self._links: set[Link] = set()
        self._lock = threading.Lock()
        self._start()

    def close(self) -> None:
        self._listener.close()
        self.cut(1.0)

    def cut(self, share: float) -> int:
        """End this share of the connections, as a firewall does."""
        chosen = self._some(share)
        for link in chosen:
            link.cut = True
            for end in link.ends:
                hang_up(end)
        return len(chosen)

    def freeze(self, share: float, seconds: float) -> int:
        """Nothing goes through this share of the connections for so long; new ones work."""
        chosen = self._some(share)
        for link in chosen:
            link.frozen_until = time.monotonic() + seconds
        return len(chosen)

    def slow(self, share: float, seconds: float) -> int:
        """This share of the connections carries a little at a time for so long."""
        chosen = self._some(share)
        for link in chosen:
            link.slow_until = time.monotonic() + seconds
        return len(chosen)

    def _some(self, share: float) -> list[Link]:
        with self._lock:
            links = list(self._links)
        return random.sample(links, -(-int(len(links) * share * 100) // 100))

    def _serve(self, client: socket.socket) -> None:
        with client, contextlib.suppress(OSError, ValueError):
            with self._connect() as server:
                link = Link(client, server)
                with self._lock:
                    self._links.add(link)
                try:
                    link.carry()
                finally:
                    with self._lock:
                        self._links.discard(link)
