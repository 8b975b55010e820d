"""Who changed which setting, when, from what to what."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from tidebase_pg import calls
from tidebase_pg.server.studio.application import Visit
from tidebase_pg.types import SettingChange, SettingKind

SHOWN: Final = 20


@dataclass(frozen=True, slots=True)
class Line:
    """One change, setting by setting."""

    change: SettingChange
    settings: Sequence[tuple[str, str, str]]
    """Each with what it was and what it became."""


async def changes(
    visit: Visit,
    kind: SettingKind | None,
    name: str | None,
) -> list[Line]:
    """The newest changes, for those who may see settings."""
    if not visit.sees_payloads:
        return []
    call = calls.list_setting_changes(kind=kind, name=name, max_changes=SHOWN)
    return [_line(change) for change in await visit.ask(call)]


def _line(change: SettingChange) -> Line:
    before, after = change.before, change.after
    names = sorted(before.keys() | after.keys())
    return Line(change, [(name, _said(before, name), _said(after, name)) for name in names])


def _said(settings: dict[str, Any], name: str) -> str:
    if name not in settings:
        return "not set"
    value = settings[name]
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
