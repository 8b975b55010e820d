"""Run the benchmarks: python -m benchmarks [--scale …] [--only …] [--peers …] [--output …]."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import time
import traceback
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType

from benchmarks import against, charts, report
from benchmarks.crew import Crew
from benchmarks.measures import ORDER, Measures
from benchmarks.scales import SCALES
from benchmarks.stage import Stage

RESULTS = Path(__file__).resolve().parent / "results"


def end(number: int, frame: FrameType | None) -> None:
    """Let the server go as well."""
    sys.exit(128 + number)


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    parser.add_argument("--scale", choices=SCALES, default="full", help="how much of everything")
    parser.add_argument("--only", nargs="*", default=[], choices=ORDER, help="some measurements")
    parser.add_argument(
        "--peers", nargs="*", choices=against.NAMES, help="which; default all at full scale"
    )
    parser.add_argument("--output", type=Path, help="where to write the JSON file")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, end)
    scale = SCALES[options.scale]
    peers = against.NAMES if options.peers is None and scale.peers else options.peers or ()
    began = time.monotonic()
    crew = Crew()
    failed = False
    try:
        with Stage(scale.settings) as stage:
            facts = report.circumstances(stage) | {"peers": {}}
            measures = Measures(stage, crew, scale, report.show)
            try:
                measures.run(options.only)
                facts["peers"] = against.Against(measures).run(peers)
                measures.show_spent()
            except Exception:
                # What was measured before is kept.
                traceback.print_exc()
                failed = True
    finally:
        crew.close()
    facts["seconds"] = round(time.monotonic() - began)
    facts["seconds_of"] = measures.seconds
    facts["scale"] = options.scale
    suffix = "" if options.scale == "full" else f"-{options.scale}"
    path = options.output or RESULTS / f"{datetime.now(UTC):%Y-%m-%d}{suffix}.json"
    path.parent.mkdir(exist_ok=True)
    document = {**facts, "results": [result.document() for result in measures.results]}
    path.write_text(json.dumps(document, indent=1) + "\n")
    charts.draw(measures.results, path.with_suffix(""))
    report.judge(measures.results)
    print(f"\n{facts['seconds']} s; written to {path}")
    sys.exit(failed)


if __name__ == "__main__":
    main()
