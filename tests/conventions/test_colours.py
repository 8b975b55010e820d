"""The synchronous modules are what the asynchronous ones make of them."""

from __future__ import annotations

import importlib.util
import sys
from types import ModuleType

import pytest

from tests.conventions.bodies import ROOT


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location(
        "async_to_sync", ROOT / "tools" / "async_to_sync.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_both_colours_are_in_step(tool: ModuleType) -> None:
    stale = [str(path.relative_to(ROOT)) for path in tool.out_of_step()]
    assert not stale, f"run: make sync, which writes {', '.join(stale)}"


def test_each_synchronous_twin_says_where_it_comes_from(tool: ModuleType) -> None:
    assert len(tool.pairs()) >= 9
    for source, made in tool.pairs().items():
        assert f"# Made from {source.name} by tools/async_to_sync.py" in made.read_text()


@pytest.mark.parametrize(
    ("asynchronous", "synchronous"),
    [
        ("x = await f(await g())\n", "x = f(g())\n"),
        ("y = (await f()).status\n", "y = f().status\n"),
        ("async def f() -> Awaitable[int]: ...\n", "def f() -> int: ...\n"),
        ("async with aclosing(x) as y:\n    pass\n", "with closing(x) as y:\n    pass\n"),
        ("z: AsyncRun | None = AsyncRun()\n", "z: Run | None = Run()\n"),
        ("if ASYNC:\n    x = 1\nelse:\n    x = 2\n", "x = 2\n"),
        ('t = "await the tide"\n', 't = "await the tide"\n'),
    ],
)
def test_what_differs_is_taken_out(tool: ModuleType, asynchronous: str, synchronous: str) -> None:
    assert tool.converted(asynchronous) == synchronous
