"""Words that have no place in files that are kept: notes to oneself, and this machine."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from tests.conventions.bodies import ROOT

# Put together here, so that this file does not hold what it looks for.
NOTES = re.compile(r"\b(" + "|".join(["TO" + "DO", "FIX" + "ME", "X" * 3, "HA" + "CK"]) + r")\b")
PLACES = re.compile(
    r"(?<![\w.$*}])/(?:" + "|".join(["work", "tmp", "root", "home", "Users"]) + r")/\w"
)
NUMBERS = re.compile(r"(?i)\b(?:issue|ticket|pull request|pr)s? #?\d+")

TEXT = {".py", ".sql", ".md", ".toml", ".txt", ".yml", ".yaml", ".ini", ".cfg", ".sh", ""}


def kept() -> list[Path]:
    """The files of the project: those under version control and those about to be."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    if listed.returncode:
        pytest.skip("no git checkout here")
    paths = [ROOT / name for name in listed.stdout.split("\0") if name]
    return [path for path in paths if path.is_file() and path.suffix in TEXT]


@pytest.mark.parametrize(
    "pattern",
    [NOTES, PLACES, NUMBERS],
    ids=["notes to oneself", "places on one machine", "numbers of a tracker"],
)
def test_files_hold_no(pattern: re.Pattern[str]) -> None:
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in kept()
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1)
        if pattern.search(line)
    ]
    assert found == []


# Phrases of one house, for which plain English has words; each pair is a phrase and what to say.
IDIOMS = {
    "anew": "again",
    "come by": "run, call, ask",
    "comes by": "runs, calls, asks",
    "for ever": "permanently, without end, until removed",
    "goes by itself": "is done automatically",
    "heeded": "respected, followed",
    "somebody": "a caller, a person, another session",
    "told of": "notified of, informed about",
    "tries on": "retries",
    "try on": "retry",
    "whoever": "the caller that, the person who",
}
PHRASE = re.compile(r"(?i)\b(" + "|".join(IDIOMS) + r")\b")
PROSE = [
    "README.md", "CONTRIBUTING.md", "SECURITY.md", "docs/*.md", "examples/*/README.md",
    "sql/README.md",
]  # fmt: skip


def test_documents_are_in_plain_english() -> None:
    """Code and links are left out: names of functions and tests are what they are."""
    found = []
    for path in (path for pattern in PROSE for path in sorted(ROOT.glob(pattern))):
        text = re.sub(r"```.*?```", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
        text = re.sub(r"`[^`]*`|\]\([^)]*\)", "", text)
        for match in PHRASE.finditer(text):
            line = text[: match.start()].count("\n") + 1
            better = IDIOMS[match[1].lower()]
            found.append(f"{path.relative_to(ROOT)}, near line {line}: {match[1]!r}; say {better}")
    assert found == []


LONGEST = 30
"""Words of a sentence. A colon or a semicolon ends one thought, as a full stop does."""
NEEDED = ("A place can be free beside",)
"""How the longer ones begin that say one thing and would not be clearer in two."""
END = re.compile(r'(?:(?<=[.!?])|(?<=[.!?]\*\*))\s+(?=[A-Z"“(\[*`])|(?<=[:;])\s+')


def sentences(text: str) -> list[str]:
    """Those of paragraphs and lists; code counts as one word, links as their text."""
    text = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    text = "\n".join("" if line.startswith(("|", "#")) else line for line in text.split("\n"))
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", text)
    paragraphs = re.split(r"\n\s*\n|\n(?=\s*(?:[-*]|\d+\.) )", text)
    flowing = [re.sub(r"`[^`]*`", "`", " ".join(paragraph.split())) for paragraph in paragraphs]
    return [sentence for paragraph in flowing for sentence in END.split(paragraph)]


def test_sentences_are_short() -> None:
    found = [
        f"{path.relative_to(ROOT)}: {len(sentence.split())} words: {sentence}"
        for pattern in PROSE
        for path in sorted(ROOT.glob(pattern))
        for sentence in sentences(path.read_text(encoding="utf-8"))
        if len(sentence.split()) > LONGEST and not sentence.startswith(NEEDED)
    ]
    assert found == []
