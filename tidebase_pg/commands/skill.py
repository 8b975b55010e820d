"""`tidebase-pg skill`: the guide for coding agents that comes with the package."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Final

import click

NAME: Final = "tidebase-pg"


@click.command()
@click.option(
    "--install",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    help="Write it as a skill into this folder, such as .claude/skills, instead of printing it.",
)
@click.option("--force", is_flag=True, help="Replace a skill that is there with other text.")
def skill(folder: Path | None, force: bool) -> None:
    """Print the guide for coding agents, or install it as a skill.

    \b
    Examples:
      tidebase-pg skill >> AGENTS.md
      tidebase-pg skill --install .claude/skills
    """
    text = resources.files("tidebase_pg.guide").joinpath("SKILL.md").read_text(encoding="utf-8")
    if folder is None:
        click.echo(text, nl=False)
        return
    target = folder / NAME / "SKILL.md"
    if target.exists() and target.read_text(encoding="utf-8") != text and not force:
        raise click.ClickException(f"{target} is there with other text: add --force to replace it")
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text, encoding="utf-8")
    click.echo(target)


COMMANDS: Final = [skill]
