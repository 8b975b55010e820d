"""The command that prints what a shell needs to complete ours."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from tidebase_pg.commands.output import Command

PROGRAM = "tidebase-pg"
SHELLS = ("bash", "zsh", "fish")


@click.command(cls=Command)
@click.argument("shell", type=click.Choice(SHELLS))
def completion(shell: str) -> None:
    """Print the completion of commands and options for SHELL.

    
    bash: tidebase-pg completion bash > ~/.local/share/bash-completion/completions/tidebase-pg
    zsh:  tidebase-pg completion zsh > "${fpath[1]}/_tidebase-pg"
    fish: tidebase-pg completion fish > ~/.config/fish/completions/tidebase-pg.fish

    \b
    Example:
      tidebase-pg completion bash > ~/.local/share/bash-completion/completions/tidebase-pg
    """
    root = click.get_current_context().find_root().command
    found = get_completion_class(shell)
    assert found is not None
    click.echo(found(root, {}, PROGRAM, "_TIDEBASE_PG_COMPLETE").source())


COMMANDS = [completion]
