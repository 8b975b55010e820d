"""The programs on the pages about frameworks run as they stand."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.examples.documents import blocks
from tests.examples.test_documents import environment

PAGES = {
    "docs/django.md": "django_tasks",
    "docs/langgraph.md": "langgraph",
    "docs/mcp.md": "mcp",
    "docs/opentelemetry.md": "opentelemetry",
    "docs/openai-agents.md": "agents",
    "docs/pydantic-ai.md": "pydantic_ai.conversation_store",
    "docs/pydantic-ai-harness.md": "pydantic_ai_harness",
}


def is_here(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:
        return False


@pytest.mark.parametrize("page", PAGES)
def test_python_of_a_page_runs(page: str, direct_dsn: str, tmp_path: Path) -> None:
    if not is_here(PAGES[page]):
        pytest.skip("run: make test-agents")
    script = tmp_path / "page.py"
    script.write_text("\n".join(block.code for block in blocks(page, "py")))
    done = subprocess.run(
        [sys.executable, script],
        cwd=tmp_path,
        env=environment(direct_dsn),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
