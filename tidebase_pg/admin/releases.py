"""The only reader of sql/: what a release installs, and what of it is still to run. Pure."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Final

from tidebase_pg.admin.sql_text import split, words
from tidebase_pg.errors import MigrationDrift, SchemaError, SchemaTooNew, SchemaTooOld
from tidebase_pg.version import __version__, parts

NO_TRANSACTION: Final = "no transaction"


AFTER_THE_DEPLOY: Final = "after the deploy"


WITH_THE_FUNCTIONS: Final = "with the functions"


AFTER_THE_FUNCTIONS: Final = "after the functions"


PRE: Final = "pre"


POST: Final = "post"


FUNCTIONS: Final = "functions"  # stands for the functions' digest beside the migrations' names


BLOCKING: Final = {
    "access exclusive": r"alter table (?:if exists )?(?:only )?tide\.(\w+) (?!validate )",
    "share row exclusive": r"create or replace trigger .* on tide\.(\w+) for each ",
}


@dataclass(frozen=True, slots=True)
class Script:
    """One file below sql/."""

    name: str
    body: str

    @property
    def digest(self) -> str:
        return hashlib.sha256(self.body.encode()).hexdigest()

    @property
    def transactional(self) -> bool:
        return NO_TRANSACTION not in self._marks

    @property
    def contracting(self) -> bool:
        """Whether it takes away what the release before still needs."""
        return AFTER_THE_DEPLOY in self._marks

    @property
    def with_functions(self) -> bool:
        """Whether the functions of the release before cannot live with it for a moment."""
        return WITH_THE_FUNCTIONS in self._marks

    @property
    def later(self) -> bool:
        """Whether the functions can live without it, so that they need not wait for it."""
        return not self.transactional or AFTER_THE_FUNCTIONS in self._marks

    @property
    def _marks(self) -> list[str]:
        """The first line may say how to run it: -- tide: no transaction, after the deploy"""
        said = re.match(r"-- tide: (.*)", self.body)
        return [] if said is None else [mark.strip() for mark in said[1].split(",")]

    @property
    def only_builds_indexes(self) -> bool:
        """Whether it could run in a transaction too, without `concurrently`."""
        return all(
            re.match(r"((create (unique )?|drop )index concurrently|comment on) ", words(statement))
            for statement in split(self.body)
        )

    @property
    def indexes(self) -> list[str]:
        """The indexes it builds concurrently."""
        found = (
            re.match(
                r"create (?:unique )?index concurrently (?:if not exists )?(\w+) on ",
                words(statement),
            )
            for statement in split(self.body)
        )
        return [match[1] for match in found if match]

    @property
    def locks(self) -> tuple[str, tuple[str, ...]] | None:
        """The lock that stops others, and the tables of the schema it is for."""
        if not re.search("alter table|create or replace trigger", self.body, re.IGNORECASE):
            return None  # reading it word by word takes long
        statements = [words(statement) for statement in split(self.body)]
        for mode, pattern in BLOCKING.items():
            found = [re.match(pattern, statement) for statement in statements]
            if tables := {match[1] for match in found if match}:
                return mode, tuple(sorted(tables))
        return None


@dataclass(frozen=True, slots=True)
class Release:
    """What one version of the package installs: history once, functions whole, grants last."""

    version: str
    header: Script
    migrations: tuple[Script, ...]
    repeatables: tuple[Script, ...]

    @property
    def digest(self) -> str:
        """Of all that is re-run; the version is in it, so each release leaves its row."""
        parts = [self.version]
        for script in (self.header, *self.repeatables):
            parts += [script.name, script.digest]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()

    @property
    def bodies(self) -> tuple[Script, ...]:
        """The functions without a trigger, which come first and stop nobody."""
        return tuple(
            script
            for script in self.repeatables
            if script.name.startswith("functions/") and script.locks is None
        )

    @classmethod
    def read(cls, folder: Path, version: str = __version__) -> Release:
        """The release in a folder laid out like sql/."""

        def script(path: Path) -> Script:
            text = path.read_bytes().decode().replace("\r\n", "\n")
            return Script(path.relative_to(folder).as_posix(), text)

        migrations = [script(path) for path in sorted((folder / "migrations").glob("*.sql"))]
        functions = map(script, sorted((folder / "functions").rglob("*.sql")))
        return cls(
            version,
            header=script(folder / "header.sql"),
            migrations=tuple(
                Script(Path(migration.name).name, migration.body) for migration in migrations
            ),
            repeatables=(
                *sorted(functions, key=lambda function: function.locks is not None),
                *map(script, sorted((folder / "views").rglob("*.sql"))),
                *map(script, folder.glob("roles.sql")),
                *map(script, folder.glob("grants.sql")),
            ),
        )


@dataclass(frozen=True, slots=True)
class State:
    """What the ledger of a database says."""

    version: str | None = None
    applied: Mapping[str, str] = field(default_factory=dict[str, str])
    extension: bool = False
    """Whether the schema belongs to the extension, which alone may change it then."""
    ledger: bool = False
    """Whether there are tables for a ledger, with or without rows."""

    @property
    def fresh(self) -> bool:
        """Whether no migration has run: whatever is built is empty, and nobody is there to wait."""
        return not self.applied.keys() - {FUNCTIONS}


def sql_folder() -> Path:
    """Where sql/ is: inside the installed package, or beside it in a checkout."""
    package = Path(__file__).parent.parent
    for candidate in (package / "sql", package.parent / "sql"):
        if (candidate / "header.sql").is_file():
            return candidate
    raise SchemaError(f"no sql/header.sql in {package} or beside it: reinstall tidebase-pg")


def current() -> Release:
    """The release this package carries."""
    return _read_once(sql_folder())


@cache
def _read_once(folder: Path) -> Release:
    return Release.read(folder)


def released(version: str, folder: Path | None = None) -> State:
    """What the ledger says where nothing but this release was installed."""
    releases = json.loads(((folder or sql_folder()) / "releases.json").read_text())
    if version not in releases:
        raise SchemaError(
            f"{version} is no release this package can upgrade from; it knows {', '.join(releases)}"
        )
    release = releases[version]
    return State(version, {**release["migrations"], FUNCTIONS: release["functions"]})


def plan(release: Release, applied: Mapping[str, str], phase: str | None = None) -> list[Script]:
    """The scripts still to run, in order; pure, so it is also what --print prints.

    `applied` has the sha256 of each applied migration by name, and under "functions" the digest
    of the newest installation. Phase "pre" is what the release before can live with, "post" the
    rest; None is both.
    """
    for script in release.migrations:
        recorded = applied.get(script.name, script.digest)
        if recorded != script.digest:
            raise MigrationDrift(script.name, recorded, script.digest)
    pending = [script for script in release.migrations if script.name not in applied]
    contracting = [script for script in pending if script.contracting]
    later = [script for script in pending if script.later and not script.contracting]
    early = [script for script in pending if not (script.later or script.contracting)]
    if early or applied.get(FUNCTIONS) != release.digest:
        # Of what comes with the functions, all that stops others comes as late as it can.
        own = [script for script in early if script.with_functions]
        bodies = release.bodies
        scripts = [
            *(script for script in early if not script.with_functions),
            *(script for script in own if script.locks is None),
            *bodies,
            *(script for script in own if script.locks is not None),
            *release.repeatables[len(bodies) :],
            *later,
        ]
    else:
        scripts = later
    if phase == POST and scripts:
        raise SchemaTooOld(
            "what comes before the deploy has not all been applied "
            f"for {release.version}; run: tidebase-pg upgrade --phase pre"
        )
    return scripts if phase == PRE else [*scripts, *contracting]


def prepared(release: Release, state: State) -> State:
    """The state after phase "pre", for the text of phase "post"."""
    scripts = plan(release, state.applied, PRE)
    made = {script.name: script.digest for script in scripts if script in release.migrations}
    return State(release.version, {**state.applied, **made, FUNCTIONS: release.digest})


def batches(
    release: Release, scripts: Sequence[Script], *, fresh: bool = False
) -> list[list[Script]]:
    """A plan cut into transactions: one when nothing is there yet.

    Else a migration that changes a table stands alone: with two tables locked, an installer and an
    application would wait for each other. So does what must run outside a transaction, and what
    comes after the functions, since they hold tables locked to the end of theirs.
    """
    cut: list[list[Script]] = [[]]
    for script in scripts:
        changes = script in release.migrations and script.locks is not None
        alone = ((changes and not script.with_functions) or script.later) and not fresh
        if alone or outside(script, fresh=fresh):
            cut += [[script], []]
        else:
            cut[-1].append(script)
    return [batch for batch in cut if batch]


def outside(script: Script, *, fresh: bool) -> bool:
    return not script.transactional and not (fresh and script.only_builds_indexes)


def installs(release: Release, batch: Sequence[Script]) -> bool:
    """Whether the batch is the one that records the installation: that of the functions."""
    return release.repeatables[-1] in batch


def refuse_newer(release: Release, state: State) -> None:
    """An older package neither drops nor overwrites what a newer one made."""
    known = {script.name for script in release.migrations} | {FUNCTIONS}
    unknown = sorted(state.applied.keys() - known)
    newer = state.version is not None and parts(state.version) > parts(release.version)
    if newer or unknown:
        facts = f" and migrations unknown here ({', '.join(unknown)})" if unknown else ""
        raise SchemaTooNew(
            f"the schema tide has version {state.version}{facts}, newer than tidebase-pg "
            f"{release.version}; run: pip install --upgrade tidebase-pg"
        )
