"""The version of the package, and of the schema it carries."""

from __future__ import annotations

import re

from tidebase_pg.errors import SchemaError, SchemaTooNew, SchemaTooOld

__version__ = "0.2.0"


def check_version(installed: str | None, driver: str = __version__) -> None:
    """Refuse a schema more than one minor version away from the driver's."""
    if installed is None:
        raise SchemaTooOld("this database has no schema tide; run: tidebase-pg install")
    schema_major, schema_minor, _ = parts(installed)
    driver_major, driver_minor, _ = parts(driver)
    if schema_major == driver_major and abs(schema_minor - driver_minor) <= 1:
        return
    if parts(installed) < parts(driver):
        raise SchemaTooOld(
            f"the schema tide has version {installed}, too old for tidebase-pg {driver}; "
            "run: tidebase-pg upgrade"
        )
    raise SchemaTooNew(
        f"the schema tide has version {installed}, too new for tidebase-pg {driver}; "
        f"run: pip install 'tidebase-pg>={installed}'"
    )


def parts(version: str) -> tuple[int, int, int]:
    found = re.match(r"(\d+)\.(\d+)(?:\.(\d+))?", version)
    if found is None:
        raise SchemaError(f"{version!r} is not a version of the schema tide")
    major, minor, patch = found.groups(default="0")
    return int(major), int(minor), int(patch)
