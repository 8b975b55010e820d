"""Run a command while a busy loop takes each processor, and for so many seconds at most.

`python tools/busy.py 900 pytest tests/races`: what only shows on a busy machine is met on any. Ends
with the command's code, or 124 when its time is over.
"""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import ExitStack

LOOP = "import os\nparent = os.getppid()\nwhile os.getppid() == parent:\n    sum(range(100000))"


def main() -> int:
    limit, *command = sys.argv[1:]
    with ExitStack() as ending:
        for _ in range(os.cpu_count() or 1):
            loop = subprocess.Popen([sys.executable, "-c", LOOP])
            ending.callback(loop.wait)
            ending.callback(loop.kill)
        try:
            return subprocess.run(command, timeout=float(limit), check=False).returncode
        except subprocess.TimeoutExpired:
            sys.stderr.write(f"not done within {limit} s\n")
            return 124


if __name__ == "__main__":
    sys.exit(main())
