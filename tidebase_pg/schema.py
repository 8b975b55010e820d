"""The installer under the name it had in 0.1.0; see `tidebase_pg.admin`."""

from __future__ import annotations

from tidebase_pg.admin import Outcome, install, rehearse, render, status

__all__ = ["Outcome", "install", "rehearse", "render", "status"]
