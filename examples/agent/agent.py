"""An agent that reads for you: it asks first, sends out three researchers, and keeps its budget.

Who waits holds nothing: the agent is parked while somebody thinks about its question, and while its
researchers work; all are parked while the budget is used up. To work on what is enqueued:

    tidebase-pg work agent:tide --concurrency 4
"""

from __future__ import annotations

import logging
import math
import re
import time
from collections import Counter
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

from tidebase_pg import Run, Tidebase

tide = Tidebase()  # the database is the one TIDEBASE_DSN names
logger = logging.getLogger("agent")

RESEARCHERS = 3
PATTERNS = ["*.md", "docs/*.md", "sql/*.md"]
LARGEST = 60_000  # characters of a document that are read; the text becomes a step's kept answer
DOLLARS_A_WORD = Decimal("0.000004")  # nobody is paid: reading costs what a model would ask for
WORD = re.compile(r"[a-z][a-z_]{2,}")
SENTENCE = re.compile(r"(?<=[.:!?])\s+(?=[A-Z`*])|\n\s*\n|^[-|#]", re.MULTILINE)
CODE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)


@tide.workflow("agent", queue="agents", max_attempts=3)
def agent(run: Run, input: dict[str, Any]) -> dict[str, Any]:
    """Choose what to read, ask whether to, have it read, write down the answer."""
    folder, output = Path(input["folder"]), Path(input["output"])
    words, pace = vocabulary(input["question"]), input.get("pace", 0.0)

    chosen = run.step("choose", partial(choose, folder, words))
    asked = sum(chosen.values())
    decision = run.gate(
        "read",
        f"Read {len(chosen)} documents, {asked} words?",
        data={"question": input["question"], "documents": chosen},
    )
    if not decision.approved:
        return {"path": None, "decided_by": decision.actor}

    run.state.set({"status": "researching", "documents": list(chosen)})
    task = {"folder": str(folder), "words": words, "pace": pace}
    findings = run.fanout(
        "research",
        [
            {"workflow": researcher, "name": document, "input": {**task, "document": document}}
            for document in chosen
        ],
        queue="research",
    )

    path = run.step(
        "answer",
        partial(answer, output, str(run.id), input["question"], findings),
        # Writing it again gives the same file: the key says so, and makes a repetition safe.
        side_effects=["file.write"],
        idempotency_key=f"agent:{run.id}",
    )
    run.state.patch({"status": "answered"})
    return {"path": path, "decided_by": decision.actor}


@tide.workflow("researcher", queue="research", max_attempts=3)
def researcher(run: Run, input: dict[str, Any]) -> dict[str, Any]:
    """Read one document twice: for what it states, and for what it is about."""
    document, words, pace = input["document"], input["words"], input["pace"]
    text = run.step("fetch", partial(fetch, Path(input["folder"]), document))
    facts = run.step("facts", partial(extract_facts, run, document, text, words, pace))
    terms = run.step("terms", partial(extract_terms, run, document, text, pace))
    return {"document": document, "facts": facts, "terms": terms}


# What the steps do --------------------------------------------------------------------------


def choose(folder: Path, words: list[str]) -> dict[str, int]:
    """The documents that speak most of the question, and how many words each has."""
    logger.info("choose")
    found: list[tuple[float, str, int]] = []
    for path in sorted({path for pattern in PATTERNS for path in folder.glob(pattern)}):
        spoken = vocabulary_of(path.read_text(encoding="utf-8", errors="replace")[:LARGEST])
        weight = sum(math.log1p(spoken[word]) for word in words)
        if weight > 0:
            found.append((-weight, path.relative_to(folder).as_posix(), spoken.total()))
    return {document: count for _, document, count in sorted(found)[:RESEARCHERS]}


def fetch(folder: Path, document: str) -> str:
    """The text as it is now; later attempts see it as it was, even when the file has changed."""
    logger.info("fetch %s", document)
    return (folder / document).read_text(encoding="utf-8", errors="replace")[:LARGEST]


def extract_facts(run: Run, document: str, text: str, words: list[str], pace: float) -> list[str]:
    """The sentences that say most about the question, in their order."""
    logger.info("facts %s", document)
    time.sleep(pace)  # only so that people, and the demo, can watch
    prose = CODE.sub("\n\n", text)
    sentences = [" ".join(sentence.split()) for sentence in SENTENCE.split(prose)]
    scored = [
        (sum(spoken[word] > 0 for word in words) / math.sqrt(spoken.total()), place, sentence)
        for place, sentence in enumerate(sentences)
        if "|" not in sentence and (spoken := vocabulary_of(sentence)).total() >= 6
    ]
    best = sorted(scored, key=lambda one: (-one[0], one[1]))[:3]
    facts = [sentence for weight, _, sentence in sorted(best, key=lambda one: one[1]) if weight]
    spend(run, "facts", text, " ".join(facts))
    return facts


def extract_terms(run: Run, document: str, text: str, pace: float) -> list[str]:
    """The words it uses most, longer ones first in doubt."""
    logger.info("terms %s", document)
    time.sleep(pace)
    spoken = vocabulary_of(text)
    ranked = sorted(spoken, key=lambda word: (-spoken[word] * math.log(len(word)), word))
    terms = [word for word in ranked if len(word) > 4][:8]
    spend(run, "terms", text, " ".join(terms))
    return terms


def spend(run: Run, step: str, text: str, answered: str) -> None:
    """Record what reading and answering cost. The key makes a repeated step cost it once."""
    given, got = vocabulary_of(text).total(), vocabulary_of(answered).total()
    run.usage.record(
        kind="reading",
        step=step,
        input_tokens=given,
        output_tokens=got,
        cost_usd=DOLLARS_A_WORD * (given + got),
        request_key=step,
    )


def answer(output: Path, run_id: str, question: str, findings: list[dict[str, Any]]) -> str:
    """The answer as Markdown in the folder `output`; either all of it is there or nothing."""
    logger.info("answer")
    lines = [f"# {question}", ""]
    for finding in findings:
        lines += [f"## {finding['document']}", "", *(f"- {fact}" for fact in finding["facts"])]
        lines += ["", f"It speaks of {', '.join(finding['terms'])}.", ""]
    output.mkdir(parents=True, exist_ok=True)
    path = output / f"answer-{run_id}.md"
    unfinished = path.with_suffix(".unfinished")
    unfinished.write_text("\n".join(lines), encoding="utf-8")
    unfinished.replace(path)
    return str(path)


def vocabulary(question: str) -> list[str]:
    """The words of a question, each once, short ones left out."""
    return sorted({word for word in WORD.findall(question.lower()) if len(word) > 3})


def vocabulary_of(text: str) -> Counter[str]:
    return Counter(WORD.findall(text.lower()))
