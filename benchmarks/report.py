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
from typing import Any, Final

from benchmarks.results import Aim, Result
from benchmarks.stage import Stage, connect, execute

ROOT: Final = Path(__file__).resolve().parent.parent


def number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"


def verdict(result: Result, contender: str) -> str:
    return ", ".join(
        f"{ratio_of(result, aim)}: {aim} {result.verdict(aim)}"
        for aim in result.aims
        if aim.contender == contender and result.reached(aim) is not None
    )


def ratio_of(result: Result, aim: Aim) -> str:
    """What an aim is about: a ratio, or the value itself."""
    if result.reached(aim) is None:
        return ""
    if aim.against:
        return f"{result.ratio(aim.contender, aim.against):.2f}"
    return f"{number(result.median(aim.contender))} {result.unit}"


def rows(result: Result) -> Iterator[tuple[str, str, str, str, str]]:
    """Contender, median, range, ratio, aim."""
    for name, values in result.values.items():
        if values:
            spread = f"{number(min(values))}-{number(max(values))}" if len(values) > 1 else ""
            ratio = f"{result.ratio(name):.2f}" if result.measurable else ""
            yield name, number(result.median(name)), spread, ratio, verdict(result, name)


def show(result: Result) -> None:
    busy = f"   others used {result.others:.2f} cores" if result.others > 0.1 else ""
    print(f"\n{result.title} [{result.unit}, ratio to {result.base}]{busy}", flush=True)
    for name, median, spread, ratio, aim in rows(result):
        print(f"  {name:26} {median:>10} {spread:>20} {ratio:>8}   {aim}", flush=True)
    for name, reason in result.skipped.items():
        print(f"  {name:26} left out: {reason}", flush=True)


def judged(results: Sequence[Result]) -> Iterator[tuple[str, str, str, str, str]]:
    """What, contender, to reach, what it is, and the verdict; every aim, measured or not."""
    for result in results:
        for aim in result.aims:
            unit = "" if aim.against else f" {result.unit}"
            yield (
                result.title, aim.contender, f"{aim}{unit}", ratio_of(result, aim),
                result.verdict(aim),
            )  # fmt: skip


def judge(results: Sequence[Result]) -> None:
    print("\nTo reach")
    for title, contender, aim, found, word in judged(results):
        print(f"  {word:12} {found:>16}  {aim:32} {contender}: {title}", flush=True)


def aims(results: Sequence[Result]) -> str:
    lines = ["| figure | of | to reach | is | |", "|---|---|---|---:|---|"]
    lines += [f"| {' | '.join(row)} |" for row in judged(results)]
    return "\n".join(lines)


def matrix(results: Sequence[Result]) -> str:
    """Results that share their contenders, one to a line."""
    names = list(results[0].values)
    lines = [
        f"| {results[0].unit} | {' | '.join(names)} | ratio |",
        f"|---|{'---:|' * (len(names) + 1)}",
    ]
    for result in results:
        medians = " | ".join(number(result.median(name)) for name in names)
        title = result.title.partition(",")[0]
        lines.append(f"| {title} | {medians} | {result.ratio(names[-1]):.2f} |")
    return "\n".join(lines)


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
        "settings": stage.settings,
        "flush_ms": round(flush(stage), 3),
        "client": "on the same machine, over 127.0.0.1",
    }


def commit() -> str | None:
    """What was measured; with a plus when files differ from it."""
    try:
        told = subprocess.run(
            ["git", "-c", f"safe.directory={ROOT}", "describe", "--always", "--dirty=+"],
            cwd=ROOT, capture_output=True, text=True,
        )  # fmt: skip
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
