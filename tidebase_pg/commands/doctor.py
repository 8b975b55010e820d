"""The command that looks what is wrong: doctor."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

import click

from tidebase_pg.admin import doctor as examination
from tidebase_pg.admin.doctor import Limits
from tidebase_pg.admin.drift import Finding
from tidebase_pg.commands.output import Command, dsn, echo_rows, settings

WARNINGS: Final = 4
ERRORS: Final = 5
EXITS: Final = {None: 0, "info": 0, "warning": WARNINGS, "error": ERRORS}
LONGEST: Final = 8
EPILOG: Final = """\b
Exit codes:
  0  nothing, or only remarks
  1  the database cannot be reached
  3  there is no schema
  4  warnings
  5  errors
"""


@click.command(cls=Command, epilog=EPILOG)
@click.option(
    "--sql", "only_sql", is_flag=True, help="Print what mends it as a script for review and psql."
)
@click.option(
    "--patience",
    type=click.FloatRange(min=0.1),
    default=Limits().patience.total_seconds(),
    show_default=True,
    metavar="SECONDS",
    help="How long one look may take.",
)
def doctor(only_sql: bool, patience: float) -> None:
    """Look what is wrong with the installation, and what mends it.

    Only reads: everything happens in one read-only transaction. As the owner of the schema it sees
    everything; as another role it says what it could not see.

    \b
    Examples:
      tidebase-pg doctor
      tidebase-pg doctor --sql > mend.sql
    """
    findings = examination.examine(dsn(), Limits(patience=timedelta(seconds=patience)))
    if settings().json:
        echo_rows(findings)
    elif only_sql:
        click.echo(examination.script(findings), nl=False)
    else:
        for finding in findings:
            click.echo(shown(finding))
        if not findings:
            click.echo("nothing is wrong")
    click.get_current_context().exit(EXITS[examination.worst(findings)])


def shown(finding: Finding) -> str:
    """A finding for people; a long remedy shows its beginning."""
    message = " ".join(finding.message.split())
    lines = finding.remedy.strip().splitlines()
    if len(lines) > LONGEST:
        rest = len(lines) - LONGEST + 1
        lines = [*lines[: LONGEST - 1], f"-- {rest} more lines: tidebase-pg doctor --sql"]
    return "\n".join(
        [
            f"{finding.severity:<8}{finding.check:<12}{message}",
            *(f"        {line}" for line in lines),
        ]
    )


COMMANDS: Final = [doctor]
