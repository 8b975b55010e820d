"""Each cell of the README's comparison has its source and the date of what was read."""

from __future__ import annotations

import datetime
import re

from tests.servers import ROOT

LINK = re.compile(r"\[[^\]]+\]\((https://[^)\s]+)\)")


def rows(text: str) -> list[list[str]]:
    """The rows of a table, without its rule."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return [row for row in cells if set("".join(row)) != {"-"}]


def compared() -> dict[tuple[str, str], str]:
    """What the README says, by feature and project."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    section = text.split("## How it compares")[1].split("\n## ")[0]
    (_, here, *projects), *features = rows(section)
    assert here == "tidebase-pg"
    return {
        (feature, project): word
        for feature, _, *words in features
        for project, word in zip(projects, words, strict=True)
    }


def read() -> dict[tuple[str, str], list[str]]:
    """What was read, by feature and project: the word, the source, the date."""
    text = (ROOT / "docs/comparison.md").read_text(encoding="utf-8").split("## Each cell")[1]
    found: dict[tuple[str, str], list[str]] = {}
    for section in text.split("\n### ")[1:]:
        feature = section.splitlines()[0]
        assert re.search(r"^Here: \[.*\]\(\w+\.md\)", section, re.MULTILINE), feature
        for project, *rest in rows(section)[1:]:
            found[feature[0].lower() + feature[1:], project] = rest
    return found


def test_every_cell_of_the_comparison_has_a_source_and_a_date() -> None:
    cells, sources = compared(), read()
    assert len(cells) >= 15 * 7
    assert cells.keys() == sources.keys()
    for cell, word in cells.items():
        said, source, day = sources[cell]
        assert (cell, said) == (cell, word)
        assert LINK.search(source), cell
        assert datetime.date(2026, 1, 1) <= datetime.date.fromisoformat(day), cell


def test_the_comparison_names_the_releases_it_is_of() -> None:
    text = (ROOT / "docs/comparison.md").read_text(encoding="utf-8").split("## Each cell")[0]
    versions = dict(row[:2] for row in rows(text)[1:])
    assert versions.keys() == {project for _, project in compared()}
    assert all(re.search(r"\d+\.\d+\.\d+", version) for version in versions.values())
