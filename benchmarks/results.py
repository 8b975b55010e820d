"""What was measured, and what it is compared with."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


def percentile(values: Sequence[float], percent: float) -> float:
    ordered = sorted(values)
    place = (len(ordered) - 1) * percent / 100
    below = math.floor(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (place - below)


@dataclass(frozen=True, slots=True)
class Aim:
    """A ratio to reach against another contender, or a value of its own."""

    contender: str
    value: float
    against: str | None = None
    at_most: bool = False

    def __str__(self) -> str:
        unit = f" x {self.against}" if self.against else ""
        return f"{'<=' if self.at_most else '>='} {self.value:g}{unit}"


@dataclass(slots=True)
class Result:
    """One thing measured for several contenders: the values of all rounds, none dropped."""

    name: str
    title: str
    unit: str
    base: str
    values: dict[str, list[float]] = field(default_factory=dict)
    aims: list[Aim] = field(default_factory=list)
    others: float = 0.0
    skipped: dict[str, str] = field(default_factory=dict)

    def median(self, contender: str) -> float:
        return statistics.median(self.values[contender])

    @property
    def measurable(self) -> bool:
        """Whether there is anything to compare with."""
        return bool(self.values.get(self.base)) and self.median(self.base) > 0

    def ratio(self, contender: str, against: str | None = None) -> float:
        base = self.median(against or self.base)
        return self.median(contender) / base if base else math.inf

    def reached(self, aim: Aim) -> bool | None:
        """None when one of the two was not measured."""
        if any(not self.values.get(name) for name in (aim.contender, aim.against or aim.contender)):
            return None
        if aim.against:
            value = self.ratio(aim.contender, aim.against)
        else:
            value = self.median(aim.contender)
        return value <= aim.value if aim.at_most else value >= aim.value

    def verdict(self, aim: Aim) -> str:
        reached = self.reached(aim)
        return "not measured" if reached is None else "reached" if reached else "MISSED"

    def document(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "title": self.title,
            "unit": self.unit,
            "base": self.base,
            "others_cores": round(self.others, 2),
            "contenders": {
                name: {
                    "values": [round(value, 3) for value in values],
                    "median": round(self.median(name), 3),
                    "ratio": round(self.ratio(name), 3) if self.measurable else None,
                }
                for name, values in self.values.items()
                if values
            },
            "aims": [
                {
                    "contender": aim.contender,
                    "value": aim.value,
                    "against": aim.against,
                    "at_most": aim.at_most,
                    "reached": self.reached(aim),
                }
                for aim in self.aims
            ],
            "skipped": self.skipped,
        }

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Result:
        return cls(
            document["name"],
            document["title"],
            document["unit"],
            document["base"],
            {name: list(c["values"]) for name, c in document["contenders"].items()},
            [
                Aim(aim["contender"], aim["value"], aim["against"], aim["at_most"])
                for aim in document["aims"]
            ],
            document["others_cores"],
            dict(document["skipped"]),
        )
