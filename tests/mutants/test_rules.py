"""The list of mutants fits the sources of today; `make mutants` applies them."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.mutants.rules import MUTANTS, Mutant
from tests.servers import ROOT


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.rule)
def test_what_a_mutant_changes_is_there_once(mutant: Mutant) -> None:
    text = (ROOT / mutant.file).read_text(encoding="utf-8")
    assert mutant.applied_to(text) != text


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.rule)
def test_tests_that_are_to_kill_a_mutant_are_there(mutant: Mutant) -> None:
    assert mutant.killed_by
    for test in mutant.killed_by:
        path, _, name = test.partition("::")
        assert f"def {name.partition('[')[0]}(" in (ROOT / path).read_text(encoding="utf-8")


def test_enough_rules_of_either_language_have_a_mutant_each_its_own() -> None:
    assert set(Counter(mutant.rule for mutant in MUTANTS).values()) == {1}
    changes = Counter((mutant.file, mutant.old, mutant.new) for mutant in MUTANTS)
    assert set(changes.values()) == {1}
    languages = Counter(mutant.file.partition("/")[0] for mutant in MUTANTS)
    assert languages["sql"] >= 60
    assert languages["tidebase_pg"] >= 20
