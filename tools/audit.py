"""Look for known vulnerabilities in what the package needs.

Ends with 1 when one is known. Where the service that knows them does not answer, as without a
network, it says what was not looked up; with --strict it ends with 1 then, too.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parent.parent
PATIENCE: Final = 300
"""Seconds for all of it."""


def judged(dependencies: Sequence[Mapping[str, Any]]) -> tuple[list[str], list[str]]:
    """What is known of the dependencies, and what could not be looked up."""
    known = [
        f"{found['name']} {found['version']}: {flaw['id']}, "
        f"mended in {', '.join(flaw['fix_versions']) or 'no release'}"
        for found in dependencies
        for flaw in found.get("vulns", ())
    ]
    unknown = [
        f"{found['name']}: {found['skip_reason']}"
        for found in dependencies
        if "skip_reason" in found
    ]
    return known, unknown


def asked() -> tuple[list[str], list[str]]:
    """What pip-audit says; that it says nothing is one thing it could not look up."""
    command = [sys.executable, "-m", "pip_audit", "--format", "json", "--progress-spinner", "off"]
    try:
        done = subprocess.run(
            [*command, str(ROOT)], capture_output=True, text=True, timeout=PATIENCE, check=False
        )
    except subprocess.TimeoutExpired:
        return [], [f"no answer in {PATIENCE} s"]
    try:
        answer = json.loads(done.stdout)
    except ValueError:
        return [], [
            " ".join(done.stderr.split())[-300:] or f"pip-audit ended with {done.returncode}"
        ]
    return judged(answer["dependencies"])


def verdict(known: Sequence[str], unknown: Sequence[str], *, strict: bool) -> tuple[str, int]:
    """What to print, and the exit code."""
    lines = [f"known: {line}" for line in known] + [f"not looked up: {line}" for line in unknown]
    if not lines:
        return "nothing is known against what the package needs", 0
    return "\n".join(lines), int(bool(known) or strict)


def main() -> int:
    said, code = verdict(*asked(), strict="--strict" in sys.argv[1:])
    print(said)  # noqa: T201
    return code


if __name__ == "__main__":
    sys.exit(main())
