"""The SQL files as syntax trees: headers, bodies and every statement and expression in them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pglast
from pglast import ast

ROOT = Path(__file__).parent.parent.parent
SQL = ROOT / "sql"

# libpg_query has no catalogue: to it our row types are unknown.
_TYPED = re.compile(r"(?<=\s)tide\.\w+(\[\])?(?=\s*(?:;|:=|,|\)|\n))")
_RECORD_DEFAULT = re.compile(r"(?s)\btide\.\w+ :=\s*(.*?);")

_EXPRESSION, *_ASSIGNMENTS = 2, 3, 4, 5
_RAISE_OPTIONS = ("errcode", "message", "detail", "hint")


@dataclass(frozen=True)
class Raise:
    """One `raise exception`: its message and its options as they are written."""

    message: str
    options: dict[str, str]


@dataclass(frozen=True)
class Routine:
    """One file below sql/functions."""

    path: Path

    @property
    def name(self) -> str:
        return self.path.stem

    @property
    def topic(self) -> str:
        return self.path.parent.name

    @property
    def public(self) -> bool:
        return not self.name.startswith("_")

    @property
    def text(self) -> str:
        return self.path.read_text()

    @property
    def statements(self) -> list[Any]:
        """The statements of the file: the function, its comment, triggers if any."""
        return _statements(self.text)

    @property
    def definition(self) -> ast.CreateFunctionStmt:
        found = self.statements[0]
        assert isinstance(found, ast.CreateFunctionStmt), self.path
        return found

    @property
    def language(self) -> str:
        return str(self.option("language").sval)

    def option(self, name: str) -> Any:
        return next((o.arg for o in self.definition.options if o.defname == name), None)

    @property
    def queries(self) -> list[Any]:
        """Every statement and every expression (as `select expression`) of the body."""
        if self.language == "sql":
            (body,) = (part.sval for part in self.option("as"))
            return _statements(body)
        return [
            _statement(node["query"], node["parseMode"])
            for kind, node in _walk(_body(self.text))
            if kind == "PLpgSQL_expr"
        ] + [
            # The first values of records, which the tree leaves out.
            _statement(expression, _EXPRESSION)
            for expression in _RECORD_DEFAULT.findall(_parts(self.text)[1])
        ]

    @property
    def raises(self) -> list[Raise]:
        if self.language == "sql":
            return []
        return [
            Raise(
                node["message"],
                {
                    _RAISE_OPTIONS[entry.get("opt_type", 0)]: entry["expr"]["PLpgSQL_expr"]["query"]
                    for option in node.get("options", [])
                    for entry in [option["PLpgSQL_raise_option"]]
                },
            )
            for kind, node in _walk(_body(self.text))
            if kind == "PLpgSQL_stmt_raise"
        ]

    def __str__(self) -> str:
        return self.name


def routines() -> list[Routine]:
    return [Routine(path) for path in sorted((SQL / "functions").glob("*/*.sql"))]


def views() -> list[Path]:
    return sorted((SQL / "views").glob("*.sql"))


def nodes(tree: Any, *kinds: type) -> Iterator[Any]:
    """All nodes of these kinds in a syntax tree, the root included."""
    if isinstance(tree, ast.Node):
        if not kinds or isinstance(tree, kinds):
            yield tree
        for attribute in tree:
            yield from nodes(getattr(tree, attribute), *kinds)
    elif isinstance(tree, list | tuple):
        for member in tree:
            yield from nodes(member, *kinds)


def relation(node: ast.RangeVar) -> str:
    return f"{node.schemaname}.{node.relname}" if node.schemaname else str(node.relname)


def called(tree: Any) -> Iterator[str]:
    """The names of the functions of the schema that are called."""
    for call in nodes(tree, ast.FuncCall, ast.CallStmt):
        names = [part.sval for part in getattr(call, "funcname", None) or ()]
        if names[:1] == ["tide"]:
            yield names[1]


@cache
def _statements(text: str) -> list[Any]:
    return [raw.stmt for raw in pglast.parse_sql(text)]


@cache
def _statement(query: str, mode: int) -> Any:
    if mode in _ASSIGNMENTS:
        query = query.split(":=", 1)[1]
    if mode != 0:
        query = f"select {query}"
    (statement,) = _statements(query)
    return statement


@cache
def _body(text: str) -> Any:
    """The PL/pgSQL of a file as pglast gives it, read with our row types taken for records."""
    name = re.search(r"(?m)^create or replace \w+ tide\.(\w+)", text)
    header, declarations, code = _parts(text)
    header = re.sub(r"returns\s+(setof\s+)?tide\.\w+(\[\])?", r"returns \1record", header)
    text = _TYPED.sub(_record, header) + "as $$" + _TYPED.sub(_record, declarations) + code
    if name is not None:
        # The tree has no labels either; only what is assigned to is looked up.
        text = re.sub(rf"(?m)^(\s*){name[1]}\.(\w+) :=", r"\1\2 :=", text)
    return pglast.parse_plpgsql(text)


def _parts(text: str) -> tuple[str, str, str]:
    """A function up to its body, the declarations, and the code from `begin` on."""
    header, body = pglast.split(text)[0].split("as $$", 1)
    declarations, begin, code = re.split(r"(?m)^(begin)$", body, maxsplit=1)
    return header, declarations, begin + code


def _record(found: re.Match[str]) -> str:
    return "jsonb[]" if found[1] else "record"


def _walk(tree: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(tree, dict):
        for kind, node in tree.items():
            yield kind, node
            yield from _walk(node)
    elif isinstance(tree, list):
        for member in tree:
            yield from _walk(member)
