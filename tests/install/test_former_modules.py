"""What programs import from 0.1.0 is there under its former name."""

from __future__ import annotations

from importlib import import_module

import pytest


@pytest.mark.parametrize(
    ("former", "home"),
    [("schema", "tidebase_pg.admin"), ("embedded", "tidebase_pg.admin.embedded")],
)
def test_a_module_of_the_first_release_offers_what_it_did(former: str, home: str) -> None:
    module = import_module(f"tidebase_pg.{former}")
    now = import_module(home)
    assert module.__all__
    assert all(getattr(module, name) is getattr(now, name) for name in module.__all__)
