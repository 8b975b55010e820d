"""sql/README.md lists every table, view, type and function, with the comment it has in psql."""

from __future__ import annotations

import re

import pytest

from tests.examples.documents import SQL, sql_tables


@pytest.mark.parametrize("heading", sql_tables())
def test_every_object_is_listed_with_its_comment(heading: str) -> None:
    text = (SQL / "README.md").read_text(encoding="utf-8")
    section = re.search(
        rf"^### {re.escape(heading)}\n(.*?)(?=^#|\Z)", text, re.MULTILINE | re.DOTALL
    )
    assert section is not None, f"sql/README.md has no section {heading!r}"
    listed = re.findall(r"^\| `.*$", section[1], re.MULTILINE)
    expected = sql_tables()[heading]
    assert listed == expected, "put these rows there:\n" + "\n".join(expected)


def test_no_section_lists_what_is_not_there() -> None:
    text = (SQL / "README.md").read_text(encoding="utf-8")
    sections = re.findall(r"^### (.+: (?:public|private))$", text, re.MULTILINE)
    assert set(sections) <= set(sql_tables())
