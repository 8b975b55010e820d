"""Questions, written down with their answers: the site answers who has nothing else."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.site.conftest import search_for

QUESTIONS: list[dict[str, str]] = tomllib.loads(
    (Path(__file__).parent / "questions.toml").read_text()
)["question"]

FIRST = 3
"""How many pages a person looks at."""


def flowing(text: str) -> str:
    """The text in one line, as a reader takes it."""
    return " ".join(text.split())


@pytest.mark.parametrize("question", QUESTIONS, ids=[one["asks"] for one in QUESTIONS])
def test_the_search_finds_the_answer(browser: Any, address: str, question: dict[str, str]) -> None:
    context = browser.new_context()
    page = context.new_page()
    page.goto(f"{address}/")
    search_for(page, question["asks"].rstrip("?"))
    links = page.locator(".md-search-result__item > a.md-search-result__link").all()
    # Several links may lead into one page.
    pages = list(dict.fromkeys(urlsplit(str(link.get_attribute("href"))).path for link in links))
    assert any(found.endswith(f"/{question['page']}") for found in pages[:FIRST]), pages[:FIRST]
    page.goto(f"{address}/{question['page']}")
    assert question["answer"] in flowing(page.locator("article").inner_text())
    context.close()
