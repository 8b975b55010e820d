"""Writes the synchronous modules of the driver from the asynchronous ones.

`async_<name>.py` is written by hand, `<name>.py` beside it is what this makes of it. Where the two
colours differ by more than `await`, the asynchronous source says so:

    if ASYNC:
        ...
    else:
        ...  (what the synchronous module has instead)

    $ python tools/async_to_sync.py           writes them
    $ python tools/async_to_sync.py --check   says which are out of step
"""

from __future__ import annotations

import argparse
import ast
import io
import itertools
import re
import subprocess
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parent.parent
PACKAGE: Final = ROOT / "tidebase_pg"
MARK: Final = "ASYNC"

NAMES: Final = {
    "__aenter__": "__enter__",
    "__aexit__": "__exit__",
    "__aiter__": "__iter__",
    "__anext__": "__next__",
    "aclose": "close",
    "aclosing": "closing",
    "asynccontextmanager": "contextmanager",
    "enter_async_context": "enter_context",
    "push_async_exit": "push",
    "tasks": "threads",
}
"""Names with another word for the same thing; `AsyncX` and `async_x` lose their prefix."""

WORDS: Final = (
    (re.compile(r"\bawait "), ""),
    (re.compile(r"\basync (?=def|for|with)"), ""),
    (re.compile(r"\bAsync(?=[A-Z])"), ""),
    (re.compile(r", for asyncio\b"), ""),
)
"""What changes in docstrings."""

Edit = tuple[int, int, str]


class Source:
    """A module's text, addressed by the positions of ast and tokenize."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.starts = [0]
        for line in text.splitlines(keepends=True):
            self.starts.append(self.starts[-1] + len(line))
        self.tree = ast.parse(text)

    def at(self, line: int, column: int) -> int:
        """The place of a token."""
        return self.starts[line - 1] + column

    def start(self, node: ast.stmt | ast.expr) -> int:
        return self._place(node.lineno, node.col_offset)

    def end(self, node: ast.stmt | ast.expr) -> int:
        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        return self._place(node.end_lineno, node.end_col_offset)

    def _place(self, line: int, column: int) -> int:
        """ast counts bytes of UTF-8."""
        start = self.starts[line - 1]
        head = self.text[start : self.starts[line]].encode()[:column]
        return start + len(head.decode())


def converted(text: str) -> str:
    """The synchronous text of an asynchronous module, not yet formatted."""
    text = branches_chosen(text)
    source = Source(text)
    edits = [*keywords(source), *types(source), *words(source)]
    for start, end, new in sorted(edits, reverse=True):
        text = text[:start] + new + text[end:]
    return text


def branches_chosen(text: str) -> str:
    """Only what stands in the `else` of `if ASYNC:`."""
    while True:
        source = Source(text)
        lines = text.splitlines(keepends=True)
        found = next(
            (
                node
                for node in ast.walk(source.tree)
                if isinstance(node, ast.If)
                and isinstance(node.test, ast.Name)
                and node.test.id == MARK
            ),
            None,
        )
        if found is None:
            return text
        assert found.end_lineno is not None
        chosen: list[str] = []
        if found.orelse:
            last = found.body[-1].end_lineno
            assert last is not None
            otherwise = next(
                place for place in range(last, found.end_lineno) if lines[place].strip() == "else:"
            )
            chosen = [line.removeprefix("    ") for line in lines[otherwise + 1 : found.end_lineno]]
        text = "".join([*lines[: found.lineno - 1], *chosen, *lines[found.end_lineno :]])


def keywords(source: Source) -> Iterator[Edit]:
    """Without `async` and `await`."""
    tokens = list(tokenize.generate_tokens(io.StringIO(source.text).readline))
    for token, after in itertools.pairwise(tokens):
        if token.type == tokenize.NAME and token.string in ("async", "await"):
            yield source.at(*token.start), source.at(*after.start), ""
    for node in ast.walk(source.tree):
        # (await f(x)).y
        if isinstance(node, ast.Attribute | ast.Subscript) and isinstance(node.value, ast.Await):
            start, end = source.start(node.value), source.end(node.value)
            yield start - 1, start, ""
            yield end, end + 1, ""


def types(source: Source) -> Iterator[Edit]:
    """The type of what an awaitable gives."""
    for node in ast.walk(source.tree):
        if (
            isinstance(node, ast.Subscript)
            and isinstance(node.value, ast.Name)
            and node.value.id in ("Awaitable", "Coroutine")
        ):
            given = node.slice.elts[-1] if isinstance(node.slice, ast.Tuple) else node.slice
            yield source.start(node), source.start(given), ""
            yield source.end(given), source.end(node), ""


def words(source: Source) -> Iterator[Edit]:
    documents = {
        (node.body[0].lineno, node.body[0].col_offset)
        for node in ast.walk(source.tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and isinstance(node.body[0], ast.Expr)
    }
    documents |= {
        (node.lineno, node.col_offset)
        for node in ast.walk(source.tree)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    for token in tokenize.generate_tokens(io.StringIO(source.text).readline):
        new = token.string
        if token.type == tokenize.NAME:
            new = renamed(token.string)
        elif token.type == tokenize.STRING and (
            token.start in documents or renamed(token.string[1:-1]) != token.string[1:-1]
        ):
            for pattern, word in WORDS:
                new = pattern.sub(word, new)
        elif token.type == tokenize.COMMENT and token.string.startswith("# noqa: ASYNC"):
            new = ""
        if new != token.string:
            yield source.at(*token.start), source.at(*token.end), new


def renamed(name: str) -> str:
    if name in NAMES:
        return NAMES[name]
    if re.match(r"Async[A-Z]", name):
        return name.removeprefix("Async")
    return re.sub(r"^(_?)async_(?=[a-z])", r"\1", name)


def formatted(path: Path, text: str) -> str:
    """As ruff leaves it, without imports nobody needs."""
    ruff = [sys.executable, "-m", "ruff"]
    named = ["--stdin-filename", str(path), "-"]
    chosen = ["--quiet", "--fix-only", "--unsafe-fixes", "--select", "F401,I,RET504,PIE790,UP028"]
    for command in (["check", *chosen], ["format", "--quiet"], ["check", *chosen]):
        text = subprocess.run(
            [*ruff, *command, *named], input=text, capture_output=True, text=True, check=True
        ).stdout
    return text


def generated(path: Path) -> str:
    """What the synchronous module of an asynchronous one has to be."""
    text = formatted(path, converted(path.read_text()))
    head, _, rest = text.partition("from __future__")
    note = f"# Made from {path.name} by tools/async_to_sync.py: change that, then `make sync`.\n"
    return f"{head}{note}\nfrom __future__{rest}"


def pairs() -> dict[Path, Path]:
    """Each asynchronous module and the synchronous one made of it."""
    return {
        path: path.with_name(path.name.removeprefix("async_"))
        for path in sorted(PACKAGE.rglob("async_*.py"))
    }


def out_of_step() -> dict[Path, str]:
    """The synchronous modules that are not what they have to be, and what that is."""
    wanted = {made: generated(source) for source, made in pairs().items()}
    return {
        path: text
        for path, text in wanted.items()
        if not path.is_file() or path.read_text() != text
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="write nothing, fail if out of step")
    checks: bool = parser.parse_args().check
    stale = out_of_step()
    for path, text in stale.items():
        sys.stdout.write(f"{path.relative_to(ROOT)} {'is out of step' if checks else 'written'}\n")
        if not checks:
            path.write_text(text)
    return 1 if checks and stale else 0


if __name__ == "__main__":
    sys.exit(main())
