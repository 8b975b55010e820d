"""What the audit of dependencies makes of the answers of pip-audit."""

from __future__ import annotations

from importlib import util
from types import ModuleType
from typing import Any

import pytest

from tests.servers import ROOT

CLEAN = {"name": "click", "version": "8.4.0", "vulns": []}
FLAWED = {
    "name": "psycopg",
    "version": "3.2.0",
    "vulns": [{"id": "PYSEC-2026-1", "fix_versions": ["3.2.1"]}],
}
UNKNOWN = {"name": "psycopg-pool", "skip_reason": "not found"}


@pytest.fixture(scope="module")
def audit() -> ModuleType:
    spec = util.spec_from_file_location("tools_audit", ROOT / "tools/audit.py")
    assert spec is not None and spec.loader is not None
    module = util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("dependencies", "codes", "words"),
    [
        ([CLEAN], (0, 0), "nothing is known"),
        ([CLEAN, UNKNOWN], (0, 1), "not looked up: psycopg-pool: not found"),
        ([CLEAN, FLAWED, UNKNOWN], (1, 1), "known: psycopg 3.2.0: PYSEC-2026-1, mended in 3.2.1"),
    ],
)
def test_only_what_is_known_fails_where_the_service_does_not_answer(
    audit: ModuleType, dependencies: list[dict[str, Any]], codes: tuple[int, int], words: str
) -> None:
    found = audit.judged(dependencies)
    said, lenient = audit.verdict(*found, strict=False)
    assert words in said
    assert (lenient, audit.verdict(*found, strict=True)[1]) == codes


def test_an_audit_that_cannot_ask_says_so(
    audit: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit.sys, "executable", "/bin/false")
    known, unknown = audit.asked()
    assert (known, unknown) == ([], ["pip-audit ended with 1"])
