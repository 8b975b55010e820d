"""Build the documentation site: gather its pages, run mkdocs, write llms.txt and llms-full.txt.

The pages are docs/ and some files of the repository. Every page has its place in the navigation
of mkdocs.yml. The result is build/site/<version>/, with the list of versions beside it.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
PAGES: Final = ROOT / "build" / "pages"
SITE: Final = ROOT / "build" / "site"
LINK: Final = re.compile(
    r"\[((?:[^\[\]]|\[[^\]]*\])*)\]\((?!https?:|mailto:|#)([^)\s#]+)(#[^)\s]+)?\)"
)
FENCED: Final = re.compile(r"^```.*?^```\n?", re.MULTILINE | re.DOTALL)
NAVIGATION: Final = re.compile(r"^ +- (.+): ([\w/-]+\.md)$", re.MULTILINE)
SUMMARY: Final = "Durable runs for agents and jobs, in the Postgres you already have."
OUTSIDE: Final = {
    "sql/README.md": "reference/sql.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
}
"""Files outside docs/ → their places in the site."""

CLASSES: Final = ("Tidebase", "Run", "Session", "AsyncTidebase", "AsyncRun", "Fail", "Retry")
REFERENCE: Final = "reference/python.md"
WEIGHTS: Final = {
    "concepts.md": 2.0,
    # It has every feature in its headings, and answers who chooses, not who uses.
    "comparison.md": 0.1,
    "upgrading.md": 2.0,
    **dict.fromkeys((*OUTSIDE.values(), REFERENCE), 0.1),
}
"""How much a page counts in the search. What is only looked up has every word somewhere."""


def version() -> str:
    """Major and minor version: the patches of a minor version share their documentation."""
    text = (ROOT / "tidebase_pg" / "version.py").read_text(encoding="utf-8")
    found = re.search(r'__version__ = "(\d+\.\d+)', text)
    if found is None:
        raise SystemExit("tidebase_pg/version.py names no version")
    return found[1]


def sources() -> dict[str, Path]:
    """Place in the site → file it comes from."""
    found = {path.relative_to(ROOT / "docs").as_posix(): path for path in ROOT.glob("docs/*.md")}
    return {**found, **{place: ROOT / name for name, place in OUTSIDE.items()}}


def in_navigation() -> list[tuple[str, str]]:
    """Title and place of each page, in the order of the navigation."""
    return NAVIGATION.findall((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))


def rewritten(source: Path, place: str) -> str:
    """The text of a page with links as the site has them; a link to other files is its text."""
    places = {path.resolve(): name for name, path in sources().items()}
    up = "../" * place.count("/")

    def link(match: re.Match[str]) -> str:
        text, target, anchor = match[1], (source.parent / match[2]).resolve(), match[3] or ""
        if target in places:
            return f"[{text}]({up}{places[target]}{anchor})"
        if target.is_relative_to(ROOT / "docs") and target.is_file():
            return f"[{text}]({up}{target.relative_to(ROOT / 'docs').as_posix()})"
        return text

    return LINK.sub(link, source.read_text(encoding="utf-8"))


def reference() -> str:
    """The page that mkdocstrings fills with the docstrings."""
    classes = "\n\n".join(f"::: tidebase_pg.{name}" for name in CLASSES)
    return f"# Python classes\n\nFrom the docstrings of the package.\n\n{classes}\n"


def gather() -> dict[str, str]:
    """Write every page into build/pages; place → text of those that people wrote."""
    shutil.rmtree(PAGES, ignore_errors=True)
    shutil.copytree(ROOT / "docs", PAGES, ignore=shutil.ignore_patterns("*.md"))
    texts = {place: rewritten(source, place) for place, source in sources().items()}
    for place, text in {**texts, REFERENCE: reference()}.items():
        page = PAGES / place
        page.parent.mkdir(parents=True, exist_ok=True)
        weight = WEIGHTS.get(place, 1.0)
        page.write_text(f"---\nsearch:\n  boost: {weight}\n---\n\n{text}", encoding="utf-8")
    return texts


def address(place: str) -> str:
    """Where a page is in the site, relative to its root."""
    name = place.removesuffix(".md")
    return "" if name == "index" else f"{name}/"


def first_line(text: str) -> str:
    """The first sentence below the title of a page."""
    prose = FENCED.sub("", text)
    paragraph = next(
        (part for part in prose.split("\n\n")[1:] if part and part[0] not in "#|-<"), ""
    )
    sentence = LINK.sub(r"\1", " ".join(paragraph.split())).partition(". ")[0]
    return sentence.rstrip(".:") + "."


def write_for_models(folder: Path, texts: dict[str, str]) -> None:
    """llms.txt, an index with one line a page, and llms-full.txt, all pages in one."""
    listed = [(title, place) for title, place in in_navigation() if place in texts]
    lines = [
        f"- [{title}]({address(place)}): {first_line(texts[place])}" for title, place in listed
    ]
    index = f"# tidebase-pg\n\n> {SUMMARY}\n\n## Pages\n\n" + "\n".join(lines) + "\n"
    (folder / "llms.txt").write_text(index, encoding="utf-8")
    whole = "\n\n".join(texts[place].strip() for _, place in listed) + "\n"
    (folder / "llms-full.txt").write_text(whole, encoding="utf-8")


def write_versions(current: str) -> None:
    """The list the site's version menu reads, newest first, and a way from the root to it."""
    found = sorted(
        (path.name for path in SITE.iterdir() if re.fullmatch(r"\d+\.\d+", path.name)),
        key=lambda name: [int(part) for part in name.split(".")],
        reverse=True,
    )
    entries = [{"version": name, "title": name, "aliases": []} for name in found]
    (SITE / "versions.json").write_text(json.dumps(entries, indent=2) + "\n", encoding="utf-8")
    (SITE / "index.html").write_text(
        f'<!doctype html><meta charset="utf-8"><title>tidebase-pg</title>'
        f'<meta http-equiv="refresh" content="0; url={current}/">'
        f'<a href="{current}/">tidebase-pg {current}</a>\n',
        encoding="utf-8",
    )


def main() -> None:
    texts = gather()
    missing = set(texts) - {place for _, place in in_navigation()}
    if missing:
        raise SystemExit(f"mkdocs.yml has no place for: {', '.join(sorted(missing))}")
    current = version()
    folder = SITE / current
    command = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--clean", "--site-dir", folder]
    quiet = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    subprocess.run(command, cwd=ROOT, check=True, env=quiet)
    write_for_models(folder, texts)
    write_versions(current)
    print(f"{folder.relative_to(ROOT)}: {len(texts) + 1} pages")  # noqa: T201


if __name__ == "__main__":
    main()
