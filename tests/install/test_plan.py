"""The pure half of the installer: plans, cuts, versions, and where sql/ is."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import pytest

from tests.install.conftest import COLUMN, INDEX, THINGS, MakeRelease
from tidebase_pg import admin
from tidebase_pg.admin import FUNCTIONS, Script, releases
from tidebase_pg.admin.sql_text import split, words
from tidebase_pg.errors import MigrationDrift, SchemaError, SchemaTooNew, SchemaTooOld
from tidebase_pg.version import __version__, check_version


def test_plan_is_migrations_in_order_then_functions_views_grants(make_release: MakeRelease) -> None:
    release = make_release("0.1.0", {"0002_size.sql": COLUMN, "0001_things.sql": THINGS})
    assert [script.name for script in admin.plan(release, {})] == [
        "0001_things.sql",
        "0002_size.sql",
        "functions/answers/answer.sql",
        "views/answers.sql",
        "grants.sql",
    ]


def test_plan_is_empty_when_ledger_and_functions_agree(make_release: MakeRelease) -> None:
    release = make_release()
    applied = {script.name: script.digest for script in release.migrations}
    assert admin.plan(release, {**applied, FUNCTIONS: release.digest}) == []
    assert admin.plan(release, {**applied, FUNCTIONS: "old"}) == list(release.repeatables)


def test_plan_refuses_an_edited_migration(make_release: MakeRelease) -> None:
    with pytest.raises(MigrationDrift):
        admin.plan(make_release(), {"0001_things.sql": "another"})


def test_digest_changes_with_every_byte_that_is_run_again(make_release: MakeRelease) -> None:
    digests = {
        make_release().digest,
        make_release("0.1.1").digest,
        make_release(answer=43).digest,
    }
    assert len(digests) == 3
    migrated = make_release("0.1.0", {"0001_things.sql": THINGS, "0002_size.sql": COLUMN})
    assert migrated.digest == make_release().digest


def test_line_endings_of_a_checkout_do_not_change_the_hash(
    make_release: MakeRelease, tmp_path: Path
) -> None:
    release = make_release()
    path = tmp_path / "release" / "migrations" / "0001_things.sql"
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    assert admin.Release.read(tmp_path / "release", release.version) == release
    assert release.migrations[0].digest == hashlib.sha256(THINGS.encode()).hexdigest()


def test_what_changes_a_table_or_runs_outside_a_transaction_stands_alone_in_an_upgrade(
    make_release: MakeRelease,
) -> None:
    one, two, three = Script("1.sql", "select 1"), Script("2.sql", INDEX), Script("3.sql", COLUMN)
    both = Script("4.sql", "-- tide: with the functions\n" + COLUMN)
    release = make_release("0.1.0", {s.name: s.body for s in (one, two, three, both)})

    def names(*scripts: Script, fresh: bool = False) -> list[list[str]]:
        cut = admin.batches(release, scripts, fresh=fresh)
        return [[script.name[0] for script in batch] for batch in cut]

    assert names() == []
    assert names(one, one) == [["1", "1"]]
    assert names(one, three, one) == [["1"], ["3"], ["1"]]
    assert names(one, two, one) == [["1"], ["2"], ["1"]]
    assert names(two, two) == [["2"], ["2"]]
    assert names(one, both, one) == [["1", "4", "1"]]
    assert names(one, two, three, fresh=True) == [["1", "2", "3"]]
    vacuum = Script("5.sql", "-- tide: no transaction\nvacuum tide.things;")
    assert names(one, vacuum, one, fresh=True) == [["1"], ["5"], ["1"]]


def test_what_the_functions_can_do_without_comes_after_them(make_release: MakeRelease) -> None:
    check = "-- tide: after the functions\n-- A check.\nselect 1;\n"
    columns = "-- tide: with the functions\n" + COLUMN
    release = make_release(
        "0.2.0",
        {"1.sql": THINGS, "2.sql": INDEX, "3.sql": columns, "4.sql": check, "5.sql": "select 1;\n"},
    )
    names = [script.name for script in admin.plan(release, {}) if script.name[0].isdigit()]
    assert names == ["1.sql", "5.sql", "3.sql", "2.sql", "4.sql"]
    functions, *others = release.repeatables
    assert admin.plan(release, {})[2:-2] == [functions, release.migrations[2], *others]


def test_tables_are_locked_after_the_functions_are_made() -> None:
    """Making them takes a second or more, in which nobody is stopped."""
    release = admin.current()
    state = admin.released("0.1.0")
    scripts = admin.plan(release, state.applied)
    (batch,) = [
        batch for batch in admin.batches(release, scripts) if release.repeatables[-1] in batch
    ]
    first = next(place for place, script in enumerate(batch) if script.locks is not None)
    late = [script.name for script in batch[first:]]
    assert [name for name in late if name.startswith("functions/")] == [
        script.name
        for script in release.repeatables
        if script.name.startswith("functions/") and script.locks is not None
    ]
    text = admin.render(release, state)
    transaction = text[text.index(f"-- {batch[0].name}\n") :].partition("\ncommit;")[0]
    assert transaction.index("create or replace function tide.enqueue(") < transaction.index(
        "lock table only"
    )
    assert transaction.count("lock table only") == 1, "a second one would wait with what is held"


def test_what_locks_a_table_together_with_the_functions_makes_none_of_their_types() -> None:
    """It comes after the functions, and would drop what was just made."""
    makes = re.compile(r"(drop (function|procedure)|(create|alter) type) ")
    for script in admin.current().migrations:
        if script.with_functions and script.locks is not None:
            made = [text for text in split(script.body) if makes.match(words(text))]
            assert made == [], f"{script.name}: make two files of it"


def test_phases_cut_at_the_deploy(make_release: MakeRelease) -> None:
    drop = "-- tide: after the deploy\n-- Nobody reads it any more.\ndrop table tide.old;\n"
    release = make_release("0.2.0", {"1.sql": THINGS, "2.sql": drop, "3.sql": COLUMN})

    def names(applied: dict[str, str], phase: str | None) -> list[str]:
        scripts = admin.plan(release, applied, phase)
        return [script.name for script in scripts if script in release.migrations]

    before = {"1.sql": release.migrations[0].digest, FUNCTIONS: "old"}
    assert names(before, None) == ["3.sql", "2.sql"]
    assert names(before, admin.PRE) == ["3.sql"]
    with pytest.raises(SchemaTooOld, match="--phase pre"):
        admin.plan(release, before, admin.POST)
    ready = admin.prepared(release, admin.State("0.1.0", before))
    assert (ready.version, ready.applied[FUNCTIONS]) == ("0.2.0", release.digest)
    assert admin.plan(release, ready.applied, admin.PRE) == []
    assert [s.name for s in admin.plan(release, ready.applied, admin.POST)] == ["2.sql"]


def test_roles_come_after_views_and_before_grants(
    make_release: MakeRelease, tmp_path: Path
) -> None:
    make_release()
    (tmp_path / "release" / "roles.sql").write_text("select 1;\n")
    names = [script.name for script in admin.Release.read(tmp_path / "release").repeatables]
    assert names[-3:] == ["views/answers.sql", "roles.sql", "grants.sql"]


@pytest.mark.parametrize(
    ("body", "statements"),
    [
        ("", []),
        (" ;; -- nothing\n;/* ; */", []),
        ("select 1; select 2", ["select 1", "select 2"]),
        ("select ';' , 'it''s;' ; select \"a;\"\"b\"", ["select ';' , 'it''s;'", 'select "a;""b"']),
        (r"select E'\';' ; select 'a\' ; select 2", [r"select E'\';'", r"select 'a\'", "select 2"]),
        ("select $$;$$; select $a$ $$;$b$; $a$", ["select $$;$$", "select $a$ $$;$b$; $a$"]),
        ("select a$b$c; select $1; select 1", ["select a$b$c", "select $1", "select 1"]),
        ("/* a /* ; */ ; */ select 1; -- ; x\nselect 2;", ["select 1", "select 2"]),
        ("select 1 -- ;\n, 2; select 3", ["select 1 -- ;\n, 2", "select 3"]),
        ("select name'x;y'; select 1", ["select name'x;y'", "select 1"]),
    ],
)
def test_statements_are_split_outside_quotes_and_comments_only(
    body: str, statements: list[str]
) -> None:
    assert admin.split(body) == statements


@pytest.mark.parametrize(
    ("installed", "driver", "refusal"),
    [
        ("0.1.0", "0.1.0", None),
        ("0.1.9", "0.2.0", None),
        ("0.2.0", "0.1.9", None),
        ("1.4.2", "1.3.0.dev1", None),
        ("0.1.0", "0.3.0", SchemaTooOld),
        ("0.9.0", "1.0.0", SchemaTooOld),
        ("0.3.0", "0.1.0", SchemaTooNew),
        ("1.0.0", "0.9.0", SchemaTooNew),
        (None, "0.1.0", SchemaTooOld),
    ],
)
def test_driver_accepts_a_schema_one_minor_version_away_and_no_more(
    installed: str | None, driver: str, refusal: type[SchemaError] | None
) -> None:
    if refusal is None:
        check_version(installed, driver)
        return
    with pytest.raises(refusal) as raised:
        check_version(installed, driver)
    assert "run: " in str(raised.value)
    if installed is not None:
        assert installed in str(raised.value)
        assert driver in str(raised.value)


def test_sql_is_found_in_the_package_or_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "site" / "tidebase_pg"
    package.mkdir(parents=True)
    monkeypatch.setattr(releases, "__file__", str(package / "admin" / "releases.py"))
    with pytest.raises(SchemaError, match="reinstall tidebase-pg"):
        admin.sql_folder()
    for folder in (package.parent / "sql", package / "sql"):
        folder.mkdir()
        (folder / "header.sql").touch()
        assert admin.sql_folder() == folder


def test_release_of_the_package_has_its_version() -> None:
    assert admin.current().version == __version__
