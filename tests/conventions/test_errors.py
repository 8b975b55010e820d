"""One class for each SQLSTATE of the contract, and no other."""

from __future__ import annotations

import inspect

import psycopg

from tests.conventions.test_sql_files import ERRORS, STANDARD_ERRORS
from tidebase_pg import errors


def test_each_sqlstate_of_the_contract_has_the_class_of_its_name() -> None:
    found = {code: kind.__name__ for code, kind in errors.BY_SQLSTATE.items()}
    assert found == ERRORS
    for code, kind in errors.BY_SQLSTATE.items():
        assert kind.sqlstate == code


def test_no_class_has_a_sqlstate_outside_the_contract() -> None:
    own = {
        kind.__dict__["sqlstate"]
        for _, kind in inspect.getmembers(errors, inspect.isclass)
        if issubclass(kind, errors.Refusal) and kind.__dict__.get("sqlstate")
    }
    assert own - STANDARD_ERRORS == set(ERRORS)


def test_refusals_are_database_errors_and_stops_are_one_family() -> None:
    assert issubclass(errors.TideError, psycopg.DatabaseError)
    assert not issubclass(errors.Stop, Exception), "handlers of errors would swallow it"
    stops = {"TD001", "TD002", "TD003", "TD005"}
    assert {code for code, kind in errors.BY_SQLSTATE.items() if issubclass(kind, errors.Stop)} == (
        stops
    )
    assert all(inspect.getdoc(kind) for kind in errors.BY_SQLSTATE.values())
