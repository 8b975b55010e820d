"""What --help says: an example of every command, and a sentence for every option."""

from __future__ import annotations

import inspect
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import click
import pytest
from click.testing import CliRunner

from tests.conventions.test_words import PHRASE
from tidebase_pg.cli import main

SAMPLE: Final = "019a8f4e-5b7c-7d3e-9f10-2b4c6d8e0f12"
"""What stands for $RUN, $GATE and $DELIVERY of the examples."""


def commands(command: click.Command, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The paths of all commands that do something by themselves."""
    if not isinstance(command, click.Group) or command.invoke_without_command:
        yield path
    if isinstance(command, click.Group):
        for name, below in command.commands.items():
            yield from commands(below, (*path, name))


def at(path: tuple[str, ...]) -> click.Command:
    command: click.Command = main
    for name in path:
        assert isinstance(command, click.Group)
        command = command.commands[name]
    return command


COMMANDS: Final = sorted(commands(main))


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_help_has_an_example_that_the_command_takes(path: tuple[str, ...]) -> None:
    said = CliRunner().invoke(main, [*path, "--help"]).stdout
    examples = re.findall(r"^ +tidebase-pg (.*)$", said, re.MULTILINE)
    assert examples, said
    for example in examples:
        typed, _, _ = example.partition(" >")  # where the shell puts what is printed
        words = [SAMPLE if word.startswith("$") else word for word in shlex.split(typed)]
        assert tuple(words[: len(path)]) == path
        at(path).make_context(" ".join(path), words[len(path) :])


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_help_has_a_sentence_for_the_command_and_each_option(path: tuple[str, ...]) -> None:
    command = at(path)
    assert command.get_short_help_str(200).endswith(".")
    options = [option for option in command.params if isinstance(option, click.Option)]
    assert [option.name for option in options if not option.help] == []
    said = " ".join([command.help or "", *(option.help or "" for option in options)])
    assert PHRASE.findall(said) == []


def test_the_page_on_the_command_line_names_every_command() -> None:
    page = (Path(__file__).parents[2] / "docs/cli.md").read_text(encoding="utf-8")
    table = "\n".join(line for line in page.splitlines() if line.startswith("| "))
    known: dict[str, set[str]] = {}
    for span in re.findall(r"`([^`]+)`", table):
        first, *rest = span.split()
        known.setdefault(first, set()).update(rest[:1])
    # A row may name the group once and then the other verbs: `schedules list`, `set`, `delete`.
    verbs = {span.split()[0] for span in re.findall(r"`([^`]+)`", table)}
    for path in COMMANDS:
        assert path[0] in known, path
        assert len(path) == 1 or path[1] in known[path[0]] | verbs, path


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_what_changes_many_things_can_be_tried_first(path: tuple[str, ...]) -> None:
    command = at(path)
    assert command.callback is not None
    source = inspect.getsource(command.callback)
    if "in_batches(" in source or "redrive(" in source or "adopt(" in source:
        assert "dry_run" in {parameter.name for parameter in command.params}
