"""What people type: JSON, and answers to gates whose schema is laid out as a form.

A form turns text into values; whether they fit is for the database to say, and its word about a
place is shown beside the field of that place.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal

from tidebase_pg.display import count

MOST: Final = 100
"""Fields a form has at most; what asks for more is written as JSON."""
PLACE: Final = "payload"
"""How the database names the whole answer."""
LONG: Final = 120
"""Letters above which text gets more than a line."""
_NUMBER: Final = re.compile(r"-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?")

Kind = Literal["text", "number", "choice", "lines", "many", "json", "group"]
_NOTHING: Final = object()


@dataclass(frozen=True, slots=True)
class Field:
    """One part of an answer, as a form asks for it."""

    name: str
    """Of the input in the form."""
    place: str
    """As the database names it."""
    key: str
    kind: Kind
    label: str
    help: str = ""
    hint: str = ""
    required: bool = False
    whole: bool = False
    """A number without a fraction."""
    long: bool = False
    null: bool = False
    """Null where nothing was given."""
    choices: tuple[tuple[str, Any], ...] = ()
    """Label and value of each."""
    parts: tuple[Field, ...] = ()
    initial: Mapping[str, str] = field(default_factory=dict[str, str])
    """What its inputs hold before anybody types."""


def read_json(text: str, name: str) -> Any:
    """A JSON value of a form. Raises ValueError that says where it is wrong."""
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError(f"{name} is nested too deeply") from None
    except json.JSONDecodeError as error:
        raise ValueError(
            f"{name} is no JSON: {error.msg} in line {error.lineno}, column {error.colno}"
        ) from None


def fields(schema: Any) -> tuple[Field, ...] | None:
    """The form of an answer; None where it is written as JSON: no object, or too large a one.

    Fields come in the order of `required`, then as the database keeps the rest.
    """
    if not isinstance(schema, dict):
        return None
    found: dict[str, Any] = schema  # pyright: ignore[reportUnknownVariableType]
    if set(found) & {"enum", "const", "anyOf"} or _type(found) != "object":
        return None
    made = tuple(_parts(found, "a", PLACE, depth=0))
    return made if made and sum(1 for _ in _each(made)) <= MOST else None


def initial(form: Sequence[Field]) -> dict[str, str]:
    """What the inputs of a form hold before anybody types."""
    return {name: text for one in _each(form) for name, text in one.initial.items()}


def read(form: Sequence[Field], typed: Mapping[str, str]) -> tuple[dict[str, Any], dict[str, str]]:
    """The answer that was typed, and what is wrong with which field."""
    wrong: dict[str, str] = {}
    return _object(form, typed, wrong), wrong


def beside(form: Sequence[Field], problem: str) -> dict[str, str]:
    """The word of the database, at the field whose place it names; empty where it names none."""
    best: Field | None = None
    for one in _each(form):
        follows = problem.removeprefix(one.place)
        at_place = follows != problem and follows[:1] in (" ", ".", "[")
        if at_place and (best is None or len(one.place) > len(best.place)):
            best = one
    if best is None:
        return {}
    said = problem.removeprefix(best.place)
    return {best.name: f"{best.label}{said}"}


def _each(form: Sequence[Field]) -> Iterator[Field]:
    for one in form:
        yield one
        yield from _each(one.parts)


def _parts(schema: Mapping[str, Any], name: str, place: str, depth: int) -> Iterator[Field]:
    properties: dict[str, Any] = schema.get("properties") or {}
    required: list[str] = list(dict.fromkeys(schema.get("required") or []))
    keys = [key for key in required if key in properties]
    keys += [key for key in properties if key not in required]
    keys += [key for key in required if key not in properties]
    for at, key in enumerate(keys):
        part = properties.get(key, {})
        yield _field(part, f"{name}{at}", f"{place}.{key[:200]}", key, key in required, depth)


def _field(
    given: Mapping[str, Any], name: str, place: str, key: str, required: bool, depth: int
) -> Field:
    schema, null = _without_null(given)
    kind, options = _kind(schema, name, place, depth)
    default = given.get("default", _NOTHING)
    made = Field(
        name=name,
        place=place,
        key=key,
        kind=kind,
        label=str(given.get("title") or schema.get("title") or key),
        help=str(given.get("description") or schema.get("description") or ""),
        hint=_hint(schema, kind),
        required=required and not null,
        null=null and required,
        **options,
    )
    if default is _NOTHING:
        return made
    return replace(made, initial=_typed(made, default))


def _without_null(schema: Mapping[str, Any]) -> tuple[Mapping[str, Any], bool]:
    """A schema that also allows null, without it."""
    forms: list[Any] = schema.get("anyOf") or []
    rest = [one for one in forms if one != {"type": "null"}]
    if len(forms) == 2 and len(rest) == 1 and not set(schema) & {"type", "enum", "const"}:
        return rest[0], True
    types = schema.get("type")
    if isinstance(types, list) and "null" in types and "enum" not in schema:
        others = [one for one in types if one != "null"]  # pyright: ignore[reportUnknownVariableType]
        if len(others) == 1:  # pyright: ignore[reportUnknownArgumentType]
            return {**schema, "type": others[0]}, True
    return schema, False


def _type(schema: Mapping[str, Any]) -> str | None:
    given = schema.get("type")
    types: list[str] = [given] if isinstance(given, str) else list(given or [])
    return types[0] if len(types) == 1 else None


def _kind(
    schema: Mapping[str, Any], name: str, place: str, depth: int
) -> tuple[Kind, dict[str, Any]]:
    """How a form asks for what a schema describes."""
    if "anyOf" in schema:
        return "json", {}
    if (choices := _choices(schema)) is not None:
        return "choice", {"choices": choices}
    match _type(schema):
        case "string":
            most = schema.get("maxLength")
            return "text", {"long": most is None or most > LONG}
        case "integer":
            return "number", {"whole": True}
        case "number":
            return "number", {}
        case "boolean":
            return "choice", {"choices": (("Yes", True), ("No", False))}
        case "array":
            items: Mapping[str, Any] = schema.get("items") or {}
            if (choices := _choices(items)) is not None:
                return "many", {"choices": choices}
            plain = _type(items) == "string" and "anyOf" not in items
            return ("lines" if plain else "json"), {}
        case "object" if depth == 0 and schema.get("properties"):
            return "group", {"parts": tuple(_parts(schema, f"{name}.", place, depth + 1))}
        case _:
            return "json", {}


def _choices(schema: Mapping[str, Any]) -> tuple[tuple[str, Any], ...] | None:
    values: Any = [schema["const"]] if "const" in schema else schema.get("enum")
    if values is None or any(isinstance(value, dict | list) for value in values):
        return None
    return tuple(
        (value if isinstance(value, str) and value else json.dumps(value), value)
        for value in values
    )


def _hint(schema: Mapping[str, Any], kind: Kind) -> str:
    """The bounds of a value, in words."""
    if kind == "number":
        said = _between(schema.get("minimum"), schema.get("maximum"))
        whole = "a whole number" if _type(schema) == "integer" else ""
        return ", ".join(part for part in (whole, said) if part)
    if kind == "text":
        said = _between(schema.get("minLength"), schema.get("maxLength"))
        return f"{said} characters" if said else ""
    if kind in ("lines", "many"):
        said = _between(schema.get("minItems"), schema.get("maxItems"))
        each = "one a line" if kind == "lines" else ""
        return ", ".join(part for part in (each, said) if part)
    return "JSON" if kind == "json" else ""


def _between(least: Any, most: Any) -> str:
    if least is not None and most is not None:
        return f"{_figure(least)} to {_figure(most)}"
    if least is not None:
        return f"at least {_figure(least)}"
    return f"at most {_figure(most)}" if most is not None else ""


def _figure(value: Any) -> str:
    return count(value, 10**15) if isinstance(value, int) else json.dumps(value)


def _typed(one: Field, value: Any) -> dict[str, str]:
    """What the inputs of a field hold for a value."""
    if value is None:
        return {}
    match one.kind:
        case "choice":
            at = next((n for n, (_, choice) in enumerate(one.choices) if _same(choice, value)), "")
            return {one.name: str(at)}
        case "many" if isinstance(value, list):
            chosen: list[Any] = value  # pyright: ignore[reportUnknownVariableType]
            return {
                f"{one.name}.{n}": "on"
                for n, (_, choice) in enumerate(one.choices)
                if any(_same(choice, given) for given in chosen)
            }
        case "lines" if isinstance(value, list):
            return {one.name: "\n".join(map(str, value))}  # pyright: ignore[reportUnknownArgumentType]
        case "text" if isinstance(value, str):
            return {one.name: value}
        case "number":
            return {one.name: json.dumps(value)}
        case "json":
            return {one.name: json.dumps(value, indent=2, ensure_ascii=False)}
        case _:
            return {}


def _same(one: Any, other: Any) -> bool:
    """True is not 1."""
    return one == other and isinstance(one, bool) == isinstance(other, bool)


def _object(
    form: Sequence[Field], typed: Mapping[str, str], wrong: dict[str, str]
) -> dict[str, Any]:
    answer: dict[str, Any] = {}
    for one in form:
        try:
            value = _value(one, typed, wrong)
        except ValueError as error:
            wrong[one.name] = str(error)
            continue
        if value is not _NOTHING:
            answer[one.key] = value
        elif one.null:
            answer[one.key] = None
    return answer


def _value(one: Field, typed: Mapping[str, str], wrong: dict[str, str]) -> Any:
    if one.kind == "group":
        value = _object(one.parts, typed, wrong)
        return value if value or one.required else _NOTHING
    if one.kind == "many":
        chosen = [choice for n, (_, choice) in enumerate(one.choices) if f"{one.name}.{n}" in typed]
        return chosen if chosen or one.required else _NOTHING
    text = typed.get(one.name, "").replace("\r\n", "\n")
    if one.kind == "lines":
        lines = [line.strip() for line in text.split("\n") if line.strip()]
        return lines if lines or one.required else _NOTHING
    if not text.strip():
        return _NOTHING
    if one.kind == "choice":
        at = int(text) if text.isdecimal() else -1
        if not 0 <= at < len(one.choices):
            raise ValueError(f"{one.label} is none of its choices")
        return one.choices[at][1]
    if one.kind == "number":
        return _number(one, text.strip())
    return read_json(text, one.label) if one.kind == "json" else text


def _number(one: Field, text: str) -> int | float:
    if not _NUMBER.fullmatch(text) or (one.whole and not text.removeprefix("-").isdecimal()):
        kind = "whole number" if one.whole else "number"
        raise ValueError(f"{one.label} is no {kind}: {text[:40]}")
    value: int | float = json.loads(text)
    if not math.isfinite(value):
        raise ValueError(f"{one.label} is too large: {text[:40]}")
    return value
