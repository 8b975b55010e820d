"""The form of an answer: each kind of field, what is wrong beside it, nothing typed is lost."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import pytest

from tests.studio.conftest import House, Tab, Window
from tests.studio.scene import REPLY
from tests.support import Connection, one, value
from tidebase_pg.server.studio import answers

MakeTab = Callable[..., Tab]
MakeWindow = Callable[..., Window]


def opened(connection: Connection, answer: Any, **rules: Any) -> Any:
    run_id = value(connection, "select run_id from tide.create_run('ask')")
    run = one(connection, "select * from tide.begin_run(%s)", run_id)
    return one(
        connection,
        "select * from tide.open_gate(%s, %s, 'ask', 'How much?', rules => %s)",
        run_id,
        run.lease_id,
        json.dumps({"answer": answer, **rules}),
    )


def decided(connection: Connection, gate_id: object) -> Any:
    return one(connection, "select * from tide.get_gate(%s)", gate_id)


def said(text: str) -> dict[str, str]:
    """What the page says beside which field."""
    return dict(re.findall(r'<p class="field-said" id="([^"]+)-said">(.*?)</p>', text))


def names(connection: Connection, schema: Any) -> dict[str, str]:
    """The input of each field by its key, in the order in which the database keeps them."""
    form = answers.fields(value(connection, "select %s::jsonb", json.dumps(schema)))
    assert form is not None
    return {one.key: one.name for field in form for one in (field, *field.parts)}


@pytest.mark.parametrize(
    ("schema", "kind", "typed", "answer"),
    [
        ({"type": "string", "maxLength": 9}, "text", "ebb", "ebb"),
        ({"type": "string"}, "text", "two\r\nlines", "two\nlines"),
        ({"type": "integer"}, "number", "12", 12),
        ({"type": "number"}, "number", "-1.5e2", -150.0),
        ({"type": "boolean"}, "choice", "1", False),
        ({"enum": ["a", 1, None, True]}, "choice", "2", None),
        ({"const": "yes"}, "choice", "0", "yes"),
        ({"type": "array", "items": {"type": "string"}}, "lines", "a\r\n\r\n b ", ["a", "b"]),
        ({"type": ["null", "string"]}, "text", "", None),
        ({"anyOf": [{"type": "integer"}, {"type": "null"}]}, "number", "", None),
        ({"anyOf": [{"type": "integer"}, {"type": "string"}]}, "json", '"x"', "x"),
        ({"type": "array", "items": {"type": "integer"}}, "json", "[1]", [1]),
        ({}, "json", "{}", {}),
    ],
)
def test_each_kind_of_value_has_a_field_that_reads_it(
    schema: Any, kind: str, typed: str, answer: Any
) -> None:
    form = answers.fields({"type": "object", "required": ["a"], "properties": {"a": schema}})
    assert form is not None
    assert (form[0].kind, form[0].place) == (kind, "payload.a")
    assert answers.read(form, {form[0].name: typed}) == ({"a": answer}, {})


def test_what_is_left_empty_is_not_in_the_answer() -> None:
    form = answers.fields(REPLY)
    assert form is not None
    assert [field.key for field in form[:4]] == REPLY["required"]
    assert answers.read(form, {}) == ({"address": {}}, {})


def test_choices_of_many_and_defaults_come_back_as_they_are() -> None:
    schema = {
        "type": "object",
        "properties": {
            "tags": {"type": "array", "items": {"enum": ["a", 1, True]}, "default": [1]},
            "n": {"type": "integer", "default": 7},
            "on": {"type": "boolean", "default": False},
            "text": {"type": "string", "default": "x"},
            "lines": {"type": "array", "items": {"type": "string"}, "default": ["p", "q"]},
            "any": {"default": {"k": 1}},
        },
    }
    form = answers.fields(schema)
    assert form is not None
    filled = {key: part["default"] for key, part in schema["properties"].items()}  # type: ignore[attr-defined]
    assert answers.read(form, answers.initial(form)) == (filled, {})


@pytest.mark.parametrize(
    "schema",
    [
        None,
        {"type": "string"},
        {"anyOf": [{"type": "object", "properties": {"a": {}}}]},
        {"type": "object"},
        {"type": "object", "properties": {f"p{n}": {} for n in range(101)}},
    ],
)
def test_what_no_form_fits_is_written_as_json(schema: Any) -> None:
    assert answers.fields(schema) is None


def test_what_the_database_says_of_a_place_stands_beside_its_field() -> None:
    form = answers.fields(REPLY)
    assert form is not None
    name = {one.key: one.name for field in form for one in (field, *field.parts)}
    said_of = {
        "payload.address.city is missing": {name["city"]: "City is missing"},
        "payload.address is missing": {name["address"]: "Where it goes is missing"},
        "payload.items[1] is number and not string": {
            name["items"]: "Items[1] is number and not string"
        },
        "payload.amounts is not asked for": {},
        "something else": {},
    }
    for problem, beside in said_of.items():
        assert answers.beside(form, problem) == beside


def test_an_answer_that_does_not_fit_is_kept_and_what_is_wrong_stands_beside_its_field(
    tab: MakeTab, connection: Connection
) -> None:
    made = opened(connection, REPLY)
    mine, page, name = tab("operator"), f"/gates/{made.gate_id}", names(connection, REPLY)
    fields = mine.fields(page, page)
    sent = {
        name["amount"]: "lots",
        name["reason"]: "2",
        name["city"]: "Brest <b>",
        name["parcels"]: "1.5",
        name["extra"]: "{",
        "note": "as they said",
        "decision": "approved",
    }
    answer = mine.post(page, **fields, **sent)
    assert answer.status_code == 400
    assert said(answer.text) == {
        name["amount"]: "Amount in EUR is no number: lots",
        name["parcels"]: "Parcels is no whole number: 1.5",
        name["extra"]: said(answer.text)[name["extra"]],
    }
    assert "Anything else is no JSON" in said(answer.text)[name["extra"]]
    for kept in ("lots", "1.5", "Brest &lt;b&gt;", "as they said"):
        assert kept in answer.text
    assert f'name="{name["reason"]}" value="2" required checked' in answer.text
    assert decided(connection, made.gate_id).status == "pending"

    # The database has the last word, at the place it names.
    better = {**sent, name["amount"]: "900", name["parcels"]: "", name["extra"]: ""}
    assert said(mine.post(page, **fields, **better).text) == {
        name["notify"]: "Tell the customer is missing"
    }
    better[name["notify"]] = "0"
    assert said(mine.post(page, **fields, **better).text) == {
        name["amount"]: "Amount in EUR is above 500"
    }
    better |= {name["amount"]: "12.5", name["items"]: "lamp\r\nbox"}
    assert "Approved" in mine.post(page, **fields, **better).text
    found = decided(connection, made.gate_id)
    assert (found.status, found.payload) == (
        "approved",
        {
            "amount": 12.5,
            "reason": "goodwill",
            "notify": True,
            "address": {"city": "Brest <b>"},
            "items": ["lamp", "box"],
        },
    )


def test_a_rejection_needs_no_answer(tab: MakeTab, connection: Connection) -> None:
    made = opened(connection, REPLY)
    mine, page = tab("operator"), f"/gates/{made.gate_id}"
    mine.act(page, page, decision="rejected", note="no")
    found = decided(connection, made.gate_id)
    assert (found.status, found.payload) == ("rejected", {})


def test_an_answer_no_form_fits_is_json_that_is_kept(tab: MakeTab, connection: Connection) -> None:
    made = opened(connection, {"type": "array", "items": {"type": "integer"}, "minItems": 1})
    mine, page = tab("operator"), f"/gates/{made.gate_id}"
    for typed, problem in (
        ("[1,", "payload is no JSON"),
        ("[]", "payload has fewer than 1 elements"),
    ):
        answer = mine.act(page, page, decision="approved", payload=typed)
        assert answer.status_code == 400
        assert problem in said(answer.text)["payload"]
        assert f"\n{typed}</textarea>" in answer.text
    mine.act(page, page, decision="approved", payload="[1, 2]")
    assert decided(connection, made.gate_id).payload == [1, 2]


def test_who_comes_by_a_link_keeps_what_was_typed_and_sees_no_other_gate(
    house: House, tab: MakeTab, connection: Connection
) -> None:
    gates, tokens = house.scene.gates, house.scene.tokens
    page = f"/gates/{gates['settle']}"
    stranger = tab(None)
    shown = stranger.get(f"{page}?token={tokens['settle']}")
    if shown.url.path == "/studio/login":
        token = one(connection, "select * from tide.gate_tokens(array[%s])", gates["settle"]).token
        shown = stranger.get(f"{page}?token={token}")
    else:
        token = tokens["settle"]
    assert "Block the customer" not in shown.text
    fields = stranger.fields(f"{page}?token={token}", page)
    answer = stranger.post(page, **fields, decision="approved", note="a note")
    assert said(answer.text) == {"actor": "Your name is missing"}
    assert "a note" in answer.text
    refused = stranger.post(page, **fields, decision="rejected", actor="Aurélie", note="a note")
    assert refused.status_code == 403
    assert "may not decide" in refused.text
    assert "a note" in refused.text


def test_a_run_that_asks_twice_says_so_on_the_list_its_page_and_beside_each_gate(
    house: House, tab: MakeTab
) -> None:
    gates, mine = house.scene.gates, tab("operator")
    pages = {
        path: mine.get(path).text
        for path in ("/gates", f"/runs/{house.scene.runs['return']}", f"/gates/{gates['settle']}")
    }
    for path, text in pages.items():
        for gate in ("settle", "block"):
            assert f"/gates/{gates[gate]}" in text, path
        assert "takes 2 decisions, has 1" in text, path
        assert re.search(r"<b>ann</b> approved", text), path
        assert "for ann, bob, mira" in text, path
        assert re.search(r"escalates to chief\s*<time", text), path
    viewer = tab("viewer")
    assert "How do we settle" not in viewer.get(f"/runs/{house.scene.runs['return']}").text


@pytest.mark.parametrize("scripts", [True, False])
def test_a_form_is_filled_in_on_a_phone_with_and_without_scripts(
    window: MakeWindow, connection: Connection, scripts: bool
) -> None:
    made = opened(connection, REPLY)
    phone = window("operator", width=360, java_script_enabled=scripts)
    page = phone.go(f"/gates/{made.gate_id}")
    page.get_by_label("Amount in EUR").fill("900")
    page.get_by_role("group", name="Reason").get_by_label("late").check()
    page.get_by_role("group", name="Tell the customer").get_by_label("No").check()
    page.get_by_label("City").fill("Brest")
    page.get_by_label("Items").fill("lamp\nbox")
    page.get_by_role("button", name="Approve").click()
    page.get_by_text("Amount in EUR is above 500").wait_for()
    amount = page.get_by_label("Amount in EUR")
    below = page.get_by_text("Amount in EUR is above 500").bounding_box()
    assert amount.get_attribute("aria-invalid") == "true"
    assert 0 <= below["y"] - amount.bounding_box()["y"] < 80
    assert page.get_by_label("Items").input_value() == "lamp\nbox"
    if scripts:
        wide = "document.documentElement.scrollWidth <= document.documentElement.clientWidth"
        assert page.evaluate(wide)
    amount.fill("90")
    # The browser notes the answer that refused.
    assert all("400 (Bad Request)" in line for line in phone.wrong)
    phone.wrong.clear()
    page.get_by_role("button", name="Approve").click()
    page.get_by_text("Approved. The run goes on.").wait_for()
    assert decided(connection, made.gate_id).payload == {
        "amount": 90, "reason": "late", "notify": False, "address": {"city": "Brest"},
        "items": ["lamp", "box"],
    }  # fmt: skip


def test_a_vote_of_somebody_else_shows_on_the_open_list(
    window: MakeWindow, connection: Connection
) -> None:
    made = opened(connection, {"type": "object"}, quorum=2)
    page = window("operator").go("/gates")
    page.locator("[data-live-state=on]").wait_for()
    connection.execute("select tide.decide_gate(%s, 'approved', 'zoe')", (made.gate_id,))
    page.locator("article", has=page.locator(f"a[href$='{made.gate_id}']")).get_by_text(
        "zoe"
    ).first.wait_for()
    connection.execute("select tide.decide_gate(%s, 'rejected', 'yan')", (made.gate_id,))
