"""What the package tells coding agents is true, and the site has every page."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.examples.documents import FENCED
from tests.examples.test_documents import environment
from tests.servers import ROOT
from tidebase_pg import errors
from tidebase_pg.cli import main
from tools import site

SKILL = (ROOT / "tidebase_pg/guide/SKILL.md").read_text(encoding="utf-8")


def test_program_of_the_skill_runs(dsn: str, tmp_path: Path) -> None:
    (program,) = [code for language, code, _ in FENCED.findall(SKILL) if language == "python"]
    ending = (
        'run_id = tide.enqueue(order, input={"sku": 7}).run_id\n'
        "tide.work(drain=True)\n"
        'assert tide.runs.get(run_id).result == {"charge": "ch_1"}\n'
    )
    (tmp_path / "order.py").write_text(program + ending)
    done = subprocess.run(
        [sys.executable, "order.py"],
        cwd=tmp_path, env=environment(dsn), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_codes_the_skill_names_are_those_of_the_errors() -> None:
    named = dict(re.findall(r"(TD\d{3}) ([a-z ]+)", SKILL))
    known = {
        error.sqlstate
        for error in vars(errors).values()
        if isinstance(error, type) and issubclass(error, errors.Refusal) and error.sqlstate
    }
    assert len(named) >= 6
    assert set(named) <= known


def test_commands_the_skill_names_exist() -> None:
    group = main.commands
    for command in re.findall(
        r"`(?:tidebase-pg )?((?:runs|queues|gates) \w+|doctor|work|skill)\b", SKILL
    ):
        first, _, second = command.partition(" ")
        assert first in group, command
        subcommands = getattr(group[first], "commands", None)
        assert subcommands is None or second in subcommands, command


def test_skill_is_printed_and_installed(tmp_path: Path) -> None:
    runner = CliRunner()
    assert runner.invoke(main, ["skill"]).output == SKILL
    first = runner.invoke(main, ["skill", "--install", str(tmp_path)])
    target = tmp_path / "tidebase-pg" / "SKILL.md"
    assert first.output.strip() == str(target)
    assert target.read_text(encoding="utf-8") == SKILL
    assert runner.invoke(main, ["skill", "--install", str(tmp_path)]).exit_code == 0


def test_a_skill_with_other_text_is_replaced_only_by_force(tmp_path: Path) -> None:
    runner = CliRunner()
    target = tmp_path / "tidebase-pg" / "SKILL.md"
    target.parent.mkdir()
    target.write_text("mine")
    refused = runner.invoke(main, ["skill", "--install", str(tmp_path)])
    assert refused.exit_code == 1
    assert "--force" in refused.output
    assert target.read_text() == "mine"
    assert runner.invoke(main, ["skill", "--install", str(tmp_path), "--force"]).exit_code == 0
    assert target.read_text(encoding="utf-8") == SKILL


def test_every_page_has_its_place_in_the_navigation() -> None:
    listed = [place for _, place in site.in_navigation()]
    assert sorted(listed) == sorted([*site.sources(), site.REFERENCE])
    index = (ROOT / "docs/index.md").read_text(encoding="utf-8")
    in_docs = {place for place in site.sources() if (ROOT / "docs" / place).is_file()}
    assert [page for page in in_docs - {"index.md"} if f"]({page})" not in index] == []


@pytest.mark.parametrize("place", sorted(site.sources()))
def test_links_of_the_site_lead_to_its_own_pages(place: str) -> None:
    text = site.rewritten(site.sources()[place], place)
    for _, target, _ in site.LINK.findall(text):
        found = ((Path("/") / place).parent / target).resolve().relative_to("/").as_posix()
        is_picture = found.endswith(".png") and (ROOT / "docs" / found).is_file()
        assert is_picture or found in site.sources(), target


def test_index_for_models_names_every_page_and_the_other_file_has_them_all(tmp_path: Path) -> None:
    texts = {place: site.rewritten(source, place) for place, source in site.sources().items()}
    site.write_for_models(tmp_path, texts)
    lines = (tmp_path / "llms.txt").read_text(encoding="utf-8").splitlines()
    listed = [line for line in lines if line.startswith("- [")]
    assert len(listed) == len(texts)
    assert [line for line in listed if not re.search(r"\): \S.+[^:]\.$", line)] == []
    # A sentence, not the first line of a block of code.
    assert [line for line in listed if re.search(r"\): (from|import|\w+ ?=)", line)] == []
    assert max(map(len, listed)) < 330
    whole = (tmp_path / "llms-full.txt").read_text(encoding="utf-8")
    assert [place for place, text in texts.items() if text.strip() not in whole] == []
