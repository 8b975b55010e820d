"""Every promise of docs/security.md names a test, and the test exists."""

from __future__ import annotations

import re

from tests.servers import ROOT

PAGE = ROOT / "docs" / "security.md"


def test_the_tests_named_on_the_page_exist() -> None:
    named = set(re.findall(r"`(test_\w+)`", PAGE.read_text()))
    written = {
        name
        for path in (ROOT / "tests").rglob("test_*.py")
        for name in re.findall(r"(?m)^def (test_\w+)", path.read_text())
    }
    assert len(named) > 20
    assert named - written == set()


def test_every_paragraph_names_what_proves_it() -> None:
    """Paragraphs, points and rows; not headings, code, what a code block is introduced with, heads
    of tables, and the two tables that say what a word means or what is no wall."""
    text = re.sub(r"(?ms)^```.*?^```", "", PAGE.read_text())
    blocks = [block.strip() for block in re.split(r"\n(?=- |\d\. |\|)|\n\n", text)]
    unproved = [
        block
        for block in blocks
        if block
        and "`test_" not in block
        and not block.startswith(("#", "| role ", "| between ", "|---", "| attempt ", "| `tide_"))
        and not re.fullmatch(r"\|[^|]*\| no \|[^|]*\|", block)
        and not block.endswith(("the text of", "otherwise:"))
    ]
    assert unproved == []
