"""What is done through forms, without a script: done once, by whom, and told as it is."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from html import unescape
from typing import Any
from uuid import UUID

import pytest

from tests.studio.conftest import House, Tab
from tests.support import Connection, one, value

MakeTab = Callable[..., Tab]


def note(answer: Any) -> str:
    """What the page says was done."""
    found = re.search(r'<p class="note (\w+)" role="status">(.*?)</p>', answer.text, re.S)
    assert found is not None, answer.text[:3000]
    return f"{found[1]}: {found[2]}"


def enqueue(
    connection: Connection, workflow: str = "w", queue: str = "acts", **options: Any
) -> UUID:
    names = "".join(f", {name} => %s" for name in options)
    made: UUID = value(
        connection,
        f"select run_id from tide.enqueue(%s, queue => %s{names})",
        workflow,
        queue,
        *options.values(),
    )
    return made


def begun(connection: Connection, workflow: str = "w") -> Any:
    run_id = value(connection, "select run_id from tide.create_run(%s)", workflow)
    return one(connection, "select * from tide.begin_run(%s)", run_id)


def failed(connection: Connection, *, steps: bool = True) -> UUID:
    run = begun(connection)
    if steps:
        for name in ("one", "two"):
            connection.execute(
                "select tide.begin_step(%s, %s, %s)", (run.run_id, run.lease_id, name)
            )
            connection.execute(
                "select tide.complete_step(%s, %s, %s, '{\"n\": 1}')",
                (run.run_id, run.lease_id, name),
            )
    connection.execute(
        'select tide.fail(%s, %s, \'{"message": "no"}\', false)', (run.run_id, run.lease_id)
    )
    return UUID(str(run.run_id))


def status(connection: Connection, run_id: UUID) -> str:
    found: str = value(connection, "select status from tide.get_run(%s)", run_id)
    return found


def log(connection: Connection, run_id: UUID, kind: str) -> list[Any]:
    rows = connection.execute(
        "select payload from tide.list_events(%s) where type = %s order by seq", (run_id, kind)
    )
    return [row.payload for row in rows]


def test_a_cancel_carries_who_and_why_into_the_event_log(
    tab: MakeTab, connection: Connection
) -> None:
    run_id = enqueue(connection)
    page = f"/runs/{run_id}"
    answer = tab("operator").act(page, f"{page}/cancel", reason="customer left")
    assert note(answer) == "done: Cancelled."
    assert answer.url.path == f"/studio{page}"
    (event,) = log(connection, run_id, "run.cancelled")
    assert (event["actor"], event["reason"]) == ("mira-operator", "customer left")


def test_who_shares_a_key_is_told_apart_by_name(tab: MakeTab, connection: Connection) -> None:
    run_id = enqueue(connection)
    tab("all", name="jo").act(f"/runs/{run_id}", f"/runs/{run_id}/cancel", reason="x")
    assert log(connection, run_id, "run.cancelled")[0]["actor"] == "jo"


def claimed(connection: Connection, queue: str) -> Any:
    return one(connection, "select * from tide.claim(array[%s], worker => 'w@host')", queue)


def test_a_release_takes_the_run_from_its_worker_and_says_who_did_it(
    tab: MakeTab, connection: Connection
) -> None:
    run_id = enqueue(connection, queue="release")
    assert claimed(connection, "release").run_id == run_id
    page = f"/runs/{run_id}"
    answer = tab("operator").act(page, f"{page}/revoke", note="hangs")
    assert note(answer) == "done: The run is back: queued. Its worker was told to stop."
    assert status(connection, run_id) == "queued"
    (event,) = log(connection, run_id, "run.requeued")
    said = (event["reason"], event["actor"], event["note"], event["worker"])
    assert said == ("revoked", "mira-operator", "hangs", "w@host")


def test_a_release_posted_again_takes_the_run_from_nobody_else(
    tab: MakeTab, connection: Connection
) -> None:
    run_id = enqueue(connection, queue="release-again")
    claimed(connection, "release-again")
    mine = tab("operator")
    page = f"/runs/{run_id}"
    fields = mine.fields(page, f"{page}/revoke")
    first = mine.post(f"{page}/revoke", **fields)
    assert note(first).startswith("done: The run is back")
    assert note(mine.post(f"{page}/revoke", **fields)).startswith("done: The run is back")
    claimed(connection, "release-again")
    refused = mine.post(f"{page}/revoke", **fields)
    assert note(refused).startswith("refused: run")
    assert "has been leased again, by w@host" in note(refused)
    assert status(connection, run_id) == "running"
    assert len(log(connection, run_id, "run.requeued")) == 1


def test_a_change_of_a_queue_says_who_changed_what_and_when(
    tab: MakeTab, connection: Connection
) -> None:
    enqueue(connection, queue="audited")
    page = "/queues/audited"
    mine = tab("all", name="jo")
    answer = mine.act(page, page, concurrency="7", old_concurrency="")
    assert note(answer) == "done: audited: concurrency = 7."
    mine.act(page, page, concurrency="9", old_concurrency="7")
    (second, first) = connection.execute(
        "select * from tide.list_setting_changes('queue', 'audited')"
    ).fetchall()
    assert (first.actor, first.before, first.after) == ("jo", {}, {"concurrency": 7})
    assert (second.before, second.after) == ({"concurrency": 7}, {"concurrency": 9})
    shown = tab("operator").get(page).text
    assert "concurrency <code>7</code> → <code>9</code>" in shown
    assert "jo, " in shown
    assert "→" not in tab("viewer").get(page).text
    assert "queue <b>audited</b>" in tab("operator").get("/doctor").text


def test_the_page_of_a_run_names_the_lanes_it_holds_or_waits_for(
    tab: MakeTab, connection: Connection
) -> None:
    connection.execute("select tide.set_lane('shown', '{\"total\": 1}')")
    runs = [
        enqueue(connection, queue="shown", lane="shown", lane_key=key) for key in ("acme", "bolt")
    ]
    connection.execute("select tide.claim('{shown}')")
    pages = [tab("viewer").get(f"/runs/{run}").text for run in runs]
    assert re.search(r'in lane <a href="[^"]*/lanes/shown">shown</a> as acme', pages[0])
    assert re.search(r'for lane <a href="[^"]*/lanes/shown">shown</a> as bolt', pages[1])


def test_a_lane_is_changed_and_throttled_as_the_page_showed_it_or_not_at_all(
    tab: MakeTab, connection: Connection
) -> None:
    connection.execute("select tide.set_lane('tuned', '{\"total\": 1, \"per_key\": 1}')")
    for key in ("acme", "bolt"):
        enqueue(connection, queue="in-lanes", lane="tuned", lane_key=key)
    connection.execute("select tide.claim('{in-lanes}', 9)")
    mine = tab("operator")
    page = "/lanes/tuned"
    token = mine.form_token(page)

    def act(**fields: str) -> str:
        return note(mine.post(page, csrf=token, **fields))

    listed = mine.get("/lanes").text
    assert re.search(r'/lanes/tuned">tuned</a>.*?1 <span class="dim">of 1</span>', listed, re.S)
    text = mine.get(page).text
    assert 'name="old_total" value="1"' in text
    assert re.search("acme</th>.*?bolt</th>", text, re.S)
    assert act(total="3", old_total="1") == "done: tuned: total = 3."
    assert "total is 3 by now, not 1" in act(total="9", old_total="1")
    assert "no whole number" in act(total="many", old_total="3")
    assert "total is out of range: 0" in act(total="0", old_total="3")
    assert act(total="", old_total="3") == "done: tuned: total = not set."
    assert act(total="", old_total="") == "done: Nothing to change."
    assert "neither yes nor empty" in act(fair="maybe", old_fair="")
    assert act(fair="yes", old_fair="") == "done: tuned: fair = yes."
    assert "keys in turn" in mine.get(page).text
    assert act(fair="", old_fair="yes") == "done: tuned: fair = not set."
    adaptive = {"total": "8", "old_total": "", "adaptive": "yes", "old_adaptive": ""}
    assert act(**adaptive) == "done: tuned: total = 8, adaptive = yes."
    assert "adaptive_min is above total: 9 &gt; 8" in act(adaptive_min="9", old_adaptive_min="")
    assert act(adaptive_min="2", old_adaptive_min="") == "done: tuned: adaptive_min = 2."
    assert "adaptive</b> from 2 to 8" in mine.get(page).text
    connection.execute(
        "select tide.release(r.run_id, r.lease_id, '0 s', '429') from tide.runs_active as r "
        "where r.lane = 'tuned' and r.lane_key = 'acme'"
    )
    assert re.search(r'0 <span class="dim">of 4, at best 8</span>', mine.get("/lanes").text)
    assert act(adaptive="", old_adaptive="yes") == "done: tuned: adaptive = not set."
    assert act(total="", old_total="8") == "done: tuned: total = not set."
    units = {"units": "50", "old_units": "", "unit": "tokens", "old_unit": ""}
    assert act(**units) == "done: tuned: units = 50, unit = tokens."
    assert re.search(r"<b>0</b> of 50 tokens used in", mine.get(page).text)
    assert re.search(r'0 <span class="dim">of 50</span>', mine.get("/lanes").text)
    assert 'name="period" value="0:01:00"' in mine.get(page).text
    period = {"period": "30 s", "old_period": "0:01:00"}
    assert act(**period) == "done: tuned: period = 30 s."
    assert "period is 0:00:30 by now, not 0:01:00" in act(period="1 h", old_period="0:01:00")
    assert "period" in act(period="soon", old_period="0:00:30")
    assert "period" in act(period="0 s", old_period="0:00:30")
    assert act(period="", old_period="0:00:30") == "done: tuned: period = not set."
    throttle = {"act": "throttle", "minutes": "30", "reason": "status <429>"}
    assert act(**throttle, old_until="").startswith("done: tuned is throttled until 20")
    assert "It is throttled until 20" in act(**throttle, old_until="")
    shown = mine.get(page).text
    assert "status &lt;429&gt;" in shown
    assert "throttle_reason <code>not set</code>" in shown
    until = mine.fields(page, page)["old_until"]
    for minutes in ("soon", "nan", "-1", "1e9"):
        answer = act(act="throttle", minutes=minutes, old_until=until)
        assert "minutes" in answer, answer
    assert "Nothing was changed" in act(act="lift", old_until="2035-01-01T00:00:00+00:00")
    assert act(act="lift", old_until=until) == "done: tuned goes on."
    assert act(act="lift", old_until=until) == "done: tuned is not throttled any more."
    (lane,) = connection.execute("select * from tide.list_lanes('{tuned}')").fetchall()
    assert (lane.total, lane.per_key, lane.throttled_until) == (None, 1, None)
    actors = "select distinct c.actor from tide.list_setting_changes('lane', 'tuned') as c"
    assert {row.actor for row in connection.execute(actors)} == {None, "mira-operator"}
    connection.execute("select tide.drop_lane('tuned')")
    assert "was dropped" in act(total="5", old_total="")
    assert mine.get(page).status_code == 404


def test_an_open_breaker_is_shown_and_closed_as_the_page_showed_it_or_not_at_all(
    tab: MakeTab, connection: Connection
) -> None:
    connection.execute("select tide.set_lane('away')")
    for _ in range(3):
        enqueue(connection, queue="in-outage", lane="away")
    mine = tab("operator")
    page = "/lanes/away"
    token = mine.form_token(page)

    def act(**fields: str) -> str:
        return note(mine.post(page, csrf=token, **fields))

    classes = {"breaker_classes": "ProviderDown, TimeoutError", "breaker_failures": "1"}
    assert act(**classes, breaker_delay="1 min").startswith("done: away: breaker_failures = 1")
    assert 'name="old_breaker_classes" value="ProviderDown, TimeoutError"' in mine.get(page).text
    again = {"breaker_delay": "2 min", "old_breaker_delay": "0:01:00"}
    assert act(**again) == "done: away: breaker_delay = 2 min."
    assert "breaker_delay" in act(breaker_delay="soon", old_breaker_delay="0:02:00")
    assert "The breaker of away is closed already." in act(act="close", old_opened="")
    error = '{"type": "TimeoutError", "message": "<late>"}'
    fail = "select tide.fail(c.run_id, c.lease_id, %s::jsonb) from tide.claim('{in-outage}') as c"
    connection.execute(fail, (error,))
    connection.execute("select tide.claim('{in-outage}', 9)")
    assert "has opened again" in act(act="close", old_opened="2035-01-01T00:00:00+00:00")
    assert "open</span> probe" in mine.get("/lanes").text
    shown = mine.get(page).text
    assert "Its provider is away" in shown
    assert "TimeoutError: &lt;late&gt;" in shown
    opened = mine.fields(page, page)["old_opened"]
    assert act(act="close", old_opened=opened) == "done: away goes on."
    (lane,) = connection.execute("select * from tide.list_lanes('{away}')").fetchall()
    assert (lane.opened_at, lane.failures, lane.breaker_classes) == (
        None,
        0,
        ["ProviderDown", "TimeoutError"],
    )
    connection.execute("select tide.drop_lane('away')")


def test_a_pause_of_a_schedule_and_of_all_says_who_did_it(
    tab: MakeTab, connection: Connection
) -> None:
    connection.execute("select tide.set_schedule('audited', '@daily', 'w')")
    mine = tab("operator")
    for act in ("pause", "resume"):
        mine.post("/schedules/audited", csrf=mine.form_token(), act=act)
    page = mine.get("/schedules/audited").text
    assert "paused <code>true</code> → <code>false</code>" in page
    assert "mira-operator, " in page
    mine.act("/doctor", "/doctor/pause", reason="drill")
    mine.act("/doctor", "/doctor/resume")
    newest = "select actor, after from tide.list_setting_changes('installation', max_changes => 2)"
    found = [(row.actor, row.after) for row in connection.execute(newest.encode())]
    assert found == [
        ("mira-operator", {"paused": False}),
        ("mira-operator", {"paused": True, "reason": "drill"}),
    ]


def test_a_form_posted_twice_acts_once_and_says_so(tab: MakeTab, connection: Connection) -> None:
    mine = tab("operator")
    run_id = failed(connection)
    page = f"/runs/{run_id}"
    fields = mine.fields(page, f"{page}/retry")
    first, second = (mine.post(f"{page}/retry", **fields) for _ in range(2))
    assert note(first).startswith("done: Back to work")
    assert note(second).startswith("done: The run is back at work already")
    assert len(log(connection, run_id, "run.retried")) == 1


def test_a_form_posted_at_once_from_two_tabs_acts_once(
    tab: MakeTab, connection: Connection
) -> None:
    run_id = failed(connection)
    page = f"/runs/{run_id}"
    tabs = [tab("operator"), tab("all")]
    fields = [one_tab.fields(page, f"{page}/retry") for one_tab in tabs]
    with ThreadPoolExecutor(2) as pool:
        answers = list(
            pool.map(
                lambda pair: pair[0].post(f"{page}/retry", **pair[1]),
                zip(tabs, fields, strict=True),
            )
        )
    assert all(answer.status_code == 200 for answer in answers)
    assert len(log(connection, run_id, "run.retried")) == 1


def test_a_page_that_is_out_of_date_does_nothing_and_says_so(
    tab: MakeTab, connection: Connection
) -> None:
    mine = tab("operator")
    run_id = enqueue(connection, queue="stale")
    page = f"/runs/{run_id}"
    fields = mine.fields(page, f"{page}/cancel")
    connection.execute("select tide.claim('{stale}')")
    answer = mine.post(f"{page}/cancel", **fields)
    assert "has changed since the page was loaded: it is running now" in note(answer)
    assert status(connection, run_id) == "running"


def test_a_step_in_review_is_decided_once(tab: MakeTab, connection: Connection) -> None:
    run = begun(connection, "charge")
    connection.execute(
        "select tide.begin_step(%s, %s, 'charge', null, '{\"side_effects\": [\"card\"]}')",
        (run.run_id, run.lease_id),
    )
    connection.execute("select tide.fail_step(%s, %s, 'charge', '{}')", (run.run_id, run.lease_id))
    page = f"/runs/{run.run_id}"
    mine = tab("operator")
    assert "Did <code>charge</code> happen?" in mine.get(page).text
    token = mine.form_token(page)
    wrong = mine.post(f"{page}/resolve", csrf=token, back=page, step="charge",
                      decision="use_output", output="{")  # fmt: skip
    assert "output is no JSON" in note(wrong)
    answer = mine.post(f"{page}/resolve", csrf=token, back=page, step="charge",
                       decision="use_output", output='{"paid": true}')  # fmt: skip
    assert note(answer) == "done: charge counts as done."
    step = one(connection, "select * from tide.get_step(%s, 'charge')", run.run_id)
    assert (step.output, step.decided_by) == ({"paid": True}, "mira-operator")
    again = mine.post(f"{page}/resolve", csrf=token, step="charge", decision="retry")
    assert "decided already by mira-operator" in note(again)


def test_a_fork_has_other_input_and_outputs_and_is_made_once(
    tab: MakeTab, connection: Connection
) -> None:
    run_id = failed(connection)
    mine = tab("operator")
    fields = mine.fields(f"/runs/{run_id}/fork", f"/runs/{run_id}/fork")
    sent = {**fields, "at_step": "two", "input": '{"a": 2}', "overrides": '{"one": {"n": 9}}'}
    first, second = (mine.post(f"/runs/{run_id}/fork", **sent) for _ in range(2))
    assert first.url == second.url
    fork_id = UUID(first.url.path.rpartition("/")[2])
    fork = one(connection, "select * from tide.get_run(%s)", fork_id)
    assert (fork.forked_from, fork.input) == (run_id, {"a": 2})
    assert one(connection, "select * from tide.get_step(%s, 'one')", fork_id).output == {"n": 9}
    broken = mine.post(f"/runs/{run_id}/fork", **{**sent, "input": '{"a": }'})
    assert broken.status_code == 400
    assert "input is no JSON" in broken.text
    assert "{&#34;a&#34;: }" in broken.text


def test_a_budget_is_raised_and_wakes_the_run(tab: MakeTab, connection: Connection) -> None:
    run_id = enqueue(connection, queue="budgets", budget='{"max_cost_usd": 0.5}')
    run = claimed(connection, "budgets")
    connection.execute(
        "select tide.record_usage(%s, kind => 'llm', model => 'large', cost_usd => 0.61)", (run_id,)
    )
    connection.execute("select tide.begin_step(%s, %s, 'read')", (run_id, run.lease_id))
    page = f"/runs/{run_id}"
    mine = tab("operator")
    fields = mine.fields(page, f"{page}/budget")
    answer = mine.post(f"{page}/budget", **fields, max_cost_usd="5")
    assert note(answer) == "done: The budget is set."
    run = one(connection, "select * from tide.get_run(%s)", run_id)
    assert (run.waiting_on, run.budget) == (None, {"max_cost_usd": 5})
    assert "Nothing was done" in note(mine.post(f"{page}/budget", **fields, max_cost_usd="9"))


def test_an_allowance_about_to_end_is_on_the_overview_and_on_its_page(
    tab: MakeTab, connection: Connection
) -> None:
    connection.execute("select tide.set_allowance('<i>:x', 'usd', 2, per => 'month')")
    budget = '{"allowances": ["<i>:x"]}'
    run_id = enqueue(connection, queue="allowed", budget=budget)
    run = claimed(connection, "allowed")
    begin = "select tide.begin_step(%s, %s, 'read', estimate => '{\"usd\": 1.9}')"
    connection.execute(begin, (run_id, run.lease_id))
    mine = tab("operator")
    assert "&lt;i&gt;:x has 0.1 usd left of 2, window: month" in mine.get("/").text
    page = mine.get("/allowances").text
    assert re.search(r"&lt;i&gt;:x</th>.*?of 2 usd.*?1\.9.*?0\.1", page, re.S)
    connection.execute("select tide.drop_allowance('<i>:x', 'usd', per => 'month')")
    assert "<i>:x" not in page


def test_an_event_is_sent_once_though_the_form_is_sent_twice(
    tab: MakeTab, connection: Connection
) -> None:
    run = begun(connection)
    page = f"/runs/{run.run_id}"
    mine = tab("operator")
    fields = mine.fields(page, f"{page}/event")
    sent = {**fields, "name": "go", "payload": '{"a": 1}'}
    first, second = (mine.post(f"{page}/event", **sent) for _ in range(2))
    assert note(first) == "done: Sent go."
    got = one(
        connection,
        "select * from tide.await_event(%s, %s, 'go', '1 second')",
        run.run_id,
        run.lease_id,
    )
    assert got.payload == {"a": 1}
    assert note(second) == "done: go was sent already."
    waiting = value(connection, "select count(*) from tide.signals where run_id = %s", run.run_id)
    assert waiting == 1


def test_a_run_is_rescheduled(tab: MakeTab, connection: Connection) -> None:
    run_id = enqueue(connection)
    page = f"/runs/{run_id}"
    answer = tab("operator").act(page, f"{page}/reschedule", delay="60", priority="7")
    assert note(answer) == "done: Rescheduled."
    run = one(connection, "select * from tide.get_run(%s)", run_id)
    assert (run.priority, run.ready) == (7, False)


def gate(connection: Connection) -> Any:
    run = begun(connection, "ask")
    return one(
        connection,
        "select * from tide.open_gate(%s, %s, 'ask', 'Go on?', '{\"why\": \"because\"}')",
        run.run_id,
        run.lease_id,
    )


def test_of_two_who_decide_one_wins_and_the_other_is_told_by_whom(
    tab: MakeTab, connection: Connection
) -> None:
    made = gate(connection)
    page = f"/gates/{made.gate_id}"
    first, second = tab("approver"), tab("all", name="jo")
    fields = [mine.fields(page, page) for mine in (first, second)]
    assert note(first.post(page, **fields[0], decision="approved", note="fine")).startswith(
        "done: Approved"
    )
    late = second.post(page, **fields[1], decision="rejected")
    assert "decided already" in note(late)
    assert "mira-approver" in note(late)
    assert "Approved</b> by mira-approver" in late.text
    found = one(connection, "select * from tide.get_gate(%s)", made.gate_id)
    assert (found.status, found.actor) == ("approved", "mira-approver")


def test_a_decision_can_be_sent_to_a_person_who_has_no_key(
    house: House, tab: MakeTab, connection: Connection
) -> None:
    made, other = gate(connection), gate(connection)
    token = one(connection, "select * from tide.gate_tokens(array[%s])", made.gate_id).token
    stranger = tab(None)
    page = f"/gates/{made.gate_id}"
    shown = stranger.get(f"{page}?token={token}")
    assert "Go on?" in shown.text
    assert "because" in shown.text
    for path in (page, f"{page}?token=wrong", f"/gates/{other.gate_id}?token={token}", "/runs"):
        assert stranger.get(path).url.path == "/studio/login"
    fields = stranger.fields(f"{page}?token={token}", page)
    assert "Say who you are" in note(stranger.post(page, **fields, decision="approved"))
    answer = stranger.post(page, **fields, decision="approved", actor="Aurélie", note="yes")
    assert note(answer).startswith("done: Approved")
    assert one(connection, "select * from tide.get_gate(%s)", made.gate_id).actor == "Aurélie"


def test_runs_that_failed_alike_are_counted_and_all_retried(
    tab: MakeTab, connection: Connection
) -> None:
    for number, error in enumerate(("HTTP 502 of 1", "HTTP 502 of 2", "no such customer")):
        connection.execute("select tide.enqueue('w', queue => 'alike')")
        connection.execute(
            "select tide.fail(c.run_id, c.lease_id, error => %s, retryable => false) "
            "from tide.claim('{alike}') as c",
            (json.dumps({"type": "HTTPError", "message": error, "number": number}),),
        )
    mine = tab("operator")
    text = mine.get("/failures?queue=alike").text
    assert text.count("Retry all\N{HORIZONTAL ELLIPSIS}") == 2
    sent = re.findall(r'name="filters" value="([^">]*)"', text)
    found = [json.loads(unescape(line)) for line in sent]
    assert {one["queue"] for one in found} == {"alike"}
    asked = mine.post(
        "/runs/bulk",
        csrf=mine.form_token("/failures"),
        filters=json.dumps(found[0]),
        scope="all",
        act="retry",
    )
    assert "Retry 2 runs?" in asked.text
    failed = "select count(*) from tide.runs where queue = 'alike' and status = 'failed'"
    assert value(connection, failed) == 3
    state = re.findall(r'name="state" value="([^"]+)"', asked.text)[0]
    mine.post("/runs/bulk/go", csrf=mine.form_token("/failures"), state=state)
    assert value(connection, failed) == 1
    assert "Only operators read the errors" in tab("viewer").get("/failures").text


def test_a_queue_shows_how_long_its_runs_took(tab: MakeTab, connection: Connection) -> None:
    assert "How long runs took" not in tab("operator").get("/queues/untimed").text
    connection.execute(
        "insert into tide.time_bins values ('timed', '', date_bin('1 hour', tide._now(), 'epoch'), "
        "'wait', 52, 40, 300)"
    )
    text = tab("operator").get("/queues/timed").text
    assert "How long runs took" in text
    cells = re.findall(r'<th scope="row">Last day</th>(.*?)</tr>', text, re.DOTALL)[0]
    shown = re.findall(r">([^<>]+)</td>", cells)
    assert (shown[0], shown[-1]) == ("40", "\N{EN DASH}")
    assert all("s" in length for length in shown[1:4])


def test_a_queue_is_changed_beside_its_old_value_or_not_at_all(
    tab: MakeTab, connection: Connection
) -> None:
    connection.execute("select tide.set_queue('tuned', '{\"concurrency\": 3}')")
    mine = tab("operator")
    page = "/queues/tuned"
    fields = mine.fields(page, page)
    text = mine.get(page).text
    assert 'name="old_concurrency" value="3"' in text
    token = mine.form_token(page)
    answer = mine.post(page, csrf=token, concurrency="5", old_concurrency="3")
    assert note(answer) == "done: tuned: concurrency = 5."
    late = mine.post(page, csrf=token, concurrency="9", old_concurrency="3")
    assert "concurrency is 5 by now, not 3" in note(late)
    wrong = mine.post(page, csrf=token, back=page, concurrency="many", old_concurrency="5")
    assert "no whole number" in note(wrong)
    assert value(connection, "select concurrency from tide.queues where queue = 'tuned'") == 5
    assert note(mine.post(page, csrf=fields["csrf"], act="pause")) == "done: tuned: paused = true."
    assert note(mine.post(page, csrf=token, act="pause")) == "done: tuned is paused already."
    mine.post(page, csrf=token, act="resume")
    assert not value(connection, "select paused from tide.queues where queue = 'tuned'")


def test_a_schedule_is_fired_once_paused_and_edited(tab: MakeTab, connection: Connection) -> None:
    connection.execute("select tide.set_schedule('nightly', '0 3 * * *', 'w', queue => 'acts')")
    mine = tab("operator")
    page = "/schedules/nightly"
    assert "at 03:00, every day" in mine.get(page).text
    seen = re.findall(r'name="seen" value="([^"]+)"', mine.get(page).text)[0]
    token = mine.form_token(page)
    first, second = (mine.post(page, csrf=token, act="fire", seen=seen) for _ in range(2))
    assert note(first).startswith("done: Fired")
    assert "Nothing was done" in note(second)
    count = "select count(*) from tide.schedule_fires where schedule = 'nightly'"
    assert value(connection, count) == 1
    seen = re.findall(r'name="seen" value="([^"]+)"', mine.get(page).text)[0]
    edited = mine.post(page, csrf=token, seen=seen, cron="30 4 * * 1", time_zone="Europe/Paris",
                       workflow="w", queue="acts", misfire="skip", overlap="skip",
                       input='{"a": 1}')  # fmt: skip
    assert note(edited) == "done: Changed."
    row = one(connection, "select * from tide.list_schedules() where schedule = 'nightly'")
    assert (row.cron, row.time_zone, row.misfire, row.input) == (
        "30 4 * * 1", "Europe/Paris", "skip", {"a": 1},
    )  # fmt: skip
    assert "Monday" in mine.get(page).text
    assert note(mine.post(page, csrf=token, act="pause")) == "done: nightly is paused."
    bad = json.loads(mine.get("/schedules/preview?cron=99+*+*+*+*").text)
    assert "minute" in bad["wrong"]
    good = json.loads(mine.get("/schedules/preview?cron=0+9+*+*+*&zone=Europe/Paris").text)
    assert (good["words"], len(good["fires"])) == ("at 09:00, every day", 10)


def test_dead_webhooks_are_delivered_again_one_or_all_of_a_page(
    house: House, tab: MakeTab, connection: Connection
) -> None:
    mine = tab("operator")
    kill = """
        update tide.deliveries as d
        set status = 'dead', finished_at = now()
        where d.delivery_id in (
          select o.delivery_id from tide.deliveries as o
          order by o.status <> 'dead', o.delivery_id
          limit 2
        )
        returning d.delivery_id
        """
    dead = [row.delivery_id for row in connection.execute(kill)]
    page = mine.get("/webhooks?status=dead").text
    assert page.count("Deliver again") == 2
    assert "Deliver these 2 again" in page
    found = "select array_agg(distinct status) from tide.deliveries where delivery_id = any (%s)"
    for chosen, said in ((dead[:1], "It is sent again"), (dead, "2 are sent again")):
        given = " ".join(str(one) for one in chosen)
        answer = mine.post("/webhooks", csrf=mine.form_token(), deliveries=given)
        assert note(answer).startswith(f"done: {said}")
        assert value(connection, found, chosen) == ["pending"]
    connection.execute(
        "update tide.deliveries set status = 'dead', finished_at = now() where delivery_id = %s",
        (dead[0],),
    )


def bulk(mine: Tab, filters: dict[str, str], **fields: str) -> Any:
    return mine.post("/runs/bulk", csrf=mine.form_token(), filters=json.dumps(filters), **fields)


def go_on(mine: Tab, answer: Any, **fields: str) -> Any:
    state = re.search(r'name="state" value="([^"]+)"', answer.text)
    assert state is not None, answer.text
    return mine.post("/runs/bulk/go", csrf=mine.form_token(), state=state[1], **fields)


def test_all_that_match_are_counted_first_and_later_runs_are_not_hit(
    tab: MakeTab, connection: Connection
) -> None:
    old = [enqueue(connection, "mass", "mass") for _ in range(120)]
    mine = tab("operator")
    asked = bulk(mine, {"workflow": "mass"}, act="cancel", scope="all")
    assert "Cancel 120 runs?" in asked.text
    assert all(status(connection, run_id) == "queued" for run_id in old[:3])
    late = enqueue(connection, "mass", "mass")
    answer = go_on(mine, asked, reason="drill")
    while ": done" not in answer.text:
        answer = go_on(mine, answer)
    assert "<b>120</b> done" in answer.text
    assert status(connection, late) == "queued"
    left = "select count(*) from tide.runs where workflow = 'mass' and status = 'queued'"
    assert value(connection, left) == 1
    (event,) = log(connection, old[0], "run.cancelled")
    assert (event["reason"], event["actor"]) == ("drill", "mira-operator")


def test_all_that_failed_and_match_are_counted_and_retried(
    tab: MakeTab, connection: Connection
) -> None:
    made = [failed(connection) for _ in range(3)]
    mine = tab("operator")
    assert "No run matches" in bulk(mine, {"status": "queued"}, act="retry", scope="all").text
    # Only what begins here: others have failed runs in this database too.
    (begins,) = one(connection, "select created_at from tide.get_run(%s)", made[0])
    filters = {"status": "failed", "created_after": begins.isoformat()}
    asked = bulk(mine, filters, act="retry", scope="all")
    assert "Retry 3 runs?" in asked.text
    late = failed(connection)
    assert "<b>3</b> done" in go_on(mine, asked).text
    assert [status(connection, run_id) for run_id in (*made, late)] == [
        *["pending"] * 3,
        "failed",
    ]


def test_a_bulk_act_that_is_sent_again_does_nothing_twice(
    tab: MakeTab, connection: Connection
) -> None:
    runs = [failed(connection) for _ in range(3)]
    mine = tab("operator")
    for act in ("retry", "fork"):
        asked = bulk(mine, {}, act=act, run="\n".join(map(str, runs)))
        first, again = go_on(mine, asked), go_on(mine, asked)
        assert "<b>3</b> done" in first.text
        assert again.status_code == 200
    for run_id in runs:
        assert len(log(connection, run_id, "run.retried")) == 1
        forks = "select count(*) from tide.runs where forked_from = %s"
        assert value(connection, forks, run_id) == 1


def forks(connection: Connection, run_id: UUID) -> list[Any]:
    return connection.execute(
        "select r.run_id, array(select s.name from tide.steps as s where s.run_id = r.run_id "
        "order by s.name) as steps from tide.runs as r where r.forked_from = %s", (run_id,)
    ).fetchall()  # fmt: skip


def broken(connection: Connection, *names: str, workflow: str) -> UUID:
    """A run that failed at the last of these steps."""
    run = begun(connection, workflow)
    for name in names:
        connection.execute("select tide.begin_step(%s, %s, %s)", (run.run_id, run.lease_id, name))
        end = "fail_step" if name == names[-1] else "complete_step"
        connection.execute(f"select tide.{end}(%s, %s, %s)", (run.run_id, run.lease_id, name))
    connection.execute("select tide.fail(%s, %s, '{}', false)", (run.run_id, run.lease_id))
    return UUID(str(run.run_id))


def test_all_that_match_are_forked_from_the_step_that_failed(
    tab: MakeTab, connection: Connection
) -> None:
    short = broken(connection, "a", "b", workflow="broken")
    long = broken(connection, "a", "b", "c", workflow="broken")
    whole = failed(connection)
    connection.execute("select tide.cancel(%s)", (enqueue(connection, "broken"),))
    mine = tab("operator")
    asked = bulk(mine, {"workflow": "broken", "status": "failed"}, act="fork", scope="all")
    assert "Fork 2 runs?" in asked.text
    assert 'value="failed" checked' in asked.text
    assert '<option value="c">' in asked.text
    late = broken(connection, "a", workflow="broken")
    first, again = (go_on(mine, asked, origin="failed", step="") for _ in range(2))
    assert "<b>2</b> done" in first.text
    assert again.status_code == 200
    assert [fork.steps for fork in forks(connection, short)] == [["a"]]
    assert [fork.steps for fork in forks(connection, long)] == [["a", "b"]]
    assert [*forks(connection, late), *forks(connection, whole)] == []


def test_the_chosen_are_forked_from_a_step_named_and_those_without_it_passed_over(
    tab: MakeTab, connection: Connection
) -> None:
    with_it = broken(connection, "a", "b", "c", workflow="named")
    without = broken(connection, "a", "x", workflow="named")
    mine = tab("operator")
    asked = bulk(mine, {}, act="fork", run=f"{with_it}\n{without}")
    unclear = {
        "Name the step to fork from.": {"origin": "named", "step": ""},
        "Fork from the step named b, or not?": {"origin": "first", "step": "b"},
        "there is no &#39;last&#39; to fork from": {"origin": "last"},
    }
    for said, fields in unclear.items():
        answer = go_on(mine, asked, **fields)
        assert answer.status_code == 400
        assert said in answer.text
    done = go_on(mine, asked, origin="named", step="b")
    assert "<b>1</b> done" in done.text
    assert "1 passed over" in done.text
    assert [fork.steps for fork in forks(connection, with_it)] == [["a"]]
    assert forks(connection, without) == []


def test_runs_that_were_ticked_alone_are_acted_on(tab: MakeTab, connection: Connection) -> None:
    one_run, other = enqueue(connection, "tick"), enqueue(connection, "tick")
    mine = tab("operator")
    answer = go_on(mine, bulk(mine, {}, act="cancel", run=str(one_run)))
    assert "<b>1</b> done" in answer.text
    assert (status(connection, one_run), status(connection, other)) == ("cancelled", "queued")
    stranger = tab("all")
    state = re.search(
        r'name="state" value="([^"]+)"', bulk(mine, {}, act="cancel", run=str(other)).text
    )
    assert state is not None
    taken = stranger.post("/runs/bulk/go", csrf=stranger.form_token(), state=state[1])
    assert "no state of ours" in note(taken)
    assert status(connection, other) == "queued"


def test_the_installation_is_paused_and_resumed(tab: MakeTab, connection: Connection) -> None:
    mine = tab("operator")
    answer = mine.act("/doctor", "/doctor/pause", reason="drill")
    assert note(answer).startswith("done: Paused")
    assert "installation is paused: drill" in mine.get("/").text
    assert note(mine.act("/doctor", "/doctor/resume")) == "done: The installation goes on."
    assert value(connection, "select paused_at from tide.ticks") is None


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/runs?status=finished", "status is not known"),
        ("/runs?metadata=%5B1%5D", "write metadata as name=value"),
        ("/runs?before=zzz", "badly formed"),
        ("/runs?created_after=yesterday", "is no time"),
        ("/queues/no-such-queue", "no-such-queue"),
        ("/schedules/none", "no schedule"),
        ("/webhooks?status=lost", "only_status is not known"),
        ("/runs/00000000-0000-7000-8000-000000000000", "does not exist"),
        ("/gates/00000000-0000-7000-8000-000000000000", "no such decision"),
        ("/runs/{report}/step?name=nope", "has no step"),
        ("/runs/{report}/state?stream=nope", "no state in stream"),
        ("/runs/{report}/payload/lease_id", "carries no"),
        ("/runs/not-a-run", "no such page"),
    ],
)
def test_a_wrong_address_is_answered_with_what_is_wrong(
    house: House, tab: MakeTab, path: str, said: str
) -> None:
    answer = tab("operator").get(path.format(report=house.scene.runs["report"]))
    assert answer.status_code in (200, 400, 404)
    assert said in answer.text


def test_a_decision_of_several_shows_who_has_decided(tab: MakeTab, connection: Connection) -> None:
    run = begun(connection, "ask")
    rules = {"quorum": 2}
    made = one(
        connection,
        "select * from tide.open_gate(%s, %s, 'two', 'Both?', rules => %s)",
        run.run_id,
        run.lease_id,
        json.dumps(rules),
    )
    page = f"/gates/{made.gate_id}"
    first = tab("approver")
    assert "takes 2 decisions, has 0" in first.get(page).text
    answer = first.act(page, page, decision="approved", note="looks right")
    assert "Others have to decide as well" in note(answer)
    assert "takes 2 decisions, has 1" in answer.text
    assert "looks right" in answer.text
    assert "mira-approver" in answer.text
    again = first.act(page, page, decision="approved", note="looks right")
    assert "takes 2 decisions, has 1" in again.text
    assert note(tab("all", name="jo").act(page, page, decision="approved")).startswith(
        "done: Approved"
    )
