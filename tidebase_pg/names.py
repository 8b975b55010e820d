"""Names used twice in one attempt: numbered where uses follow one another, refused where they race.

A branch is a task or a thread. What a branch knows of is what it did itself, and what its ancestors
had done when it was made; only such an earlier use makes the next one "the second".
"""

from __future__ import annotations

import asyncio
import hashlib
import threading
import weakref
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Final, Literal

from tidebase_pg.errors import StepInProgress

Kind = Literal["step", "gate", "child", "sleep", "event"]

LONGEST: Final = 128
"""Characters of a name."""


class Branch:
    """A task or thread that works on a run."""

    __slots__ = ("_owner", "base", "names", "uses")

    def __init__(self, names: Names, owner: object, base: Place | None) -> None:
        self.names = names
        self._owner = weakref.ref(owner)
        """A task keeps its context, which keeps its branch."""
        self.base = base
        """Where it left the branch that made it."""
        self.uses = 0

    def is_of(self, owner: object) -> bool:
        """Whether this task or thread is the one."""
        return self._owner() is owner


Place = tuple[Branch, int]
"""A branch, and how many names it had used."""

_place: ContextVar[Place | None] = ContextVar("tidebase_place", default=None)


@dataclass(slots=True, eq=False)
class Use:
    """One name in use."""

    kind: Kind
    name: str
    """As the workflow gave it."""
    assigned: str
    """As the database knows it."""
    place: Place
    digest: str | None
    alone: bool
    """Whether it was the first of its name, so that another input may turn out to be recorded."""
    first: bool = True
    """Whether this attempt has not begun anything under the assigned name."""
    count: int = 1
    open: bool = True
    done: bool = False
    begun: bool = False
    """Whether the database has said what is recorded under the name."""


class Names:
    """The names one attempt has used."""

    def __init__(self) -> None:
        self._uses: dict[tuple[Kind, str], Use] = {}
        self._lock = threading.Lock()
        self._root: object = None
        self._trunk: Branch | None = None
        self.used = False
        """Whether there was any; also after the end."""

    def enter(self, owner: object) -> None:
        """This task or thread is the branch that all others come from."""
        self._root = owner

    def end(self) -> None:
        """Let go of what refers to each other: the attempt is over."""
        self._uses.clear()
        self._root = self._trunk = None

    def claim(
        self, kind: Kind, name: str, *, key: str | None = None, input: str | None = None
    ) -> Use | None:
        """The next use of a name by this branch; None when it must be asked for again, since what
        is recorded under the name is being found out.

        Raises StepInProgress for a name that another branch uses too and nothing tells apart.
        """
        self.used = True
        wanted = name if key is None else shortened(name, f":{key}")
        digest = None if input is None else hashlib.sha256(input.encode()).hexdigest()[:12]
        with self._lock:
            branch = self._branch()
            former = self._uses.get((kind, wanted))
            alone = former is None
            if former is not None and not _knows((branch, branch.uses), former.place):
                if digest is None or former.digest is None or digest == former.digest:
                    raise StepInProgress(_refusal(kind, name))
                if not former.begun:
                    return None
                wanted = shortened(name, f":{digest}")
                former = self._uses.get((kind, wanted))
                if former is not None and not _knows((branch, branch.uses), former.place):
                    raise StepInProgress(_refusal(kind, name))
            if former is not None and former.open:
                raise StepInProgress(_refusal(kind, name))
            count = 1 if former is None else former.count + former.done
            assigned = wanted if count == 1 else shortened(wanted, f":{count}")
            branch.uses += 1
            place = branch, branch.uses
            _place.set(place)
            first = former is None or former.done
            use = Use(kind, name, assigned, place, digest, alone, first, count)
            self._uses[kind, wanted] = use
            if assigned != wanted:
                self._uses.setdefault(
                    (kind, assigned), Use(kind, name, assigned, place, None, False)
                )
                self._uses[kind, assigned].open = False
            return use

    def otherwise(self, use: Use) -> bool:
        """Another input is recorded under this name: whether the use has one of its own instead.

        Only in a branch: where nothing runs beside, another input is an error of the program.
        """
        if use.digest is None or not use.alone or use.place[0].base is None:
            return False
        with self._lock:
            self._uses.pop((use.kind, use.assigned), None)
            use.assigned = shortened(use.name, f":{use.digest}")
            use.alone = False
            self._uses[use.kind, use.assigned] = use
        return True

    def elsewhere(self, thing: object) -> bool:
        """Whether something under way is not what the caller itself is in."""
        if not isinstance(thing, Use):
            return True
        branch = self._branch()
        return not _knows((branch, branch.uses), thing.place)

    def _branch(self) -> Branch:
        owner = _owner()
        if self._trunk is None and self._root is not None:
            self._trunk = Branch(self, self._root, None)
        if self._trunk is not None and owner is self._root:
            return self._trunk
        place = _place.get()
        if place is not None and place[0].names is not self:
            place = None
        if place is not None and place[0].is_of(owner):
            return place[0]
        if place is None and self._trunk is not None:
            place = self._trunk, 0
        return Branch(self, owner, place)


def _owner() -> object:
    loop = asyncio._get_running_loop()  # pyright: ignore[reportPrivateUsage]
    task = None if loop is None else asyncio.current_task(loop)
    return threading.current_thread() if task is None else task


def _knows(here: Place, other: Place) -> bool:
    place: Place | None = here
    while place is not None:
        if place[0] is other[0]:
            return other[1] <= place[1]
        place = place[0].base
    return False


def shortened(name: str, suffix: str) -> str:
    """A name with a suffix, within the length of names; a long one keeps apart from others."""
    if len(name) + len(suffix) <= LONGEST:
        return name + suffix
    digest = hashlib.sha256(f"{name}{suffix}".encode()).hexdigest()[:12]
    return f"{name[: LONGEST - 13 - min(len(suffix), 16)]}.{digest}{suffix[:16]}"


def _refusal(kind: Kind, name: str) -> str:
    remedy = (
        "a key= or an input= of their own" if kind == "step" else "names or a key= of their own"
    )
    return (
        f"{kind} {name!r} is used by two branches of the run at once, so that their order would "
        f"decide who gets which answer: give them {remedy}"
    )
