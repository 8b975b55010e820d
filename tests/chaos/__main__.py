"""`python -m tests.chaos --minutes 10 [--driver]`: prints the report, ends with 1 if anything is
wrong. `--driver` is the storm around one worker of each colour; `--runs` and `--kills` make the
long campaign, which goes on until there were so many runs and deaths of the server by signal."""

from __future__ import annotations

import argparse
import functools
import random
import sys
from collections.abc import Callable
from pathlib import Path

from tests.chaos.campaign import Campaign, conduct
from tests.chaos.long import Goal, Long
from tests.chaos.storm import Storm

parser = argparse.ArgumentParser(prog="python -m tests.chaos")
parser.add_argument("--minutes", type=float, default=10.0, help="of a long campaign: at most")
parser.add_argument("--seed", type=int, default=random.randrange(10**6))
parser.add_argument("--driver", action="store_true")
parser.add_argument("--runs", type=int, default=0)
parser.add_argument("--kills", type=int, default=0)
parser.add_argument(
    "--keep",
    type=Path,
    help="a folder for the logs of the clients and the rows of runs, steps and events, "
    "which are kept in any case where a check fails",
)
parser.add_argument("--report", type=Path, help="a file for what is printed")
options = parser.parse_args()
kind: Callable[[Path, float, int], Campaign] = Storm if options.driver else Campaign
if options.runs or options.kills:
    kind = functools.partial(Long, goal=Goal(options.runs, options.kills))
report = conduct(kind, options.minutes * 60, options.seed, options.keep)
print(report.text())
if options.report is not None:
    options.report.write_text(report.text() + "\n")
sys.exit(0 if report.good else 1)
