"""The text of SQL: its statements, and what is quoted."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Final

TOKEN: Final = re.compile(
    r"""
    (?P<line>--[^\n]*)
    | (?P<block>/\*)
    | (?P<escaped>[eE]'(?:[^'\\]|\\.|'')*')
    | (?P<string>'(?:[^']|'')*')
    | (?P<identifier>"(?:[^"]|"")*")
    | (?P<word>[^\W\d][\w$]*)
    | (?P<dollar>\$(?:[^\W\d]\w*)?\$)
    | (?P<end>;)
    | (?P<other>.)
    """,
    re.VERBOSE | re.DOTALL,
)


def split(body: str) -> list[str]:
    """The statements of a script, without comments around them; quotes and bodies stay whole."""
    statements = [""]
    for token, text in tokens(body):
        if token.lastgroup == "end":
            statements.append("")
        else:
            statements[-1] += text
    bare = (_without_leading_comments(statement) for statement in statements)
    return [statement for statement in bare if statement]


def tokens(body: str) -> Iterator[tuple[re.Match[str], str]]:
    """How each piece of a script begins, and the whole of it."""
    position = 0
    while position < len(body):
        token = TOKEN.match(body, position)
        assert token is not None  # the last alternative takes any character
        end = token.end()
        if token.lastgroup == "block":
            end = _end_of_comment(body, end)
        elif token.lastgroup == "dollar":
            closing = body.find(token.group(), end)
            end = len(body) if closing < 0 else closing + len(token.group())
        yield token, body[position:end]
        position = end


def words(statement: str) -> str:
    return " ".join(statement.lower().split()) + " "


def _end_of_comment(body: str, position: int) -> int:
    depth = 1
    for edge in re.compile(r"/\*|\*/").finditer(body, position):
        depth += 1 if edge.group() == "/*" else -1
        if depth == 0:
            return edge.end()
    return len(body)


def _without_leading_comments(statement: str) -> str:
    statement = statement.strip()
    while statement.startswith(("--", "/*")):
        if statement.startswith("--"):
            statement = statement.partition("\n")[2].lstrip()
        else:
            statement = statement[_end_of_comment(statement, 2) :].lstrip()
    return statement


def first_line(statement: str) -> str:
    return _without_leading_comments(statement).partition("\n")[0]


def literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def array(texts: Sequence[str]) -> str:
    return f"array[{', '.join(map(literal, texts))}]::text[]"
