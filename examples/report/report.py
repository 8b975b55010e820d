"""A report on the documents of a folder, written by a workflow of small steps.

Every step's answer is kept in Postgres. A worker that dies takes nothing with it: the next one
gets the kept answers and goes on where the work stopped. To work on what is enqueued:

    tidebase-pg work report:tide
"""

from __future__ import annotations

import logging
import math
import re
import time
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

from tidebase_pg import Run, Tidebase

tide = Tidebase()  # the database is the one TIDEBASE_DSN names
logger = logging.getLogger("report")

# A fixed set, so that the demo takes as long however the repository grows.
PATTERNS = [
    "README.md",
    "LICENSE",
    "docs/concepts.md",
    "docs/gates.md",
    "docs/queues.md",
    "docs/runs.md",
    "docs/steps.md",
    "sql/migrations/000[1-7]_*.sql",
]
LARGEST = 200_000  # characters of a source that are read; the text becomes a step's kept answer
HEADING = re.compile(r"^(?:#+ +(.+)|create (?:table|type|view) ([\w.]+))", re.MULTILINE)
CODE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
WORD = re.compile(r"[a-z][a-z_]{2,}")

Facts = dict[str, Any]


@tide.workflow("report", queue="reports", max_attempts=3)
def report(run: Run, input: dict[str, Any]) -> dict[str, Any]:
    """Plan, read each source, extract what each says, compare them, write the report."""
    folder, output = Path(input["folder"]), Path(input["output"])
    pace = input.get("pace", 0.0)

    sources = run.step("plan", partial(plan, folder))
    texts = {
        source: run.step(f"read {source}", partial(read, folder, source), side_effects=["read"])
        for source in sources
    }
    facts = {
        source: run.step(f"extract {source}", partial(extract, source, texts[source], pace))
        for source in sources
    }
    comparison = run.step("compare", partial(compare, facts))
    path = run.step(
        "write",
        partial(write, output, str(run.id), facts, comparison),
        # Writing it again gives the same file: the key says so, and makes a repetition safe.
        side_effects=["file.write"],
        idempotency_key=f"report:{run.id}",
    )
    return {"path": path, "sources": len(sources), "attempt": run.attempt}


def plan(folder: Path) -> list[str]:
    """The sources: some documents, and the first tables."""
    logger.info("plan")
    found = {path for pattern in PATTERNS for path in folder.glob(pattern) if path.is_file()}
    return sorted(path.relative_to(folder).as_posix() for path in found)


def read(folder: Path, source: str) -> str:
    """The text as it is now; later attempts see it as it was, even when the file has changed."""
    logger.info("read %s", source)
    return (folder / source).read_text(encoding="utf-8", errors="replace")[:LARGEST]


def extract(source: str, text: str, pace: float) -> Facts:
    """Figures, headings and the words of one source."""
    logger.info("extract %s", source)
    time.sleep(pace)  # only so that people, and the demo, can watch
    words = WORD.findall(text.lower())
    prose = CODE.sub("", text)
    headings = [markdown or table for markdown, table in HEADING.findall(prose)]
    return {
        "lines": len(text.splitlines()),
        "words": len(words),
        "vocabulary": len(set(words)),
        "headings": headings,
        "counts": Counter(words).most_common(400),
    }


def compare(facts: dict[str, Facts]) -> Facts:
    """The words that set each source apart (tf-idf), and the pairs most alike (cosine)."""
    logger.info("compare")
    spread = Counter(word for fact in facts.values() for word, _ in fact["counts"])
    weights = {
        source: {
            word: (1 + math.log(count)) * math.log(len(facts) / spread[word])
            for word, count in fact["counts"]
            if spread[word] < len(facts)
        }
        for source, fact in facts.items()
    }
    terms = {
        source: sorted(weight, key=lambda word: (-weight[word], word))[:6]
        for source, weight in weights.items()
    }
    pairs = sorted(
        (
            (round(cosine(weights[one], weights[other]), 3), one, other)
            for one in facts
            for other in facts
            if one < other
        ),
        key=lambda pair: (-pair[0], pair[1:]),
    )
    return {"terms": terms, "pairs": pairs[:5]}


def cosine(one: dict[str, float], other: dict[str, float]) -> float:
    length = math.hypot(*one.values()) * math.hypot(*other.values())
    return sum(one[word] * other[word] for word in one.keys() & other.keys()) / (length or 1.0)


def write(output: Path, run_id: str, facts: dict[str, Facts], comparison: Facts) -> str:
    """The report as Markdown in the folder `output`; either all of it is there or nothing."""
    logger.info("write")
    output.mkdir(parents=True, exist_ok=True)
    path = output / f"report-{run_id}.md"
    unfinished = path.with_suffix(".unfinished")
    unfinished.write_text(markdown(facts, comparison), encoding="utf-8")
    unfinished.replace(path)
    return str(path)


def markdown(facts: dict[str, Facts], comparison: Facts) -> str:
    words = sum(fact["words"] for fact in facts.values())
    lines = [
        "# What the documents say",
        "",
        f"{len(facts)} sources, {words:,} words; about {math.ceil(words / 220)} minutes to read.",
        "",
        "| source | lines | words | different words | sets it apart |",
        "|---|---:|---:|---:|---|",
    ]
    for source, fact in facts.items():
        terms = ", ".join(comparison["terms"][source])
        lines.append(
            f"| {source} | {fact['lines']} | {fact['words']} | {fact['vocabulary']} | {terms} |"
        )
    lines += ["", "## Most alike", ""]
    lines += [f"- {one} and {other}: {alike:.0%}" for alike, one, other in comparison["pairs"]]
    lines += ["", "## What each is about", ""]
    for source, fact in facts.items():
        lines.append(f"- **{source}**: {'; '.join(fact['headings'][:8]) or 'no headings'}")
    return "\n".join(lines) + "\n"
