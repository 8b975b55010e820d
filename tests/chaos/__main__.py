"""`python -m tests.chaos --minutes 10 [--driver]`: prints the report, ends with 1 if anything is
wrong. `--driver` is the storm around one worker of each colour."""

from __future__ import annotations

import argparse
import random
import sys
from pathlib import Path

from tests.chaos.campaign import Campaign, conduct
from tests.chaos.storm import Storm

parser = argparse.ArgumentParser(prog="python -m tests.chaos")
parser.add_argument("--minutes", type=float, default=10.0)
parser.add_argument("--seed", type=int, default=random.randrange(10**6))
parser.add_argument("--driver", action="store_true")
parser.add_argument(
    "--keep",
    type=Path,
    help="a folder for the logs of the clients and the rows of runs, steps and events, "
    "which are kept in any case where a check fails",
)
options = parser.parse_args()
kind = Storm if options.driver else Campaign
report = conduct(kind, options.minutes * 60, options.seed, options.keep)
print(report.text())
sys.exit(0 if report.good else 1)
