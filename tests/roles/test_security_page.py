"""Every promise of docs/security.md names a test, and the test exists."""

from __future__ import annotations

import re

from tests.servers import ROOT


def test_the_tests_named_on_the_page_exist() -> None:
    named = set(re.findall(r"`(test_\w+)`", (ROOT / "docs" / "security.md").read_text()))
    written = {
        name
        for path in (ROOT / "tests").rglob("test_*.py")
        for name in re.findall(r"(?m)^def (test_\w+)", path.read_text())
    }
    assert len(named) > 20
    assert named - written == set()
