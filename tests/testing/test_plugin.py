"""The pytest plugin, in test suites of its own."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.servers import RunningServer

pytest_plugins = ["pytester"]

APPLICATION = """
from tidebase_pg import Run, Tidebase

tide = Tidebase("postgresql:///a_database_that_is_never_used")


@tide.workflow("greet", queue="greetings")
def greet(run: Run, input: dict) -> str:
    return run.step("hello", lambda: f"hello {input['name']}")
"""


@pytest.fixture(autouse=True)
def same_server(monkeypatch: pytest.MonkeyPatch, server: RunningServer) -> None:
    monkeypatch.setenv("TIDE_TEST_SERVER", server.dsn())


def test_a_suite_names_its_application_and_each_test_has_a_database(
    pytester: pytest.Pytester,
) -> None:
    pytester.makeini("[pytest]\ntide_app = greeting:tide\npythonpath = .\n")
    pytester.makepyfile(
        greeting=APPLICATION,
        test_greeting="""
        def test_greets(tide_test):
            run = tide_test.enqueue("greet", input={"name": "Ann"})
            assert tide_test.drain().completed == [run]
            assert run.result == "hello Ann"

        def test_sees_nothing_of_the_other_test(tide_test):
            tide_test.refute_enqueued("greet")
            assert tide_test.sql.execute("select count(*) from tide.runs").fetchone()[0] == 0
        """,
    )
    pytester.runpytest_subprocess("-p", "no:cacheprovider").assert_outcomes(passed=2)


def test_a_suite_without_an_application_is_told_how_to_name_it(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test_nothing(tide_test): pass")
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*which application is under test?*"])


def test_a_fixture_of_the_suite_may_give_the_application(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        f"""
        import pytest
        {APPLICATION.replace(chr(10), chr(10) + "        ")}

        @pytest.fixture
        def tide_app():
            return tide

        def test_greets(tide_test):
            run = tide_test.enqueue(greet, input={{"name": "Ann"}})
            tide_test.drain()
            assert run.result == "hello Ann"
        """
    )
    pytester.runpytest_subprocess("-p", "no:cacheprovider").assert_outcomes(passed=1)


def test_the_plugin_imports_nothing_until_it_is_used(pytester: pytest.Pytester) -> None:
    code = (
        "import sys, pytest_tidebase; "
        "print([name for name in ('tidebase_pg', 'psycopg') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
