"""`python -m tidebase_pg` is the program `tidebase-pg`."""

from __future__ import annotations

from tidebase_pg.cli import main

main(prog_name="tidebase-pg")
