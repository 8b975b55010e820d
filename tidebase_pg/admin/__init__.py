"""What administers a database: the installer, doctor, drift, group roles, a server of one's own."""

from tidebase_pg.admin.installer import Outcome, install
from tidebase_pg.admin.ledger import Status, read, status
from tidebase_pg.admin.rehearsal import Forecast, Rehearsed, rehearse
from tidebase_pg.admin.releases import (
    FUNCTIONS,
    POST,
    PRE,
    Release,
    Script,
    State,
    batches,
    current,
    plan,
    prepared,
    released,
    sql_folder,
)
from tidebase_pg.admin.rendering import WAIT, check_prefix, render
from tidebase_pg.admin.sql_text import split

__all__ = [
    "FUNCTIONS",
    "POST",
    "PRE",
    "WAIT",
    "Forecast",
    "Outcome",
    "Rehearsed",
    "Release",
    "Script",
    "State",
    "Status",
    "batches",
    "check_prefix",
    "current",
    "install",
    "plan",
    "prepared",
    "read",
    "rehearse",
    "released",
    "render",
    "split",
    "sql_folder",
    "status",
]
