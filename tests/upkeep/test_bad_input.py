"""Bad input, every argument of every function: refused by name, nothing written, nothing lost."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from tests.runs.acts import NOBODY, Tide, contents
from tests.support import Connection, value

LIMIT = 1048576
HUGE, TINY = 2**31 - 1, -(2**31)
DEEP = "[" * 3000 + "]" * 3000
BAD = frozenset({"22023"})
ABSENT = frozenset({"TD010"})
# Refused by the types of Postgres, before any function is called.
MALFORMED = frozenset({"22007", "22008", "22015", "22P02", "22P05"})

NAMES: list[Any] = [
    "",
    " ",
    "a b",
    "a\n",
    "a\tb",
    "naïve",
    "\N{ROCKET}",
    "\N{RIGHT-TO-LEFT OVERRIDE}abc",
    "שלום",
    "a'b",
    'a"b',
    "a\\b",
    "100%s",
    "..",
    "../etc",
    "-a",
    "{a}",
    "a;b",
    "x" * 129,
    "x" * 100_000,
]
TEXTS: list[Any] = ["", "a\nb", "a\x01b", "a\x7fb"]
PAYLOADS: list[Any] = [
    DEEP,
    '{"a": ' * 101 + "1" + "}" * 101,
    "1e100000",
    "-1e100000",
    '{"a": [1e100000]}',
    "9" * 5000,
    "[1e401]",
]
MALFORMED_JSON: list[Any] = ["", "{", "NaN", "[Infinity]", '"\\u0000"', '"\\ud800"', "nope"]
LEASES: list[Any] = [
    None,
    "0",
    "-1 second",
    "99 milliseconds",
    "25 hours",
    "1000000000 seconds",
    "178000000 years",
]
DELAYS: list[Any] = ["-1 second", "-178000000 years", "3651 days", "178000000 years"]
AFTERS: list[Any] = ["-1 second", "366 days", "178000000 years"]
TIMES: list[Any] = [
    "infinity",
    "-infinity",
    "0044-03-15 00:00+00 BC",
    "1900-01-01",
    "10000-01-01",
    "294276-12-31 23:59:59+00",
]
ATTEMPTS: list[Any] = [0, -1, 101, HUGE, TINY]
PRIORITIES: list[Any] = [-32769, 32768, HUGE, TINY]
NOTES: list[Any] = ["x" * 4097, "\N{ROCKET}" * 1025]
BACKOFFS: list[Any] = [
    "[]",
    "null",
    '"5 seconds"',
    "5",
    DEEP,
    '{"bass": "1 second"}',
    '{"base": 5}',
    '{"base": "soon"}',
    '{"base": ""}',
    '{"base": "-1 second"}',
    '{"max": "366 days"}',
    '{"max": {}}',
    '{"jitter": -0.1}',
    '{"jitter": 1.1}',
    '{"jitter": 1e100000}',
    '{"jitter": "0.1"}',
    '{"jitter": true}',
]
RUN_ID, LEASE_ID = "the run", "the lease"
OWN: dict[str, Any] = {"run_id": RUN_ID, "lease_id": LEASE_ID}
METADATA = ["[]", "1", '"text"', "true"]


def lists(*more: Any) -> list[Any]:
    return [None, "null", "{}", "3", '"text"', "[1]", "[null]", "[[]]", '["text"]', *more]


# function → (arguments that are well, argument → what is wrong with it)
TABLE: dict[str, tuple[dict[str, Any], dict[str, list[Any]]]] = {
    "create_run": (
        {"workflow": "report"},
        {
            "workflow": [None, *NAMES],
            "input": PAYLOADS,
            "metadata": [*PAYLOADS, *METADATA],
            "deadline": ["0", *DELAYS],
            "max_attempts": [None, *ATTEMPTS],
            "backoff": BACKOFFS,
        },
    ),
    "begin_run": ({"run_id": RUN_ID}, {"worker": [*TEXTS, "x" * 257], "lease": LEASES}),
    "heartbeat": (
        {"run_ids": [NOBODY], "lease_ids": [NOBODY]},
        {
            "run_ids": [None, "{}", [NOBODY, NOBODY], [None]],
            "lease_ids": [None, "{}", [NOBODY, NOBODY], [None]],
            "lease": LEASES,
        },
    ),
    "complete": (OWN, {"result": PAYLOADS}),
    "fail": (
        OWN,
        {
            "error": PAYLOADS,
            "failure_class": NAMES,
            "retry_after": AFTERS,
        },
    ),
    "release": (OWN, {"delay": [None, *AFTERS]}),
    "cancel": ({"run_id": RUN_ID}, {"reason": NOTES, "actor": NOTES}),
    "cancel_many": (
        {"workflow": "report"},
        {
            "workflow": [None],
            "reason": NOTES,
            "actor": NOTES,
            "max_runs": [None, 0, -1, 100_001, HUGE, TINY],
        },
    ),
    "error_groups": ({}, {"max_groups": [None, 0, -1, 201, HUGE, TINY]}),
    "redrive": (
        {"filters": {"queue": "q"}},
        {
            "filters": [None, {}, [], {"colour": "red"}, {"status": "failed"}],
            "max_runs": [None, 0, -1, 10_001, HUGE, TINY],
            "actor": NOTES,
        },
    ),
    "retry": ({"run_id": RUN_ID}, {"actor": NOTES, "run_at": TIMES}),
    "reschedule": (
        {"run_id": "a queued run", "run_at": "2026-12-31"},
        {"run_at": [None, *TIMES], "priority": PRIORITIES},
    ),
    "revoke_lease": ({"run_id": RUN_ID}, {"note": NOTES, "actor": NOTES}),
    "list_setting_changes": (
        {},
        {"kind": ["", "queues", "x" * 100_000], "max_changes": [None, 0, -1, 1001, HUGE, TINY]},
    ),
    "list_runs": (
        {},
        {
            "status": ["", "Queued", "deleted", "x" * 100_000],
            "max_runs": [None, 0, -1, 1001, HUGE, TINY],
        },
    ),
    "outline_events": ({"run_id": RUN_ID}, {"max_events": [None, 0, -1, 10_001, HUGE, TINY]}),
    "list_events": ({"run_id": RUN_ID}, {"max_events": [None, 0, -1, 10_001, HUGE, TINY]}),
    "enqueue": (
        {"workflow": "report"},
        {
            "workflow": [None, *NAMES],
            "input": PAYLOADS,
            "queue": [None, *NAMES],
            "dedupe_key": [*TEXTS, "x" * 513, "x" * 9000, "é" * 257],
            "priority": PRIORITIES,
            "delay": DELAYS,
            "run_at": TIMES,
            "max_attempts": ATTEMPTS,
            "deadline": ["0", *DELAYS],
            "metadata": [*PAYLOADS, *METADATA],
            "on_conflict": [None, "", "RETURN", "ignore", "x" * 100_000],
            "backoff": BACKOFFS,
            "after": ["{null}", [NOBODY] * 1001],
            "after_mode": ["all", "some"],
            "after_failure": ["cancel", "ignore"],
            "debounce": ["0", "-1 s", "1 hour"],
            "dedupe_for": ["0", "-1 s", "1 hour"],
        },
    ),
    "enqueue_many": (
        {"queue": "default", "runs": "[]"},
        {"queue": [None, *NAMES], "runs": lists(DEEP, '[{"workflow": "x"}, null]')},
    ),
    "claim": (
        {},
        {
            "queues": [None, "{}", "{null}", "{a,null}", "{{a,b},{c,d}}", ["q"] * 1001],
            "max_runs": [None, 0, -1, 1001, 1_000_000, HUGE, TINY],
            "lease": LEASES,
            "worker": [*TEXTS, "x" * 257],
            "workflows": ["{null}", "{a,null}", "{{a,b},{c,d}}"],
        },
    ),
    "settle": ({}, {"outcomes": lists(DEEP, "[{}]")}),
    "settle_and_claim": (
        {"outcomes": "[]"},
        {
            "outcomes": lists(DEEP, "[{}]"),
            "queues": [None, "{}", "{null}", ["q"] * 1001],
            "max_runs": [None, -1, 1001, 1_000_000, HUGE, TINY],
            "lease": LEASES,
            "worker": [*TEXTS, "x" * 257],
            "workflows": ["{null}"],
        },
    ),
    "set_queue": (
        {"queue": "default", "settings": "{}"},
        {
            "queue": [None, *NAMES],
            "settings": [None, "null", "[]", "3", DEEP, '{"a": 1}', '{"": 1}'],
            "actor": NOTES,
        },
    ),
    "begin_step": (
        {**OWN, "name": "plan"},
        {
            "name": [None, *TEXTS, "x" * 257, "é" * 129],
            "input": PAYLOADS,
            "contract": ["null", "[]", "3", DEEP, '{"a": 1}'],
        },
    ),
    "complete_step": ({**OWN, "name": "begun"}, {"output": PAYLOADS}),
    "fail_step": ({**OWN, "name": "begun"}, {"error": PAYLOADS}),
    "resolve_step": (
        {"run_id": RUN_ID, "name": "begun", "decision": "retry"},
        {
            "decision": [None, "", "RETRY", "perhaps", "x" * 100_000],
            "output": PAYLOADS,
            "actor": NOTES,
        },
    ),
}
DOCUMENTS = {
    "create_run": ("input", "metadata"),
    "enqueue": ("input", "metadata"),
    "complete": ("result",),
    "fail": ("error",),
    "begin_step": ("input",),
    "complete_step": ("output",),
    "fail_step": ("error",),
    "resolve_step": ("output",),
}
BY_ID = [name for name, (well, _) in TABLE.items() if "run_id" in well]


@pytest.fixture
def own(tide: Tide) -> dict[str, Any]:
    """What the words in the table stand for."""
    run = tide.started(max_attempts=3)
    tide.begin_step(run_id=run.run_id, lease_id=run.lease_id, name="begun")
    queued = tide.enqueue(workflow="report").run_id
    return {RUN_ID: run.run_id, LEASE_ID: run.lease_id, "a queued run": queued}


def standing_for(arguments: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    return {
        name: own.get(given, given) if isinstance(given, str) else given
        for name, given in arguments.items()
    }


def complaint(
    tide: Tide, function: str, arguments: dict[str, Any], codes: frozenset[str], *words: str
) -> str | None:
    """What is wrong with how the function took it: None when it was refused as it should be."""
    try:
        tide.call(function, **arguments)
    except psycopg.Error as error:
        message = error.diag.message_primary or ""
        if error.sqlstate not in codes:
            return f"{error.sqlstate}: {message[:200]}"
        if len(message) > 1000:
            return f"a message of {len(message)} characters"
        if missing := [word for word in words if word not in message]:
            return f"does not name {missing}: {message[:200]}"
        return None
    return "accepted"


@pytest.mark.parametrize("function", TABLE)
def test_bad_argument_is_refused_by_name_and_nothing_is_written(
    tide: Tide, own: dict[str, Any], function: str
) -> None:
    well, wrong = TABLE[function]
    well = standing_for(well, own)
    before = contents(tide.connection)
    complaints = {}
    for argument, given_values in wrong.items():
        for given in given_values:
            words = [argument]
            if given is None or isinstance(given, int):
                words.append("null" if given is None else str(given))
            if found := complaint(tide, function, well | {argument: given}, BAD, *words):
                complaints[f"{argument} => {str(given)[:40]!r}"] = found
    assert contents(tide.connection) == before
    assert complaints == {}


@pytest.mark.parametrize("function", BY_ID)
def test_unknown_and_null_runs_are_not_found(
    tide: Tide, own: dict[str, Any], function: str
) -> None:
    well = TABLE[function][0] | {"lease_id": NOBODY}
    if "lease_id" not in TABLE[function][0]:
        del well["lease_id"]
    before = contents(tide.connection)
    for given, told in ((None, "null"), (NOBODY, str(NOBODY))):
        found = complaint(tide, function, well | {"run_id": given}, ABSENT, "run", told)
        assert found is None, f"{given}: {found}"
    found = complaint(tide, function, well | {"run_id": "seven"}, MALFORMED, "seven")
    assert found is None, found
    assert contents(tide.connection) == before


@pytest.mark.parametrize("function", ["complete_step", "fail_step", "resolve_step"])
@pytest.mark.parametrize("name", [None, "", "x" * 10_000, "a'b\\c%d", "\N{ROCKET}"])
def test_unknown_step_names_are_not_found(
    tide: Tide, own: dict[str, Any], function: str, name: str | None
) -> None:
    well = standing_for(TABLE[function][0], own)
    assert complaint(tide, function, well | {"name": name}, ABSENT, "step") is None


@pytest.mark.parametrize(
    ("function", "argument"), [(name, word) for name in DOCUMENTS for word in DOCUMENTS[name]]
)
def test_payload_limit_is_exact(
    tide: Tide, own: dict[str, Any], function: str, argument: str
) -> None:
    well = standing_for(TABLE[function][0], own)
    if function == "resolve_step":
        tide.connection.execute(
            "update tide.steps set status = 'manual_review', finished_at = now()"
        )
        well["decision"] = "use_output"
    frame = ('{"a": "', '"}') if argument == "metadata" else ('"', '"')
    fitting = "x" * (LIMIT - len("".join(frame)))
    before = contents(tide.connection)
    large = frame[0] + fitting + "x" + frame[1]
    found = complaint(
        tide, function, well | {argument: large}, frozenset({"TD040"}), argument, str(LIMIT + 1)
    )
    assert found is None, found
    assert contents(tide.connection) == before
    tide.call(function, **well | {argument: fitting.join(frame)})
    assert contents(tide.connection) != before


@pytest.mark.parametrize(
    ("function", "argument"), [(name, word) for name in DOCUMENTS for word in DOCUMENTS[name]]
)
def test_malformed_json_is_refused(
    tide: Tide, own: dict[str, Any], function: str, argument: str
) -> None:
    well = standing_for(TABLE[function][0], own)
    before = contents(tide.connection)
    for given in MALFORMED_JSON:
        found = complaint(tide, function, well | {argument: given}, MALFORMED)
        assert found is None, f"{given}: {found}"
    assert contents(tide.connection) == before


def test_nul_never_leaves_the_client_and_the_connection_goes_on(tide: Tide) -> None:
    for argument in ("workflow", "queue", "dedupe_key", "input"):
        arguments = {"workflow": "report"} | {argument: "a\0b"}
        with pytest.raises(psycopg.DataError):
            tide.enqueue(**arguments)
    assert tide.enqueue(workflow="report").status == "queued"


@pytest.mark.parametrize(
    "payload",
    [
        "[" * 100 + "]" * 100,
        "9" * 400,
        "-1e-300",
        '{"a": 1, "a": 2}',
        '"\\ud83d\\ude80"',
        "null",
        "0.1e1",
        "[]",
        '""',
    ],
    ids=lambda payload: payload[:20],
)
def test_odd_but_readable_payload_comes_back(tide: Tide, payload: str) -> None:
    run_id = tide.enqueue(workflow="report", input=payload).run_id
    same = "select r.input = %s::jsonb from tide.runs as r where r.run_id = %s"
    assert value(tide.connection, same, payload, run_id)


@pytest.mark.parametrize("length", [1, 63, 64, 65, 128])
def test_long_names_are_kept_whole(tide: Tide, length: int) -> None:
    names = ["q" * (length - 1) + end for end in "ab"]
    for name in names:
        tide.set_queue(queue=name, settings={"concurrency": 1})
        tide.enqueue(workflow=name, queue=name)
    for name in names:
        (run,) = tide.claim(queues=[name], max_runs=5)
        assert (run.queue, run.workflow) == (name, name)


@pytest.mark.parametrize(
    "key",
    ["x" * 512, "é" * 256, "a'b", 'a"b', "a\\b", "%s %I {0}", "\N{ROCKET}", "..", " ", "שלום"],
)
def test_hostile_dedupe_keys_and_step_names_are_only_text(tide: Tide, key: str) -> None:
    run = tide.started(dedupe_key=key)
    assert tide.enqueue(workflow="report", dedupe_key=key).run_id == run.run_id
    name = key.encode()[:256].decode(errors="ignore")
    own = {"run_id": run.run_id, "lease_id": run.lease_id}
    tide.begin_step(**own, name=name, contract={"replay": "manual"})
    tide.fail_step(**own, name=name)
    assert tide.describe_run(run_id=run.run_id)["steps"][0]["name"] == name
    assert tide.resolve_step(run_id=run.run_id, name=name, decision="fail").name == name


@pytest.mark.parametrize("text", ["a'b\"c\\d%s", "\N{ROCKET}" * 1024, "a\nb", ""])
def test_hostile_remarks_are_only_text(tide: Tide, text: str) -> None:
    run = tide.create_run(workflow="report")
    ended = tide.cancel(run_id=run.run_id, reason=text, actor=text)
    assert (ended.cancel_reason, ended.cancel_actor) == (text, text)


@pytest.mark.parametrize("name", NAMES)
def test_hostile_filters_match_nothing_and_write_nothing(tide: Tide, name: str) -> None:
    tide.enqueue(workflow="report")
    before = contents(tide.connection)
    assert tide.list_runs(queue=name) == []
    assert tide.list_runs(workflow=name) == []
    assert tide.list_runs(metadata=DEEP) == []
    assert tide.cancel_many(queue=name) == 0
    assert tide.cancel_many(workflow=name) == 0
    assert contents(tide.connection) == before


def test_too_many_elements_are_refused(tide: Tide) -> None:
    outcome = {"run_id": NOBODY, "lease_id": NOBODY}
    for function, arguments in (
        ("settle", {"outcomes": [outcome] * 10_001}),
        ("enqueue_many", {"queue": "q", "runs": [{}] * 100_001}),
        ("heartbeat", {"run_ids": [NOBODY] * 10_001, "lease_ids": [NOBODY] * 10_001}),
    ):
        argument = next(name for name in arguments if name != "queue")
        assert complaint(tide, function, arguments, BAD, argument, "00") is None


def test_bad_row_in_the_queue_keeps_no_other_from_being_claimed(
    tide: Tide, connect: Callable[..., Connection]
) -> None:
    """However it came there: payloads that only a superuser could have written."""
    tide.enqueue_many(queue="default", runs=[{"workflow": "report"}] * 3)
    tide.connection.execute(
        "update tide.runs set input = '1e100000' where run_id = (select min(run_id::text)::uuid "
        "from tide.runs)"
    )
    rows = tide.connection.execute(
        "select run_id, input::text from tide.claim(max_runs => 3)"
    ).fetchall()
    assert len(rows) == 3


def test_run_id_that_is_no_uuid7_is_as_good_as_any(tide: Tide) -> None:
    for run_id in (uuid4(), "00000000-0000-0000-0000-000000000000", "f" * 32):
        answer = tide.enqueue(workflow="report", run_id=run_id)
        assert tide.get_run(run_id=answer.run_id).status == "queued"
