"""How values become JSON and come back as the types a program works with."""

from __future__ import annotations

import dataclasses
import inspect
import typing
from collections.abc import Callable
from functools import cache
from typing import Any, Final, Protocol, cast

from tidebase_pg.errors import BadPayload

_SCALARS: Final = (str, int, float, bool, type(None))


class Codec(Protocol):
    """Turns values into what JSON can say, and back; give your own as `Tidebase(codec=...)`."""

    def dump(self, value: Any, what: str) -> Any:
        """What is kept of a value: dicts with text keys, lists, text, numbers, True, False, None.

        Raises BadPayload, naming `what` and the remedy."""
        ...

    def load(self, value: Any, kind: Any, what: str) -> Any:
        """A kept value as the type `kind`, which is None where no type was asked for.

        Raises BadPayload when the value does not fit."""
        ...


class DefaultCodec:
    """Pydantic models, dataclasses, TypedDicts and msgspec structs, besides what JSON knows.

    Types are validated and restored by pydantic where it is installed, else by msgspec, else only
    dataclasses are restored.
    """

    def dump(self, value: Any, what: str) -> Any:
        try:
            return _plain(value)
        except RecursionError:
            return value  # too deep to be stored, as its encoding will say

    def load(self, value: Any, kind: Any, what: str) -> Any:
        if kind is None or kind is Any or kind is inspect.Parameter.empty:
            return value
        restore = _restorer(kind) if _hashable(kind) else _make_restorer(kind)
        if restore is None:
            return value
        try:
            return restore(value)
        except Exception as error:
            raise BadPayload(f"{what} is no {_name(kind)}: {error}") from error


def input_kind(function: Callable[..., Any], *, many: bool = False) -> Any:
    """What a workflow says its input is, by the annotation of its second parameter; else None.
    `many`: that is a list of inputs."""
    try:
        parameters = list(inspect.signature(function).parameters.values())
        if len(parameters) < 2:
            return None
        kind = typing.get_type_hints(function).get(parameters[1].name)
        if many:
            (kind,) = typing.get_args(kind)
    except Exception:
        return None  # annotations that cannot be evaluated here say nothing
    return kind if restorable(kind) else None


def restorable(kind: Any) -> bool:
    """Whether a type is more than what JSON gives anyway."""
    if kind is None or kind is Any:
        return False
    if isinstance(kind, type):
        found = cast("type[Any]", kind)
        return (
            typing.is_typeddict(found)
            or dataclasses.is_dataclass(found)
            or hasattr(found, "model_fields")
            or hasattr(found, "__struct_fields__")
        )
    return any(restorable(part) for part in typing.get_args(kind))


def _plain(value: Any) -> Any:
    """Models and dataclasses as dicts, at any depth; everything else as it is."""
    if isinstance(value, _SCALARS):
        return value
    if isinstance(value, dict):
        given = cast("dict[Any, Any]", cast(object, value))
        found = {key: _plain(part) for key, part in given.items()}
        return given if all(found[key] is part for key, part in given.items()) else found
    if isinstance(value, list | tuple):
        parts = cast("list[Any]", value)
        kept = [_plain(part) for part in parts]
        return parts if all(one is part for one, part in zip(kept, parts, strict=True)) else kept
    if isinstance(value, type):
        return value
    if hasattr(value, "model_dump"):
        return value.model_dump(mode="json")
    if dataclasses.is_dataclass(value):
        return {
            field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)
        }
    if hasattr(value, "__struct_fields__"):
        return {name: _plain(getattr(value, name)) for name in value.__struct_fields__}
    return value


@cache
def _restorer(kind: Any) -> Callable[[Any], Any] | None:
    return _make_restorer(kind)


def _make_restorer(kind: Any) -> Callable[[Any], Any] | None:
    try:
        import pydantic  # type: ignore[import-not-found,unused-ignore]
    except ImportError:
        pass
    else:
        return cast("Callable[[Any], Any]", pydantic.TypeAdapter(kind).validate_python)
    try:
        import msgspec  # type: ignore[import-not-found,unused-ignore]
    except ImportError:
        pass
    else:
        return lambda value: msgspec.convert(value, kind)
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        return lambda value: kind(**value)
    return None


def _hashable(kind: Any) -> bool:
    try:
        hash(kind)
    except TypeError:
        return False
    return True


def _name(kind: Any) -> str:
    return kind.__name__ if isinstance(kind, type) else str(kind)
