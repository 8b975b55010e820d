"""Run the benchmarks: python -m benchmarks [--quick] [--peers …] [--only …]."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType

from benchmarks import against, charts, report
from benchmarks.crew import Crew
from benchmarks.measures import FULL, ORDER, QUICK, Measures
from benchmarks.stage import Stage

RESULTS = Path(__file__).resolve().parent / "results"
CREW = 16


def end(number: int, frame: FrameType | None) -> None:
    """Let the server go as well."""
    sys.exit(128 + number)


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small, and without peers")
    parser.add_argument("--only", nargs="*", default=[], choices=ORDER, help="some measurements")
    parser.add_argument(
        "--peers", nargs="*", choices=against.NAMES, help="which; default all, with --quick none"
    )
    parser.add_argument("--output", type=Path, help="where to write the JSON file")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, end)
    began = time.monotonic()
    crew = Crew(CREW)
    try:
        with Stage() as stage:
            facts = report.circumstances(stage)
            measures = Measures(stage, crew, QUICK if options.quick else FULL, report.show)
            measures.run(options.only)
            peers = () if options.quick else against.NAMES
            versions = against.Against(measures).run(
                peers if options.peers is None else options.peers
            )
    finally:
        crew.close()
    facts["peers"] = versions
    facts["seconds"] = round(time.monotonic() - began)
    facts["scale"] = "quick" if options.quick else "full"
    name = f"{datetime.now(UTC):%Y-%m-%d}{'-quick' if options.quick else ''}.json"
    path = options.output or RESULTS / name
    path.parent.mkdir(exist_ok=True)
    document = {**facts, "results": [result.document() for result in measures.results]}
    path.write_text(json.dumps(document, indent=1) + "\n")
    charts.draw(measures.results, path.with_suffix(""))
    print(f"\n{facts['seconds']} s; written to {path}")


if __name__ == "__main__":
    main()
