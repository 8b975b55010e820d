"""How much CPU processes outside the benchmark used while something was measured."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Final

HERTZ: Final = os.sysconf("SC_CLK_TCK")
KERNEL: Final = 2
"""The parent of the kernel's own threads, which work for everybody and count for nobody."""


def processes() -> dict[int, tuple[int, int]]:
    """Parent and ticks of CPU of every process; empty where there is no /proc."""
    found = {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            text = (entry / "stat").read_text()
        except OSError:
            continue
        fields = text[text.rindex(")") + 2 :].split()
        found[int(entry.name)] = (int(fields[1]), int(fields[11]) + int(fields[12]))
    return found


def below(roots: Iterable[int], table: dict[int, tuple[int, int]]) -> set[int]:
    """The processes and all that descend from them."""
    children: dict[int, list[int]] = {}
    for process, (parent, _) in table.items():
        children.setdefault(parent, []).append(process)
    found: set[int] = set()
    left = list(roots)
    while left:
        process = left.pop()
        if process not in found:
            found.add(process)
            left += children.get(process, [])
    return found


def used(root: int) -> float:
    """Seconds of CPU of a process, of all that descend from it, and of those that have ended."""
    table = processes()
    ticks = sum(table[process][1] for process in below([root], table) if process in table)
    try:
        text = Path(f"/proc/{root}/stat").read_text()
    except OSError:
        return 0.0
    fields = text[text.rindex(")") + 2 :].split()
    return (ticks + int(fields[13]) + int(fields[14])) / HERTZ


class Others:
    """Looks once a second; processes that live shorter are missed."""

    def __init__(self, roots: Iterable[int]) -> None:
        self.roots = list(roots)
        self.cores = 0.0

    def __enter__(self) -> Others:
        self.stopped = threading.Event()
        self.thread = threading.Thread(target=self._watch, daemon=True)
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopped.set()
        self.thread.join()

    def _watch(self) -> None:
        began, ticks = time.monotonic(), 0
        before = processes()
        while True:
            over = self.stopped.wait(1.0)
            now = processes()
            ours = below(self.roots, now)
            ticks += sum(
                used - before[process][1]
                for process, (parent, used) in now.items()
                if process in before and process not in ours and KERNEL not in (process, parent)
            )
            before = now
            if over:
                self.cores = ticks / HERTZ / max(time.monotonic() - began, 1e-3)
                return
