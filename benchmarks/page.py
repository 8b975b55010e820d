"""Write the figures of one JSON file into docs/performance.md, and its plots beside the file:
python -m benchmarks.page FILE."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from benchmarks import charts, report
from benchmarks.results import Result

PAGE: Final = report.ROOT / "docs" / "performance.md"
BEGIN: Final = "<!-- written by benchmarks/page.py from here -->\n"
END: Final = "<!-- to here -->\n"

COSTS: Final = {
    "server": "Processor time of the server",
    "client": "Processor time of the client",
    "wal": "Write-ahead log",
}
"""The parts of what a run costs from its enqueue to its end, and their headings."""


def results_of(document: Mapping[str, Any]) -> list[Result]:
    return [Result.of(each) for each in document["results"]]


def figures(document: Mapping[str, Any], stem: str) -> str:
    """All of the page that was measured; `stem` names the JSON file and its plots."""
    results = results_of(document)
    grown = [result for result in results if result.name.startswith(charts.GROWTH)]
    costs = [result for result in results if result.name.startswith("cost_")]
    rates = [result for result in results if result not in grown and result not in costs]
    plots = "\n\n".join(
        f"![{name} of this run](../benchmarks/results/{stem}-{name}.svg)"
        for name in charts.charts(results)
    )
    parts = [
        circumstances(document, results, stem),
        "### To reach\n\n" + report.aims(results),
        "### Plots\n\n" + plots,
        "### All figures\n\n" + report.markdown(rates),
    ]
    for part, what in COSTS.items():
        if spent := [result for result in costs if result.name.startswith(f"cost_{part}_")]:
            parts.append(f"### {what} of a run, by its input\n\n" + report.matrix(spent))
    if grown:
        parts.append("### Buffers of a call, by finished runs\n\n" + report.matrix(grown))
    left_out = [
        *(f"- {name}: {told}" for name, told in document["peers"].items() if " " in told),
        *(
            f"- {result.title}: {who}: {why}"
            for result in results
            for who, why in result.skipped.items()
        ),
    ]
    if left_out:
        parts.append("### Left out\n\n" + "\n".join(left_out))
    return "\n\n".join(parts) + "\n"


def circumstances(document: Mapping[str, Any], results: list[Result], stem: str) -> str:
    settings = ", ".join(f"`{name} = {value}`" for name, value in document["settings"].items())
    peers = ", ".join(
        f"{name} {version}" for name, version in document["peers"].items() if " " not in version
    )
    busiest = max(result.others for result in results)
    facts = {
        "run": f"[{stem}.json](../benchmarks/results/{stem}.json), {document['at']}, "
        f"{document['scale']} scale, {document['seconds']} s",
        "commit": document.get("commit") or "unknown",
        "machine": f"{document['processor']}, {document['cores']} cores, {document['memory']}, "
        f"{document['system']}",
        "durable commit": f"{document['flush_ms']} ms, its round trip included",
        "server": document["postgres"].partition(" on ")[0],
        "settings": settings,
        "clients": f"{document['client']}; Python {document['python']}, "
        f"psycopg {document['psycopg']}",
        "peers": peers or "none in this run",
        "load before the run": document["load_before"],
        "used by others meanwhile": f"up to {busiest:.2f} cores",
    }
    return "\n".join(
        ["| fact | value |", "|---|---|", *(f"| {key} | {value} |" for key, value in facts.items())]
    )


def written(page: str, document: Mapping[str, Any], stem: str) -> str:
    """The page with these figures in the place of those it had."""
    before, rest = page.split(BEGIN)
    after = rest.split(END)[1]
    return f"{before}{BEGIN}\n{figures(document, stem)}\n{END}{after}"


def main() -> None:
    path = Path(sys.argv[1])
    document = json.loads(path.read_text())
    charts.draw(results_of(document), path.with_suffix(""))
    PAGE.write_text(written(PAGE.read_text(), document, path.stem))


if __name__ == "__main__":
    main()
