"""Write the figures of one JSON file into docs/performance.md: python -m benchmarks.page FILE."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from benchmarks import report
from benchmarks.results import Result

PAGE: Final = Path(__file__).resolve().parent.parent / "docs" / "performance.md"
BEGIN: Final = "<!-- written by benchmarks/page.py from here -->\n"
END: Final = "<!-- to here -->\n"


def figures(document: Mapping[str, Any], name: str) -> str:
    results = [Result.of(each) for each in document["results"]]
    settings = ", ".join(f"`{name} = {value}`" for name, value in document["settings"].items())
    versions = ", ".join(f"{name} {value}" for name, value in document["peers"].items())
    missed = [
        f"- {result.title}: {aim.contender} {report.ratio_of(result, aim)}, to reach {aim}."
        for result in results
        for aim in result.aims
        if result.reached(aim) is False
    ]
    left_out = [
        f"- {result.title}: {who}: {why}"
        for result in results
        for who, why in result.skipped.items()
    ]
    parts = [
        (
            f"From `benchmarks/results/{name}`, {document['at']}, {document['scale']} run of "
            f"{document['seconds']} s: {document['processor']}, {document['cores']} cores, "
            f"{document['memory']}, {document['postgres'].partition(' on ')[0]}, "
            f"commit {document.get('commit') or 'unknown'}, Python {document['python']}, "
            f"psycopg {document['psycopg']}; a durable commit takes "
            f"{document['flush_ms']} ms with its round trip. Load before the run "
            f"{document['load_before']}; others used up to "
            f"{max(result.others for result in results):.2f} cores."
        ),
        f"Settings: {settings}. Peers: {versions or 'none in this run'}.",
        report.markdown(results),
        "### Not reached\n\n" + ("\n".join(missed) or "Nothing in this run."),
    ]
    if left_out:
        parts.append("### Left out\n\n" + "\n".join(left_out))
    return "\n\n".join(parts) + "\n"


def main() -> None:
    path = Path(sys.argv[1])
    text = PAGE.read_text()
    before, rest = text.split(BEGIN)
    after = rest.split(END)[1]
    written = figures(json.loads(path.read_text()), path.name)
    PAGE.write_text(f"{before}{BEGIN}\n{written}\n{END}{after}")


if __name__ == "__main__":
    main()
