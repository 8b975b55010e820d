"""doctor names what others own or may become: group roles that log in, owners, members."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from psycopg import sql

from tests.support import Connection
from tidebase_pg.admin import doctor
from tidebase_pg.admin.drift import Finding


def found(dsn: str) -> list[Finding]:
    return doctor.examine(dsn, checks={"trust": doctor.CHECKS["trust"]})


@pytest.fixture
def other(connection: Connection) -> Iterator[str]:
    """Another role of this server."""
    name = f"{connection.info.dbname}_other"
    connection.execute(sql.SQL("create role {} nologin").format(sql.Identifier(name)))
    yield name
    connection.execute(sql.SQL("drop owned by {} cascade").format(sql.Identifier(name)))
    connection.execute(sql.SQL("drop role {}").format(sql.Identifier(name)))


def mended(connection: Connection, finding: Finding) -> None:
    connection.execute(finding.remedy.encode())


def test_a_sound_installation_has_nothing_to_tell(direct_dsn: str) -> None:
    assert found(direct_dsn) == []


def test_a_group_role_that_may_log_in_is_found(direct_dsn: str, connection: Connection) -> None:
    connection.execute("alter role tide_viewer login")
    try:
        (finding,) = found(direct_dsn)
        assert (finding.severity, "tide_viewer" in finding.message) == ("error", True)
        mended(connection, finding)
        assert found(direct_dsn) == []
    finally:
        connection.execute("alter role tide_viewer nologin")


def test_what_another_owns_is_found(direct_dsn: str, connection: Connection, other: str) -> None:
    """He could put another function in its place, which those of the owner would call."""
    connection.execute(f"alter function tide._now() owner to {other}".encode())
    (finding,) = found(direct_dsn)
    assert (finding.severity, f"_now() belongs to {other}" in finding.message) == ("warning", True)
    mended(connection, finding)
    assert found(direct_dsn) == []


def test_a_schema_that_changed_hands_is_found(
    direct_dsn: str, connection: Connection, other: str
) -> None:
    connection.execute(f"alter schema tide owner to {other}".encode())
    finding, *_ = found(direct_dsn)
    assert (finding.severity, other in finding.message) == ("error", True)
    mended(connection, finding)
    assert found(direct_dsn) == []


def test_doctor_names_members_where_every_login_may_connect(
    direct_dsn: str, connection: Connection, other: str
) -> None:
    connection.execute(f"grant tide_client to {other}".encode())
    (finding,) = found(direct_dsn)
    assert (finding.severity, other in finding.message) == ("info", True)
    mended(connection, finding)
    assert found(direct_dsn) == []


@pytest.mark.parametrize("place", ["", " in schema tide"])
@pytest.mark.parametrize(
    "rights", ["select on tables", "usage on sequences", "execute on functions"]
)
def test_doctor_names_default_privileges(
    direct_dsn: str, connection: Connection, other: str, place: str, rights: str
) -> None:
    """What the owner of the schema makes by hand would be theirs as well."""
    connection.execute(f"alter default privileges{place} grant {rights} to {other}".encode())
    (finding,) = found(direct_dsn)
    assert finding.severity == "warning"
    assert f"default privileges give {other} rights" in finding.message
    mended(connection, finding)
    assert found(direct_dsn) == []


@pytest.mark.parametrize(
    "given",
    [
        "grant select on tide.runs to public",
        "grant execute on function tide.version() to public",
        "grant usage on schema tide to public",
        "grant create on schema tide to public",
        "grant select (input) on tide.runs_active to public",
    ],
)
def test_doctor_names_a_right_of_public(
    direct_dsn: str, connection: Connection, given: str
) -> None:
    def told() -> list[Finding]:
        return [one for one in doctor.examine(direct_dsn) if "PUBLIC may" in one.message]

    connection.execute(given.encode())
    (finding,) = told()
    assert (finding.severity, finding.check) == ("error", "grants")
    mended(connection, finding)
    assert told() == []
