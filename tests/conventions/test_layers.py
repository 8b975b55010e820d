"""Which module of the package may do what: the middle is pure, I/O lives at the edge."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.conventions.bodies import ROOT, routines, views
from tidebase_pg import calls

PACKAGE = ROOT / "tidebase_pg"

PURE = {
    "admin.releases",
    "admin.rendering",
    "admin.sql_text",
    "call",
    "calls",
    "calls.children",
    "calls.events",
    "calls.gates",
    "calls.keys",
    "calls.lanes",
    "calls.queues",
    "calls.runs",
    "calls.schedules",
    "calls.state",
    "calls.steps",
    "calls.streams",
    "calls.upkeep",
    "calls.usage",
    "calls.webhooks",
    "codecs",
    "documents",
    "errors",
    "event_reader",
    "flows",
    "names",
    "registry",
    "types",
    "values",
    "version",
    "webhooks",
    "webhooks.addresses",
    "webhooks.signing",
    "worker.active_run",
}
"""Modules that compute: they import nothing that waits, and only each other."""

WAITING = {
    "asyncio",
    "http",
    "multiprocessing",
    "psycopg_pool",
    "select",
    "selectors",
    "signal",
    "ssl",
    "subprocess",
    "threading",
    "urllib",
}

ASKED = {"names": ("asyncio", "threading")}
"""What is only asked who is running, and not waited for."""

# Which modules may do what; everything else may not.
MAY = {
    "touch cursors": {
        "admin.doctor",
        "admin.drift",
        "admin.installer",
        "admin.ledger",
        "admin.rehearsal",
        "admin.roles",
        "admin.strangers",
        "admin.uninstall",
        "agents.connections",
        "agents.langgraph.vectors",
        "agents.retention",
        "agents.schemas",
        "client.async_statements",
        "client.settings",
        "client.statements",
        "testing.clock",
        "testing.databases",
        "testing.kit",
        "testing.recordings",
    },
    "read the files of sql/": {"admin.drift", "admin.releases", "agents.schemas"},
    "sleep": {
        "admin.installer",
        "client.limits",
        "server.background",
        "server.chunks",
        "server.hub",
        "server.polls",
        "worker.async_step_reporter",
        "worker.step_reporter",
    },
    "start threads or tasks": {
        "client.limits",
        "server.background",
        "server.hub",
        "server.polls",
        "server.streams",
        "server.studio.application",
        "server.studio.pages.streaming",
        "tasks",
        "testing.check",
        "testing.kit",
        "threads",
        "webhooks.dispatcher",
        "worker.async_loop",
        "worker.async_step_reporter",
        "worker.renewal",
        "worker.step_reporter",
        "worker.task_pool",
        "worker.thread_pool",
        "worker.ticker",
    },
    "handle signals": {"worker.async_loop", "worker.loop", "commands.signals"},
    "start processes": {"admin.embedded", "server.serving"},
    "leave the program": {"cli", "commands.output", "testing.crashes", "__main__"},
    "print": set(),
    "hold SQL": {
        "admin.doctor",
        "admin.drift",
        "admin.installer",
        "admin.ledger",
        "admin.rehearsal",
        "admin.releases",
        "admin.rendering",
        "admin.roles",
        "admin.strangers",
        "admin.uninstall",
        "agents.connections",
        "agents.langgraph.vectors",
        "agents.retention",
        "agents.schemas",
        "call",
        "calls.queues",
        "calls.runs",
        "client.async_statements",
        "client.meeting",
        "client.statements",
        "testing.clock",
        "testing.databases",
        "testing.kit",
        "testing.recordings",
        "types",
    },
}
"""tasks and threads are the two machines, limits the watch over what takes too long; the installer
sleeps before it tries for the lock again; the worker, its renewal, its ticks and its threads are
machines too."""

SQL = re.compile(
    r"(?is)^\s*(select\s.+|insert\s+into\s.+|update\s+\w.*\sset\s.+|delete\s+from\s.+|"
    r"call\s+tide\..+|(create|alter|drop)\s+(table|schema|function|index)\b.+|begin\b.*;.*)$"
)


def module(path: Path) -> str:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__") or "__init__"


MODULES = {module(path): path for path in sorted(PACKAGE.rglob("*.py"))}


@cache
def tree(name: str) -> ast.Module:
    return ast.parse(MODULES[name].read_text())


def imported(name: str) -> Iterator[str]:
    """What a module imports, `from x import y` as x.y where y is a module of ours."""
    for node in ast.walk(tree(name)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name} imports relatively"
            assert node.module
            ours = node.module == PACKAGE.name
            yield from (
                f"{node.module}.{alias.name}" if ours else node.module for alias in node.names
            )


def calls_in(name: str) -> Iterator[str]:
    """The dotted names a module calls: time.sleep, cursor.execute, print."""
    for node in ast.walk(tree(name)):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func)


def texts(name: str) -> Iterator[str]:
    """The string constants that are no docstrings."""
    documents = {
        id(node.body[0].value)
        for node in ast.walk(tree(name))
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree(name)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            if id(node) not in documents:
                yield node.value
        elif isinstance(node, ast.JoinedStr):
            yield "".join(
                part.value if isinstance(part, ast.Constant) else "x" for part in node.values
            )


def does(name: str, what: str) -> list[str]:
    called = list(calls_in(name))
    match what:
        case "touch cursors":
            words = ("Cursor", ".cursor", ".fetchone", ".fetchall", ".fetchmany", ".executemany")
            return [call for call in called if call.endswith(words)]
        case "read the files of sql/":
            paths = (".read_text", ".read_bytes", ".glob", ".rglob", ".iterdir")
            return [call for call in called if call.endswith(paths)] if names_sql(name) else []
        case "sleep":
            return [call for call in called if call in ("time.sleep", "asyncio.sleep", "sleep")]
        case "start threads or tasks":
            makers = ("Thread", "ThreadPoolExecutor", "create_task", "ensure_future", "TaskGroup")
            return [call for call in called if call.split(".")[-1] in makers]
        case "handle signals":
            return [
                call
                for call in called
                if call == "signal.signal" or call.endswith("add_signal_handler")
            ]
        case "start processes":
            return [
                call for call in called if call.split(".")[0] in ("subprocess", "multiprocessing")
            ]
        case "leave the program":
            return [call for call in called if call in ("sys.exit", "exit", "quit", "os._exit")]
        case "print":
            return [call for call in called if call == "print"]
        case "hold SQL":
            return [text for text in texts(name) if SQL.match(text)]
    raise AssertionError(what)


def names_sql(name: str) -> bool:
    return any(text == "sql" or text.endswith(".sql") for text in texts(name))


@pytest.mark.parametrize("name", sorted(PURE))
def test_pure_modules_import_nothing_that_waits(name: str) -> None:
    for other in imported(name):
        asked = other in ASKED.get(name, ())
        assert asked or other.split(".")[0] not in WAITING, f"{name} imports {other}"
        if other.startswith(f"{PACKAGE.name}."):
            inner = other.removeprefix(f"{PACKAGE.name}.")
            known = inner if inner in MODULES else inner.rpartition(".")[0]
            assert known in PURE, f"{name} imports {other}, which is not pure"


@pytest.mark.parametrize("name", sorted(PURE))
def test_pure_modules_take_only_errors_from_psycopg(name: str) -> None:
    used = {
        ast.unparse(node)
        for node in ast.walk(tree(name))
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id == "psycopg"
    }
    assert {one for one in used if not one.endswith("Error")} == set()
    assert {one for one in imported(name) if one.startswith("psycopg.")} <= {"psycopg.errors"}


ARROWS = {
    "calls": set(),
    "client": {"calls"},
    "admin": set(),
    "webhooks": {"calls", "client"},
    "worker": {"calls", "client", "webhooks"},
    "commands": {"admin", "worker"},
}
"""Which packages a package may import from, besides the modules that stand in none."""


@pytest.mark.parametrize("name", [name for name in MODULES if name.split(".")[0] in ARROWS])
def test_arrows_between_packages_go_one_way(name: str) -> None:
    package = name.split(".")[0]
    allowed = ARROWS[package] | {package}
    for other in imported(name):
        if other.startswith(f"{PACKAGE.name}.") and other.split(".")[1] in ARROWS:
            assert other.split(".")[1] in allowed, f"{name} imports {other}"


@pytest.mark.parametrize("what", MAY)
def test_only_some_modules_may(what: str) -> None:
    others = {name: found for name in MODULES if (found := does(name, what))}
    assert {name: others[name] for name in others.keys() - MAY[what]} == {}


@pytest.mark.parametrize("name", [name for name in MODULES if name.split(".")[0] == "commands"])
def test_commands_go_through_the_application_face(name: str) -> None:
    """A command connects by what the application has, installs by `admin`, checks by `testing`."""
    inner = {
        "admin",
        "agents",
        "async_tidebase",
        "commands",
        "display",
        "errors",
        "options",
        "registry",
        "server",
        "testing",
        "tidebase",
        "timeline",
        "types",
        "values",
        "version",
        "worker",
    }
    for other in imported(name):
        if other.startswith(f"{PACKAGE.name}."):
            assert other.split(".")[1] in inner, f"{name} imports {other}"


def test_nothing_imports_the_commands_but_the_program() -> None:
    users = {
        name
        for name in MODULES
        if any(other.startswith(f"{PACKAGE.name}.commands") for other in imported(name))
    }
    assert {name for name in users if not name.startswith("commands")} <= {"cli"}


@pytest.mark.parametrize("name", MODULES)
def test_a_module_begins_with_what_it_is_for(name: str) -> None:
    document = ast.get_docstring(tree(name))
    assert document
    assert len(document.splitlines()) <= 5
    statements = [node for node in tree(name).body[1:] if not isinstance(node, ast.Expr)]
    if MODULES[name].name != "__init__.py" and statements:
        assert ast.unparse(statements[0]) == "from __future__ import annotations"


def test_each_call_stands_in_the_module_of_its_topic() -> None:
    topics = {routine.name: routine.topic for routine in routines() if routine.public}
    homes = {"queue_stats": "queues", "pending_gates": "gates", "health": "upkeep"}
    topics |= {path.stem: homes[path.stem] for path in views() if path.stem in homes}
    for name in calls.__all__:
        home = inspect.getmodule(getattr(calls, name))
        assert home is not None
        assert home.__name__ == f"{PACKAGE.name}.calls.{topics[name]}", name
    assert sorted(calls.__all__) == sorted(topics)
