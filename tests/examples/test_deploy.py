"""The deployment examples name metrics, commands and options that exist."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.servers import ROOT
from tests.support import Connection
from tidebase_pg.cli import main

DEPLOY = ROOT / "examples" / "deploy"
METRICS = ROOT / "sql/functions/upkeep/_metrics.sql"
METRIC = re.compile(r"\btide_[a-z_]+\b")
COMMAND = re.compile(r"tidebase-pg (\w[\w-]*(?: \w+)?)((?: --[\w-]+(?: [\w:]+)?)*)")
OPTION = re.compile(r"--[\w-]+")
FILES = sorted(path for path in DEPLOY.iterdir() if path.name != "README.md")


def text_of(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def known_metrics() -> set[str]:
    return set(METRIC.findall(text_of(METRICS)))


@pytest.mark.parametrize("name", ["prometheus-alerts.yaml", "grafana.json"])
def test_every_metric_an_example_asks_for_is_made_by_the_view(name: str) -> None:
    asked = set(METRIC.findall(text_of(DEPLOY / name)))
    assert len(asked) >= 8
    assert asked <= known_metrics()


def test_every_query_of_the_dashboard_runs(connection: Connection) -> None:
    dashboard = json.loads(text_of(DEPLOY / "grafana.json"))
    queries = [target["rawSql"] for panel in dashboard["panels"] for target in panel["targets"]]
    assert len(queries) >= 10
    for query in queries:
        names = [column.name for column in connection.execute(query).description or ()]
        assert names in (["value"], ["time", "metric", "value"])


def test_every_command_and_option_an_example_names_exists() -> None:
    named = 0
    for path in FILES:
        for words, options in COMMAND.findall(text_of(path)):
            named += 1
            first, *rest = words.split()
            command = main.commands[first]
            if subcommands := getattr(command, "commands", None):
                command = subcommands[rest[0]]
            known = {name for parameter in command.params for name in parameter.opts}
            assert set(OPTION.findall(options)) <= known, f"{path.name}: {words}{options}"
    assert named >= 6


def test_readme_lists_every_file() -> None:
    listed = set(re.findall(r"\]\(([\w.-]+)\)", text_of(DEPLOY / "README.md")))
    assert listed == {path.name for path in FILES}
