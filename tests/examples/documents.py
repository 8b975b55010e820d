"""The documents of the repository as tests read them: their blocks of code, and what follows."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from tests.servers import ROOT

PAGES = ["README.md", *sorted(path.relative_to(ROOT).as_posix() for path in ROOT.glob("docs/*.md"))]
FENCED = re.compile(r"^```(\w*)\n(.*?)^```$(?:\n+```text\n(.*?)^```$)?", re.MULTILINE | re.DOTALL)
UUID = re.compile(r"\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b")


@dataclass(frozen=True)
class Block:
    """A block of code, and the output shown right below it."""

    language: str
    code: str
    output: str | None


def blocks(page: str, language: str) -> list[Block]:
    text = (ROOT / page).read_text(encoding="utf-8")
    return [
        Block(found, code, output or None)
        for found, code, output in FENCED.findall(text)
        if found == language
    ]


def without_ids(text: str) -> str:
    """The text with every UUID made the same, and no blanks at the ends of lines."""
    lines = UUID.sub("00000000-0000-0000-0000-000000000000", text).strip().splitlines()
    return "\n".join(line.rstrip() for line in lines)


def headings(page: Path) -> set[str]:
    """The anchors a page offers, as GitHub names them."""
    found = re.findall(r"^#+ +(.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in found}


SQL = ROOT / "sql"
COMMENT = re.compile(
    r"^comment on (function|procedure|view|table|type) tide\.(\w+) is((?:\s*'(?:[^']|'')*')+);",
    re.MULTILINE,
)
LITERAL = re.compile(r"'((?:[^']|'')*)'")


def sql_comments(file: Path) -> list[tuple[str, str, str]]:
    """Kind, name and text of the comments on the objects a file of sql/ makes."""
    return [
        (kind, name, "".join(LITERAL.findall(text)).replace("''", "'"))
        for kind, name, text in COMMENT.findall(file.read_text(encoding="utf-8"))
    ]


def sql_tables() -> dict[str, list[str]]:
    """Heading → the rows that sql/README.md has below it: every object and its comment."""
    found: dict[str, list[str]] = {}
    files = [*sorted(SQL.glob("migrations/*.sql")), *sorted(SQL.glob("views/*.sql"))]
    header = [SQL / "header.sql"]
    rows = [row for file in files + header for row in _rows(file)]
    # A later migration may say better what a table is, or make a type again.
    last = {row.split("|")[1]: row for row in rows}
    found["Tables, views and types"] = [row for row in rows if last[row.split("|")[1]] == row]
    for topic in sorted(path.name for path in SQL.glob("functions/*")):
        files = sorted(SQL.glob(f"functions/{topic}/*.sql"))
        public = [file for file in files if not file.name.startswith("_")]
        private = [file for file in files if file.name.startswith("_")]
        for title, some in ((f"{topic}: public", public), (f"{topic}: private", private)):
            found[title] = [row for file in some for row in _rows(file)]
    return {title: rows for title, rows in found.items() if rows}


def _rows(file: Path) -> list[str]:
    return [f"| `{name}` | {text} |" for _, name, text in sql_comments(file)]
