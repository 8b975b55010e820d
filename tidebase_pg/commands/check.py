"""`tidebase-pg check`: would this deploy break a live run?"""

from __future__ import annotations

import click

from tidebase_pg.commands.output import Command, dsn, echo_fact, echo_rows, settings
from tidebase_pg.commands.work import load

DRIFT = 1


@click.command(cls=Command)
@click.argument("application", metavar="MODULE:APP")
@click.option("--workflow", help="Only runs of this workflow.")
@click.option("--queue", help="Only runs of this queue.")
@click.option("--sample", type=click.IntRange(1), help="Only so many runs, chosen at random.")
def check(application: str, workflow: str | None, queue: str | None, sample: int | None) -> None:
    """Replay the active runs of the database against the code of APP, and write nothing.

    Names runs whose code would ask for steps that are renamed, reordered or get other input, and
    workflows that APP does not have. Ends with 1 if it finds any. Connect as the owner of the
    schema, before the deploy, with the new code.

    \b
    Example:
      tidebase-pg check app.jobs:tide --workflow report
    """
    from tidebase_pg.testing.check import check as replay

    verdict = replay(load(application), dsn(), workflow=workflow, queue=queue, sample=sample)
    rows: list[object] = [
        {"run_id": one.run_id, "workflow": one.workflow, "problem": one.problem}
        for one in verdict.findings
    ]
    rows += [
        {"run_id": None, "workflow": name, "problem": f"{number} active runs, and no such workflow"}
        for name, number in sorted(verdict.unserved.items())
    ]
    if rows or settings().json:
        echo_rows(rows, ["run_id", "workflow", "problem"])
    else:
        echo_fact(f"{verdict.runs} active runs go on as they began", runs=verdict.runs)
    if not verdict.good:
        click.get_current_context().exit(DRIFT)


COMMANDS = [check]
