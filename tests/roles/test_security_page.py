"""Every sentence of docs/security.md names a test, and the test exists."""

from __future__ import annotations

import re

from tests.roles.test_queue_grants import CLAIM, ENQUEUE
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


def test_every_sentence_names_what_proves_it() -> None:
    """Sentences of paragraphs and points, and rows of tables; not headings, code, what introduces
    code, the bold name a rule has, and where to read on."""
    text = re.sub(r"(?ms)^```.*?^```", "", PAGE.read_text())
    blocks = [block.strip() for block in re.split(r"\n(?=- |\d\. |\|)|\n\n", text)]
    unproved: list[str] = []
    for block in blocks:
        if block.startswith("|"):
            sentences = [block] if not re.match(HEADS, block) else []
        elif block.startswith("#") or block.endswith(("the text of", "otherwise:")):
            continue
        else:
            plain = re.sub(r"^(- |\d\. )(\*\*[^*]*\.\*\* )?", "", " ".join(block.split()))
            sentences = re.split(r"(?<=\.)\s+(?=[A-Z`*])", plain)
        unproved += [
            sentence
            for sentence in sentences
            if sentence and "`test_" not in sentence and not sentence.startswith("See [")
        ]
    assert unproved == []


HEADS = r"\| (role|between|attempt) \||\|---"


def test_the_page_names_the_acts_of_each_verb() -> None:
    """Those that `test_each_act_needs_its_verb` calls."""
    text = " ".join(PAGE.read_text().split())
    for verb, acts in (("enqueue", ENQUEUE), ("claim", CLAIM)):
        (listed,) = re.findall(rf"\*\*{verb}\*\* (?:is needed )?by ((?:`\w+`(?:, )?)+)", text)
        assert set(re.findall(r"`(\w+)`", listed)) == set(acts)
