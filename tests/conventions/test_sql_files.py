"""What every file below sql/ looks like: one function, a fixed header, qualified names."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from pglast import ast

from tests.conventions.bodies import (
    ROOT,
    SQL,
    Routine,
    called,
    nodes,
    relation,
    routines,
    views,
)

TOPICS = {
    "runs",
    "queues",
    "lanes",
    "steps",
    "gates",
    "keys",
    "children",
    "state",
    "streams",
    "usage",
    "events",
    "schedules",
    "webhooks",
    "upkeep",
    "values",
}
ROUTINES = routines()


def each_of(things: Sequence[Any]) -> Callable[[Callable[[Any], None]], Callable[[], None]]:
    """A rule that all of these keep. One test, which names those that do not: thousands of small
    ones would take longer than what they look at."""

    def rule_for_all(rule: Callable[[Any], None]) -> Callable[[], None]:
        def test() -> None:
            broken: list[str] = []
            for thing in things:
                try:
                    rule(thing)
                except AssertionError as error:
                    broken.append(f"{thing}: {error}")
            assert not broken, "\n\n".join(broken)

        test.__name__ = rule.__name__
        return test

    return rule_for_all


each_routine = each_of(ROUTINES)


def test_a_rule_names_all_that_break_it() -> None:
    @each_of([1, 2, 3])
    def rule(number: int) -> None:
        assert number == 2, "not two"

    with pytest.raises(AssertionError, match=r"(?s)1: not two.*3: not two"):
        rule()


WRITES = (ast.InsertStmt, ast.UpdateStmt, ast.DeleteStmt)

ERRORS = {
    "TD001": "RunCancelled",
    "TD002": "LeaseLost",
    "TD003": "RunFinished",
    "TD004": "RunLeased",
    "TD005": "LeaseUnproven",
    "TD010": "NotFound",
    "TD020": "InputMismatch",
    "TD021": "StateConflict",
    "TD022": "GateResolved",
    "TD023": "DuplicateRun",
    "TD024": "BadToken",
    "TD025": "NotApproved",
    "TD030": "IllegalTransition",
    "TD040": "PayloadTooLarge",
}
"""The errors of the contract, each a class of its own in Python."""

STANDARD_ERRORS = {"22023", "23514", "25001", "40001", "42501"}
"""A bad argument, a row that cannot be, a transaction of another isolation level, call again."""

ANY_ORDER = {
    "_free_leaked_slots": "whatever is leaked; one batch after the other takes all",
    "_capacity": "counts places, whichever they are",
    "_next_expiry": "leases that may end; more than a thousand are answered without sorting them",
    "_sweep_keys": "expired leases by the small index of running runs, sorted it would read all",
    "_wake_workers": "any idle worker will do",
    "list_allowances": "counts up to a bound",
}
"""Functions that may say `limit` without `order by`, and why that is not a slip."""


def test_folders_are_topics() -> None:
    assert {routine.topic for routine in ROUTINES} <= TOPICS


@each_routine
def test_a_file_is_one_function_with_its_name_and_its_comment(routine: Routine) -> None:
    first, second, *rest = routine.statements
    assert isinstance(first, ast.CreateFunctionStmt)
    assert first.replace
    assert [part.sval for part in first.funcname] == ["tide", routine.name]
    assert isinstance(second, ast.CommentStmt)
    assert [part.sval for part in second.object.objname] == ["tide", routine.name]
    assert second.comment
    triggers = [node for node in rest if isinstance(node, ast.CreateTrigStmt)]
    assert triggers == rest, "only triggers may follow, with the function they call"
    assert all([p.sval for p in t.funcname] == ["tide", routine.name] for t in triggers)


def test_no_function_has_two_files() -> None:
    twice = [name for name, count in Counter(r.name for r in ROUTINES).items() if count > 1]
    assert twice == []


@each_routine
def test_header_clauses_stand_in_the_order_of_the_house(routine: Routine) -> None:
    header = routine.text.split("as $$")[0]
    clauses = re.findall(
        r"(?m)^(returns|language|volatile|stable|immutable|strict|parallel|security|set)\b", header
    )
    order = ["returns", "language", "volatility", "parallel", "security", "set"]
    volatility = {"volatile": "volatility", "stable": "volatility", "immutable": "volatility"}
    places = [order.index(volatility.get(c, c)) for c in clauses if c != "strict"]
    assert places == sorted(places), clauses
    assert clauses[0] == ("language" if routine.definition.is_procedure else "returns")
    if not routine.definition.is_procedure and "returns trigger" not in header:
        assert routine.option("volatility") is not None, "say volatile, stable or immutable"


@each_routine
def test_public_functions_are_definers_with_a_pinned_path_and_private_ones_are_not(
    routine: Routine,
) -> None:
    definer = routine.option("security") is not None and routine.option("security").boolval
    # reconcile commits, which Postgres forbids to definers; _sweep is what it calls instead.
    assert definer == ((routine.public and routine.name != "reconcile") or routine.name == "_sweep")
    if definer:
        assert "\nset search_path = pg_catalog, pg_temp\n" in routine.text
    elif not routine.public:
        assert [o for o in routine.definition.options if o.defname == "set"] == []


def test_only_private_functions_are_called() -> None:
    for routine in ROUTINES:
        public = [name for name in called(routine.queries) if not name.startswith("_")]
        assert public == [], f"{routine} calls {public}"


def test_everything_called_exists_and_everything_private_is_called() -> None:
    names = {routine.name for routine in ROUTINES}
    trees: list[Any] = [routine.queries for routine in ROUTINES]
    trees += [Routine(path).statements for path in views()]
    trees += [routine.statements[2:] for routine in ROUTINES]
    calls = set(called(trees))
    calls |= {trigger.funcname[1].sval for trigger in nodes(trees, ast.CreateTrigStmt)}
    assert calls - names == set()
    assert {name for name in names if name.startswith("_")} - calls == set()


def writers(kind: type, table: str) -> set[str]:
    """The functions with an insert into, update of or delete from the table."""
    return {
        routine.name
        for routine in ROUTINES
        for statement in nodes(routine.queries, kind)
        if relation(statement.relation) == table
    }


def test_only_emit_writes_events_and_what_writes_down_the_told_ones() -> None:
    assert writers(ast.InsertStmt, "tide.events") == {"_emit", "_write_told_events"}
    assert writers(ast.UpdateStmt, "tide.events") == set()


def test_only_finish_takes_runs_out_of_the_hot_table() -> None:
    # _insert_runs takes back a row of its own transaction: the id was that of a finished run.
    assert writers(ast.DeleteStmt, "tide.runs_active") == {"_finish", "_insert_runs"}
    assert writers(ast.InsertStmt, "tide.runs_finished") == {"_finish"}
    assert writers(ast.DeleteStmt, "tide.runs_finished") == {"_retry", "_remove_runs"}


@pytest.mark.parametrize("kind", [ast.InsertStmt, ast.UpdateStmt, ast.DeleteStmt])
def test_runs_are_written_in_one_partition_or_the_other(kind: type) -> None:
    assert writers(kind, "tide.runs") == set()


def test_reports_of_workers_begin_with_the_fence() -> None:
    for routine in ROUTINES:
        arguments = {p.name for p in routine.definition.parameters or ()}
        # Webhooks are leased as well, to a dispatcher, by rows of their own.
        if routine.public and "lease_id" in arguments and routine.topic != "webhooks":
            fences = {"_hold", "_lock_for"}  # _lock_for holds when a lease id is given
            assert fences & set(called(routine.queries)), f"{routine} has no fence"


def bare(tree: Any, *, columns: bool, rows: frozenset[str] = frozenset()) -> list[str]:
    """Names without a qualifier where columns are in scope.

    A local begins with v_; the alias of a row may stand for the whole row. In an expression
    without a table nothing can be taken for a column: there an argument may stand by itself.
    """
    if isinstance(tree, ast.ColumnRef):
        if len(tree.fields) > 1 or not isinstance(tree.fields[0], ast.String):
            return []
        name = tree.fields[0].sval
        known = name.startswith("v_") or name in rows or name in ("found", "sqlerrm", "sqlstate")
        return [name] if columns and not known else []
    if isinstance(tree, WRITES) or (isinstance(tree, ast.SelectStmt) and tree.fromClause):
        columns = True
        rows |= {alias.aliasname for alias in nodes(tree, ast.Alias)}
    if isinstance(tree, ast.Node):
        return [n for name in tree for n in bare(getattr(tree, name), columns=columns, rows=rows)]
    if isinstance(tree, list | tuple):
        return [n for member in tree for n in bare(member, columns=columns, rows=rows)]
    return []


@each_routine
def test_every_name_beside_a_table_is_qualified(routine: Routine) -> None:
    assert bare(routine.queries, columns=False) == []


@pytest.mark.parametrize("path", views(), ids=lambda path: path.stem)
def test_every_name_in_a_view_is_qualified(path: Any) -> None:
    assert bare(Routine(path).statements, columns=True) == []


@each_routine
def test_a_star_is_the_row_type_of_a_table(routine: Routine) -> None:
    for statement in nodes(routine.queries, ast.SelectStmt, *WRITES):
        common = {c.ctename for c in nodes(statement, ast.CommonTableExpr)}
        rows = {
            table.alias.aliasname
            for table in nodes(statement, ast.RangeVar)
            if table.alias and not (table.schemaname is None and table.relname in common)
        } | {
            function.alias.aliasname
            for function in nodes(statement, ast.RangeFunction)
            if function.alias and not function.alias.colnames
        }
        for target in nodes(statement, ast.ColumnRef):
            if isinstance(target.fields[-1], ast.A_Star):
                assert len(target.fields) == 2, "select *"
                assert target.fields[0].sval in rows


@each_routine
def test_a_row_is_read_as_one_value(routine: Routine) -> None:
    assert re.search(r"\bselect\s+\w+\.\*\s+into\b", routine.text) is None, (
        "v_row := (select r from … as r)"
    )


@each_routine
def test_a_limit_stands_below_an_order(routine: Routine) -> None:
    unordered = [
        select
        for select in nodes(routine.queries, ast.SelectStmt)
        if select.limitCount is not None and select.sortClause is None
    ]
    assert bool(unordered) == (routine.name in ANY_ORDER)


@each_routine
def test_every_table_has_an_alias_said_with_as(routine: Routine) -> None:
    for query in routine.queries:
        targets = [w.relation for w in nodes(query, *WRITES)]
        for table in nodes(query, ast.RangeVar):
            if table.schemaname == "tide" and not (table in targets and table.alias is None):
                assert table.alias is not None, f"{relation(table)} without an alias"
    said = r"(?m)\b(from|join|update|using) tide\.\w+ (?!as\b|set\b)\w"
    assert re.search(said, routine.text) is None


@each_routine
def test_what_is_raised_has_a_code_of_the_contract_and_says_one_fact(routine: Routine) -> None:
    for error in routine.raises:
        assert error.options["errcode"].strip("'") in ERRORS.keys() | STANDARD_ERRORS, error
        assert re.match(r"[a-z%]", error.message), error.message
        assert not error.message.endswith("."), error.message
        for sentence in ("detail", "hint"):
            text = error.options.get(sentence)
            assert text is None or re.search(r"[.?]'?\)?|format\(", text), text


def test_what_is_raised_is_in_the_table_of_errors() -> None:
    raised = {
        error.options["errcode"].strip("'") for routine in ROUTINES for error in routine.raises
    }
    described = set(re.findall(r"(?m)^\| `(TD\d{3}|\d{5})` \|", (SQL / "README.md").read_text()))
    assert raised == described


@each_of(sorted(SQL.rglob("*.sql")))
def test_sql_is_lower_case_and_narrow(path: Any) -> None:
    for number, line in enumerate(path.read_text().splitlines(), 1):
        # A text for people is not cut for a few letters.
        limit = 110 if re.match(r"\s*('|--|comment on)", line) else 100
        assert len(line) <= limit, f"{path.relative_to(ROOT)}:{number} has {len(line)} columns"
        assert line == line.rstrip(), f"{path.relative_to(ROOT)}:{number} ends in a space"
        assert "\t" not in line
        code = re.sub(r"'[^']*'|--.*", "", line)
        assert not re.search(r"\b(SELECT|FROM|WHERE|INSERT|UPDATE|DELETE|BEGIN|END|SET)\b", code)


def test_a_migration_begins_with_a_sentence_and_makes_no_function() -> None:
    for path in sorted((SQL / "migrations").glob("*.sql")):
        assert re.fullmatch(r"\d{4}_[a-z0-9_]+", path.stem)
        text = path.read_text()
        assert re.match(r"(-- tide: [a-z ,]+\n)?-- [A-Z]", text)
        kinds = {type(statement) for statement in Routine(path).statements}
        assert ast.CreateFunctionStmt not in kinds
        assert ast.CreateRoleStmt not in kinds


def test_the_contents_list_everything_with_its_comment() -> None:
    listed = dict(re.findall(r"(?m)^\| `(\w+)` \| (.*) \|$", (SQL / "README.md").read_text()))
    for routine in ROUTINES:
        comment = routine.statements[1].comment
        assert listed.get(routine.name) == comment, f"sql/README.md does not say so of {routine}"
    assert {name for name in listed if name.startswith("_")} <= {r.name for r in ROUTINES}


@each_of(ROUTINES)
def test_no_function_takes_a_lock_whose_number_any_login_can_take(routine: Routine) -> None:
    assert "advisory" not in routine.text, "lock a row that only functions of the schema can lock"
