"""`python -m tests.chaos --minutes 10`: prints the report, ends with 1 if anything is wrong."""

from __future__ import annotations

import argparse
import random
import sys

from tests.chaos.campaign import campaign

parser = argparse.ArgumentParser(prog="python -m tests.chaos")
parser.add_argument("--minutes", type=float, default=10.0)
parser.add_argument("--seed", type=int, default=random.randrange(10**6))
options = parser.parse_args()
report = campaign(options.minutes * 60, options.seed)
print(report.text())
sys.exit(0 if report.good else 1)
