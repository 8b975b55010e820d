"""The schema: install, upgrade, status, version."""

from __future__ import annotations

from typing import Final

import click

from tidebase_pg import admin
from tidebase_pg.commands.output import (
    SCHEMA,
    Command,
    dsn,
    echo_fact,
    echo_row,
    echo_rows,
    progress,
    settings,
)
from tidebase_pg.version import __version__

print_option = click.option(
    "--print", "only_print", is_flag=True, help="Print the SQL for review and psql; change nothing."
)
dry_run_option = click.option(
    "--dry-run",
    is_flag=True,
    help="Do it in a transaction, roll it back, print what each statement took.",
)
wait_option = click.option(
    "--wait",
    type=click.FloatRange(min=0),
    default=admin.WAIT,
    show_default=True,
    metavar="SECONDS",
    help="How long to try for locks others hold.",
)


def _prefix(context: click.Context, parameter: click.Parameter, given: str | None) -> str | None:
    try:
        return None if given is None else admin.check_prefix(given)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


role_prefix_option = click.option(
    "--role-prefix",
    metavar="PREFIX",
    callback=_prefix,
    help="What the names of the group roles begin with, instead of tide_.",
)


@click.command(cls=Command)
@print_option
@dry_run_option
@role_prefix_option
@wait_option
def install(only_print: bool, dry_run: bool, role_prefix: str | None, wait: float) -> None:
    """Install the schema, or bring it up to date.

    Safe to repeat, and to run several times at once.

    With --print no database is needed: the text is for one that has no schema tide yet.

    With --role-prefix the group roles are of this installation alone: members of tide_client and
    the others, who may use another database of the server, have no right in it.

    \b
    Examples:
      tidebase-pg install --print > install.sql
      tidebase-pg install --dsn postgresql://owner@localhost/app
    """
    if only_print and dry_run:
        raise click.UsageError("give --print or --dry-run")
    if only_print:
        click.echo(admin.render(admin.current(), role_prefix=role_prefix), nl=False)
    elif dry_run:
        report_rehearsal(admin.rehearse(dsn(), wait=wait, role_prefix=role_prefix))
    else:
        with progress() as show:
            outcome = admin.install(dsn(), wait=wait, role_prefix=role_prefix, tell=show)
        report(outcome)


@click.command(cls=Command)
@print_option
@dry_run_option
@click.option("--from", "from_version", metavar="VERSION", help="With --print: read no database.")
@click.option("--to", "to_version", metavar="VERSION", help="The version of this package.")
@click.option(
    "--phase",
    type=click.Choice([admin.PRE, admin.POST]),
    help="pre: what adds, before the deploy; post: what takes away, after it. Default: both.",
)
@wait_option
def upgrade(
    only_print: bool,
    dry_run: bool,
    from_version: str | None,
    to_version: str | None,
    phase: str | None,
    wait: float,
) -> None:
    """Upgrade an installed schema to this package.

    With --print the database is only read: the text has what is pending there. With --from no
    database is needed: the text is for one where that release was installed.

    --dry-run holds the locks it tells of until everything has run: up to a second or so.

    \b
    Examples:
      tidebase-pg upgrade --dry-run
      tidebase-pg upgrade --phase pre
    """
    release = admin.current()
    if only_print and dry_run:
        raise click.UsageError("give --print or --dry-run")
    if from_version is not None and not only_print:
        raise click.UsageError("--from is for --print; otherwise the database says what it has")
    if to_version not in (None, release.version):
        raise click.UsageError(
            f"this is tidebase-pg {release.version}; "
            f"for another version: pip install tidebase-pg=={to_version}"
        )
    if only_print:
        if from_version is None:
            state = admin.read(dsn(), upgrade=True)
        else:
            state = admin.released(from_version)
            if phase == admin.POST:
                state = admin.prepared(release, state)
        click.echo(admin.render(release, state, phase), nl=False)
    elif dry_run:
        report_rehearsal(admin.rehearse(dsn(), release, upgrade=True, wait=wait, phase=phase))
    else:
        with progress() as show:
            outcome = admin.install(dsn(), release, upgrade=True, wait=wait, phase=phase, tell=show)
        report(outcome)


@click.command(cls=Command)
def status() -> None:
    """Show the installed version and what is pending.

    Exits with 0 when the schema is current, with 3 otherwise.

    \b
    Example:
      tidebase-pg status
    """
    found = admin.status(dsn())
    echo_row(
        {
            "installed": found.installed,
            "package": found.package,
            "current": found.current,
            "pending": list(found.pending),
            "functions_differ": found.functions_differ,
            "extension": found.extension,
        }
    )
    if not found.current:
        click.get_current_context().exit(SCHEMA)


@click.command(cls=Command)
def version() -> None:
    """Show the version of the package, and of a schema.

    The schema's is shown when a database is given.

    \b
    Example:
      tidebase-pg version
    """
    installed = admin.read(dsn()).version if dsn() else None
    if settings().json or dsn():
        echo_row({"package": __version__, "schema": installed})
    else:
        click.echo(__version__)


def report(outcome: admin.Outcome) -> None:
    for notice in outcome.notices:
        click.echo(f"Warning: {notice}", err=True)
    done = bool(outcome.migrations or outcome.functions)
    if not done:
        sentence = f"schema tide {outcome.version} is current; nothing to do"
    else:
        came_from = f" from {outcome.before}" if outcome.before else ""
        sentence = (
            f"schema tide {outcome.version} installed{came_from}: "
            f"{len(outcome.migrations)} migrations, {outcome.functions} functions and views"
        )
    echo_fact(
        sentence,
        before=outcome.before,
        version=outcome.version,
        migrations=outcome.migrations,
        functions=outcome.functions,
    )


def report_rehearsal(statements: list[admin.Rehearsed]) -> None:
    """Every statement of a migration; of functions, views and grants those that take a lock."""
    if settings().json:
        echo_rows(statements)
        return
    numbered = [row for row in statements if row.locks or row.script[:1].isdigit()]
    for row in numbered:
        took = "not tried: runs outside a transaction"
        if row.seconds is not None:
            took = f"{row.seconds * 1000:.0f} ms"
        elif row.forecast is not None:
            took = f"not tried: runs outside a transaction; {forecast(row.forecast)}"
        click.echo(f"{row.script}: {row.statement}  [{took}]")
        for relation, mode in row.locks:
            click.echo(f"    {mode} on {relation}")
    seconds = sum(row.seconds or 0 for row in statements)
    click.echo(f"{len(statements)} statements in {seconds:.1f} s, all rolled back")
    ahead = [row.forecast for row in statements if row.forecast is not None]
    if ahead:
        longest, room = max(each.seconds for each in ahead), sum(each.room for each in ahead)
        click.echo(
            f"{len(ahead)} indexes are built afterwards, which stops nobody: about "
            f"{sum(each.seconds for each in ahead):.1f} s, the longest {longest:.1f} s, "
            f"{megabytes(room)} of disk"
        )


def forecast(found: admin.Forecast) -> str:
    return (
        f"reads {found.table}, {megabytes(found.reads)}, twice: about {found.seconds:.1f} s, "
        f"{megabytes(found.room)} of disk"
    )


def megabytes(count: int) -> str:
    return f"{count / 1_000_000:.1f} MB"


COMMANDS: Final = [install, upgrade, status, version]
