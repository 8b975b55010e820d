"""What every command shares: where the database is, how rows look, how errors end the program."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, is_dataclass
from datetime import UTC, datetime, timedelta
from shutil import get_terminal_size
from typing import Any, Final, cast
from uuid import UUID

import click
import psycopg
from psycopg_pool import PoolTimeout

from tidebase_pg.admin.embedded import EmbeddedError
from tidebase_pg.display import ago, length, visible
from tidebase_pg.errors import Refusal, SchemaError
from tidebase_pg.values import unreadable_dsn

EXIT_CODES: Final = """\b
Exit codes:
  0  done
  1  refused or failed: the message says why
  2  wrong usage
  3  the schema is missing, behind, ahead or changed: install or upgrade
"""
TYPED: Final = {
    "adopt": "adopt",
    "create_key": "keys create",
    "describe_run": "runs show",
    "drop_allowance": "allowances drop",
    "grant_queue": "queues grant",
    "grant_secret": "webhooks grant",
    "list_deliveries": "deliveries list",
    "list_lanes": "lanes list",
    "list_schedules": "schedules list",
    "outline_run": "runs show",
    "retry": "runs retry",
    "set_allowance": "allowances set",
    "set_lane": "lanes set",
}
"""What to type instead of the functions that hints name."""
UNREACHED: Final = (
    "Check --dsn or $TIDEBASE_DSN; tidebase-pg dev starts a Postgres with the schema here."
)
_NAMED: Final = re.compile(r"\btide\.([a-z_]+)|\b([a-z]+_[a-z_]+)\b")
FAILED: Final = 1
SCHEMA: Final = 3
WIDEST: Final = 60
NARROWEST: Final = 8


@dataclass(slots=True)
class Settings:
    """Options every command takes, before its name or after it."""

    dsn: str = ""
    json: bool = False


def settings() -> Settings:
    return click.get_current_context().ensure_object(Settings)


def dsn() -> str:
    """The database the command works on; empty leaves it to libpq's own environment."""
    return settings().dsn


def shared_options(*, environment: str | None = None) -> list[click.Parameter]:
    """The options; only the program itself reads the environment, so that what is typed wins."""

    def keep(context: click.Context, parameter: click.Parameter, value: object) -> None:
        if value is not None and value is not False:
            assert parameter.name is not None
            setattr(context.ensure_object(Settings), parameter.name, value)

    return [
        click.Option(
            ["--dsn"],
            envvar=environment,
            help="The database, as a URL or key=value pairs of libpq; default $TIDEBASE_DSN.",
            expose_value=False,
            callback=keep,
        ),
        click.Option(
            ["--json"],
            is_flag=True,
            help="Print JSON instead of a table.",
            expose_value=False,
            callback=keep,
        ),
    ]


class Command(click.Command):
    """A command that takes the shared options too."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.params = [*self.params, *shared_options()]


class Group(click.Group):
    """A group whose commands take the shared options."""

    command_class = Command


class Main(Group):
    """The program itself: takes the options, and turns every error into one line."""

    group_class = Group

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.params = [*self.params, *shared_options(environment="TIDEBASE_DSN")]

    def invoke(self, ctx: click.Context) -> Any:
        with one_line():
            return super().invoke(ctx)


class Failure(click.ClickException):
    """One line on stderr and an exit code."""

    exit_code = FAILED

    def __init__(self, message: str) -> None:
        super().__init__(visible(" ".join(message.split())))


class SchemaFailure(Failure):
    """The schema and this package do not fit."""

    exit_code = SCHEMA


@contextmanager
def one_line() -> Generator[None, None, None]:
    """Turn the errors a user can meet into one clear line; others keep their traceback."""
    try:
        yield
    except SchemaError as error:
        raise SchemaFailure(str(error)) from error
    except Refusal as error:
        raise Failure(
            f"{error.message}. {typed(error.hint)}" if error.hint else error.message
        ) from error
    except (EmbeddedError, ValueError, OSError) as error:
        raise Failure(str(error)) from error
    except PoolTimeout as error:
        raise Failure(f"no connection to the database: {error}. {UNREACHED}") from error
    except psycopg.ProgrammingError as error:
        if error.sqlstate is not None:
            raise Failure(error.diag.message_primary or str(error)) from error
        # libpq could not read the DSN, and repeats it with its password.
        raise Failure(unreadable_dsn(dsn(), str(error))) from None
    except psycopg.Error as error:
        said = error.diag.message_primary or f"{' '.join(str(error).split())} {UNREACHED}"
        raise Failure(said) from error


def typed(hint: str) -> str:
    """A hint of the schema with the commands of functions that it names.

    >>> typed("See list_lanes; set_lane makes one.")
    'See tidebase-pg lanes list; tidebase-pg lanes set makes one.'
    """

    def command(found: re.Match[str]) -> str:
        name = found[1] or found[2]
        return f"tidebase-pg {TYPED[name]}" if name in TYPED else found[0]

    return _NAMED.sub(command, hint)


def echo_row(row: object) -> None:
    """Print one row: a name and a value per line, or a JSON object."""
    record = _record(row)
    if settings().json:
        click.echo(_json(record))
        return
    width = max(map(len, record), default=0)
    for name, value in record.items():
        click.echo(f"{name:<{width}}  {_text(value)}".rstrip())


def echo_rows(rows: Iterable[object], columns: Sequence[str] | None = None) -> None:
    """Print rows: an aligned table of the columns, or a JSON array of whole objects.

    The table is for people: times are relative, long values are cut. No rows: stderr says so.
    """
    records = [_record(row) for row in rows]
    if settings().json:
        click.echo("[" + ",\n ".join(map(_json, records)) + "]")
        return
    if not records:
        click.echo("nothing found", err=True)
        return
    names = list(columns) if columns is not None else list(records[0])
    now = datetime.now(UTC)
    table = [names, *([_short(record.get(name), now) for name in names] for record in records)]
    widths = [max(len(line[at]) for line in table) for at in range(len(names))]
    texts = [any(isinstance(record.get(name), str) for record in records) for name in names]
    _fit_terminal(widths, texts)
    for line in table:
        cells = (_cut(text, width).ljust(width) for text, width in zip(line, widths, strict=True))
        click.echo("  ".join(cells).rstrip())


def _fit_terminal(widths: list[int], texts: list[bool]) -> None:
    """Make the widest columns of texts narrower until a line fits; ids, numbers, times stay."""
    if not sys.stdout.isatty():
        return
    room = get_terminal_size().columns - 2 * (len(widths) - 1)
    while sum(widths) > room:
        widest = max((width for width, text in zip(widths, texts, strict=True) if text), default=0)
        if widest <= NARROWEST:
            return
        at = next(at for at, text in enumerate(texts) if text and widths[at] == widest)
        widths[at] -= 1


def echo_fact(sentence: str, **facts: object) -> None:
    """Print a sentence for people, or the facts in it as a JSON object."""
    click.echo(_json(facts) if settings().json else visible(sentence, keep="\n"))


@contextmanager
def progress() -> Generator[Callable[[str], None]]:
    """Shows how far long work is, on one line of stderr that goes when it ends; terminals only."""
    shown = sys.stderr.isatty()

    def show(sentence: str) -> None:
        if shown:
            click.echo(f"\r\x1b[K{visible(sentence)}", nl=False, err=True)

    try:
        yield show
    finally:
        if shown:
            click.echo("\r\x1b[K", nl=False, err=True)


def _record(row: object) -> dict[str, object]:
    if isinstance(row, Mapping):
        return dict(cast(Mapping[str, object], row))
    if is_dataclass(row) and not isinstance(row, type):
        return {field.name: getattr(row, field.name) for field in fields(row)}
    raise TypeError(f"{type(row).__name__} is not a row")


def _json(value: object) -> str:
    text = json.dumps(value, default=_plain, ensure_ascii=False)
    if text.isascii():
        return text.replace("\x7f", "\\u007f")
    return "".join(letter if _harmless(letter) else f"\\u{ord(letter):04x}" for letter in text)


def _harmless(letter: str) -> bool:
    """Whether a terminal shows this and does nothing else; JSON may say the others by number."""
    return letter == visible(letter)


def _plain(value: object) -> object:
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(cast(bytes, value)).hex()
    if is_dataclass(value) and not isinstance(value, type):
        return _record(value)
    return str(value)


def _text(value: object) -> str:
    match value:
        case None:
            return ""
        case bool():
            return "yes" if value else "no"
        case datetime():
            return value.isoformat(sep=" ", timespec="seconds")
        case timedelta():
            return length(value)
        case str() | int() | float() | UUID():
            return visible(str(value))
        case _:
            return _json(value)


def _short(value: object, now: datetime) -> str:
    if isinstance(value, datetime):
        return ago(value, now)
    return _cut(_text(value.replace("\n", " ") if isinstance(value, str) else value), WIDEST)


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"
