"""The table on the terminal, the table in Markdown, and what the run was made with."""

from __future__ import annotations

import os
import platform
import subprocess
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from benchmarks.results import Aim, Result
from benchmarks.stage import SETTINGS, Stage, connect, execute


def number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"


def verdict(result: Result, contender: str) -> str:
    aims = [aim for aim in result.aims if aim.contender == contender]
    return ", ".join(
        f"{ratio_of(result, aim)}: {aim}" + ("" if result.reached(aim) else " MISSED")
        for aim in aims
        if result.reached(aim) is not None
    )


def ratio_of(result: Result, aim: Aim) -> str:
    """What an aim is about: a ratio, or the value itself."""
    if aim.against:
        return f"{result.ratio(aim.contender, aim.against):.2f}"
    return f"{number(result.median(aim.contender))} {result.unit}"


def rows(result: Result) -> Iterator[tuple[str, str, str, str, str]]:
    """Contender, median, range, ratio, aim."""
    for name, values in result.values.items():
        if values:
            spread = f"{number(min(values))}-{number(max(values))}" if len(values) > 1 else ""
            ratio = f"{result.ratio(name):.2f}" if result.values.get(result.base) else ""
            yield name, number(result.median(name)), spread, ratio, verdict(result, name)


def show(result: Result) -> None:
    busy = f"   others used {result.others:.2f} cores" if result.others > 0.1 else ""
    print(f"\n{result.title} [{result.unit}, ratio to {result.base}]{busy}", flush=True)
    for name, median, spread, ratio, aim in rows(result):
        print(f"  {name:26} {median:>10} {spread:>20} {ratio:>8}   {aim}", flush=True)
    for name, reason in result.skipped.items():
        print(f"  {name:26} left out: {reason}", flush=True)


def markdown(results: Sequence[Result]) -> str:
    lines = [
        "| measured | contender | median | range | ratio | to reach |",
        "|---|---|---:|---:|---:|---|",
    ]
    for result in results:
        title = f"{result.title}, {result.unit}"
        for name, median, spread, ratio, aim in rows(result):
            lines.append(f"| {title} | {name} | {median} | {spread} | {ratio} | {aim} |")
            title = ""
    return "\n".join(lines)


def circumstances(stage: Stage) -> dict[str, Any]:
    """Hardware, settings and versions, as read from what is running."""
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "processor": _first("/proc/cpuinfo", "model name") or platform.processor(),
        "cores": os.cpu_count(),
        "memory": _first("/proc/meminfo", "MemTotal"),
        "system": platform.platform(),
        "load_before": round(os.getloadavg()[0], 2),
        "python": platform.python_version(),
        "postgres": execute(stage.dsn(), "select version()")[0][0],
        "psycopg": metadata.version("psycopg"),
        "commit": commit(),
        "tidebase_pg": metadata.version("tidebase-pg"),
        "settings": SETTINGS,
        "flush_ms": round(flush(stage), 3),
        "client": "on the same machine, over 127.0.0.1",
    }


def commit() -> str | None:
    """What was measured; with a plus when files differ from it."""
    try:
        told = subprocess.run(
            ["git", "describe", "--always", "--dirty=+"], capture_output=True, text=True
        )
    except OSError:
        return None
    return told.stdout.strip() or None


def flush(stage: Stage, commits: int = 200) -> float:
    """Milliseconds of one smallest durable transaction, the client's round trip included."""
    with connect(stage.dsn("template_raw")) as connection:
        connection.execute("create table flushed (n integer)")
        began = time.monotonic()
        for n in range(commits):
            connection.execute("insert into flushed values (%s)", (n,))
        took = time.monotonic() - began
        connection.execute("drop table flushed")
    return took / commits * 1000


def _first(path: str, key: str) -> str | None:
    try:
        lines = Path(path).read_text().splitlines()
    except OSError:
        return None
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(key)), None)
