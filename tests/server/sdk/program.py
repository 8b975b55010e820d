"""A program of a Tidebase user, with an SDK from PyPI in a venv of its own and nothing of ours.

What it did it appends to the file `log` of a folder; it waits for files of that folder.

usage: program.py SCENARIO FOLDER [ARGUMENT…]
"""

import asyncio
import json
import os
import sys
import threading
import time
import urllib.request
from contextlib import suppress
from pathlib import Path

import tidebase
from tidebase import RunCancelled, Tidebase, TidebaseError, new_run_id
from tidebase.aio import AsyncTidebase

FOLDER = Path(sys.argv[2])
ARGUMENTS = sys.argv[3:]
SESSIONS = hasattr(tidebase, "RunSession")
PATIENCE = 60


def say(*words):
    with (FOLDER / "log").open("a") as log:
        log.write(" ".join(map(str, words)) + "\n")


def wait_for(name):
    """What a file says, once it is there."""
    until = time.monotonic() + PATIENCE
    while not (FOLDER / name).exists():
        assert time.monotonic() < until, f"nobody wrote {name}"
        time.sleep(0.01)
    return (FOLDER / name).read_text()


def fresh(word):
    return f"{word}-{new_run_id()[-12:]}"


def refused(status, function, *arguments, **options):
    try:
        function(*arguments, **options)
    except TidebaseError as error:
        assert error.status == status, error
        return error
    raise AssertionError(f"{function.__name__} was not refused")


# --- a worker that hangs, dies or goes on ----------------------------------------------------


def job(run, _input):
    """Waits within a workflow, then does what it is told."""
    name = ARGUMENTS[1]
    say(name, "has it")
    run.step("first", lambda: say(name, "executed first"))
    say(name, "waits")
    told = wait_for(f"{name}.go")
    if told == "return":
        return name
    if told == "raise":
        raise RuntimeError(f"{name} gave up")
    if told == "step":
        return run.step("second", lambda: say(name, "executed second") or name)
    assert told == "raise in a step", told
    return run.step("second", fail)


def hang_in_step(run, _input):
    """Waits within a step, then does what it is told."""
    name = ARGUMENTS[1]
    say(name, "has it")

    def hang():
        say(name, "executed first")
        say(name, "waits")
        told = wait_for(f"{name}.go")
        if told.startswith("raise"):
            raise RuntimeError(f"{name} gave up")
        return name

    return run.step("first", hang)


def fail():
    raise RuntimeError(f"{ARGUMENTS[1]} failed in its step")


def work(workflow):
    """Works on one run of a queue, and ends."""
    queue, name = ARGUMENTS[:2]
    tide = Tidebase()
    tide.workflow("job", workflow)
    got = []

    def ended(error, _run):
        got.append(error)
        say(name, "ended with", type(error).__name__)

    def counted(run, given):
        got.append(run)
        return workflow(run, given)

    tide.workflow("job", counted)
    tide.work([queue], poll_s=0.05, stop=lambda: bool(got), on_error=ended)
    say(name, "ends")


def work_async():
    queue, name = ARGUMENTS[:2]
    tide = AsyncTidebase()

    async def main():
        done = asyncio.Event()

        @tide.workflow("job")
        async def job(run, _input):
            say(name, "has it")
            await run.step("first", lambda: say(name, "executed first"))
            say(name, "waits")
            told = await asyncio.to_thread(wait_for, f"{name}.go")
            if told == "raise":
                done.set()
                raise RuntimeError(f"{name} gave up")
            value = await run.step("second", lambda: say(name, "executed second") or name)
            done.set()
            return value

        def ended(error, _run):
            say(name, "ended with", type(error).__name__)
            done.set()

        task = asyncio.create_task(tide.work([queue], poll_s=0.05, on_error=ended))
        await done.wait()
        # What follows the workflow, its report, is the last call of the turn.
        await asyncio.to_thread(until_reported)
        task.cancel()

    def until_reported():
        until = time.monotonic() + PATIENCE
        while not (FOLDER / "stop").exists() and any(
            run["status"] == "running" and run["queue"] == queue for run in tide.runs.list()
        ):
            assert time.monotonic() < until
            time.sleep(0.02)

    asyncio.run(main())
    say(name, "ends")


# --- what users do ---------------------------------------------------------------------------


def steps():
    """A run that fails in a step goes on from its checkpoints when it is run again."""
    tide = Tidebase()
    done = {"a": 0, "b": 0}
    broken = [True]
    ids = []

    def workflow(run, given):
        ids.append(run.run_id)

        def b():
            done["b"] += 1
            if broken[0]:
                raise ValueError("not yet")
            return [given["n"], "ü", None, 1.5]

        def a():
            done["a"] += 1

        run.step("a", a)
        return run.step("b/with a slash and ü", b, input={"y": 1, "x": [1, 2.0]})

    with suppress(ValueError):
        tide.run("steps", workflow, input={"n": 2**53})
    failed = tide.runs.get(ids[0])["run"]
    assert failed["status"] == "failed", failed
    broken[0] = False
    assert tide.run("steps", workflow, run_id=ids[0]) == [2**53, "ü", None, 1.5]
    assert done == {"a": 1, "b": 2}
    assert tide.run("steps", workflow, run_id=ids[0]) == [2**53, "ü", None, 1.5]
    assert done == {"a": 1, "b": 2}


def contracts():
    """A step of another input is refused; what is unsafe to repeat waits for a person."""
    tide = Tidebase()

    def other_input(run, _input):
        run.step("a", lambda: 1, input={"n": 1})
        return run.step("a", lambda: 1, input={"n": 2})

    try:
        tide.run("contracts", other_input)
    except ValueError:
        pass
    else:
        raise AssertionError("another input was taken")

    def unsafe(run, _input):
        run.step("send", fail_twice, side_effects=["email.send"])

    def fail_twice():
        raise RuntimeError("half sent")

    run_id = tide.runs.create("contracts")["id"]
    with suppress(RuntimeError, TidebaseError):
        tide.run("contracts", unsafe, run_id=run_id)
    detail = tide.runs.get(run_id)
    assert detail["steps"][0]["status"] == "manual_review", detail["steps"]
    assert detail["run"]["status"] != "failed"


def state():
    tide = Tidebase()

    def workflow(run, _input):
        run.state.set({"a": {"deep": 1}, "b": 2})
        run.state.patch({"a": {"other": None}})
        saved = run.state.save("half", reason="because")
        assert saved["stateVersion"]["label"] == "half"
        run.state.set([1], stream="page")
        run.snapshots.create("picture", {"x": 1}, target={"type": "page", "id": "7"})
        run.usage.record(
            kind="llm", provider="p", model="m", input_tokens=3, output_tokens=4, cost_usd=0.0125
        )
        labels = {version["label"] for version in run.state.versions(labeled=True)}
        assert labels == {"half", "picture"}, labels
        return run.snapshots.list()

    run_id = tide.runs.create("state")["id"]
    snapshots = tide.run("state", workflow, run_id=run_id)
    assert {snapshot["label"] for snapshot in snapshots} == {"half", "picture"}
    detail = tide.runs.get(run_id)
    assert detail["state"]["value"] == {"a": {"other": None}, "b": 2}, detail["state"]
    assert detail["usage"][0]["totalTokens"] == 7
    assert detail["usage"][0]["costUsd"] == 0.0125


def gates():
    """A waiting worker gets the decision; another sees that its run was cancelled."""
    tide = Tidebase()
    answers = {}

    def workflow(run, _input):
        decision = run.gate("ok", "May I?", data={"n": 1}, poll_s=0.05)
        return [decision.decision, decision.actor, decision.payload]

    def run(run_id):
        try:
            answers[run_id] = tide.run("gates", workflow, run_id=run_id)
        except RunCancelled as error:
            answers[run_id] = error.run_id

    def waiting():
        run_id = tide.runs.create("gates")["id"]
        thread = threading.Thread(target=run, args=[run_id])
        thread.start()
        until = time.monotonic() + PATIENCE
        while not tide.runs.get(run_id)["gates"]:
            assert time.monotonic() < until
            time.sleep(0.02)
        return run_id, thread, tide.runs.get(run_id)["gates"][0]

    run_id, thread, gate = waiting()
    body = {"token": "wrong", "decision": "approved", "actor": "ann", "payload": {"why": "fine"}}
    path = f"/runs/{run_id}/gates/{gate['id']}/resolve"
    assert refused(409, tide.request, "POST", path, body).body
    body["token"] = gate["resolveToken"]
    assert tide.request("POST", path, body)["gate"]["status"] == "approved"
    refused(409, tide.request, "POST", path, dict(body, decision="rejected"))
    thread.join(PATIENCE)
    assert answers[run_id] == ["approved", "ann", {"why": "fine"}], answers
    run_id, thread, _ = waiting()
    tide.runs.cancel(run_id, reason="not needed", actor="bob")
    thread.join(PATIENCE)
    assert answers[run_id] == run_id
    stored = tide.runs.get(run_id)["run"]
    assert (stored["status"], stored["cancelReason"]) == ("cancelled", "not needed")


def children():
    tide = Tidebase()
    times = {"n": 0}

    def child(run, given):
        times["n"] += 1
        return run.step("double", lambda: given * 2)

    def workflow(run, _input):
        first = run.child("child", child, name="first", input=20)
        again = run.child("child", child, name="first", input=20)
        both = run.fanout(
            "gather",
            [
                {"name": "left", "workflow": child, "workflow_name": "child", "input": 1},
                {"name": "right", "workflow": child, "workflow_name": "child", "input": 2},
            ],
        )
        return [first, again, both]

    run_id = tide.runs.create("parent")["id"]
    assert tide.run("parent", workflow, run_id=run_id) == [40, 40, [2, 4]]
    assert times["n"] == 3
    detail = tide.runs.get(run_id)
    assert len(detail["childRuns"]) == 3
    assert all(run["metadata"]["parentRunId"] == run_id for run in detail["childRuns"])


def queues():
    """Enqueue, dedupe, delay, attempts, caps and rates, in the loop of a worker."""
    tide = Tidebase()
    queue = fresh("queue")
    made = tide.enqueue("job", queue=queue, input={"n": 1}, dedupe_key="k", priority=3)
    again = tide.enqueue("job", queue=queue, input={"n": 2}, dedupe_key="k")
    assert (made["deduplicated"], again["deduplicated"]) == (False, True)
    assert made["run"]["id"] == again["run"]["id"]
    later = tide.enqueue("job", queue=queue, delay_s=3600, deadline_s=7200)["run"]
    assert later["runAt"] > made["run"]["runAt"]
    assert later["deadlineAt"] is not None
    seen = []

    @tide.workflow("job")
    def job(run, given):
        seen.append(given)
        return run.step("s", lambda: 42)

    tide.work([queue], poll_s=0.05, stop=lambda: bool(seen))
    assert seen == [{"n": 1}]
    done = tide.runs.get(made["run"]["id"])["run"]
    assert (done["status"], done["result"]) == ("completed", 42)
    claimed = tide.request("POST", "/queues/claim", {"queues": [queue], "limit": 5})
    assert claimed["runs"] == []

    capped = fresh("capped")
    tide.queues.configure(capped, concurrency=1)
    ids = [tide.enqueue("x", queue=capped, max_attempts=2)["run"]["id"] for _ in range(3)]
    first = tide.request("POST", "/queues/claim", {"queues": [capped], "limit": 5})
    assert [run["id"] for run in first["runs"]] == ids[:1]
    failed = tide.request("POST", f"/runs/{ids[0]}/fail", {"error": {"message": "no"}})
    assert failed["requeued"] is True
    assert failed["run"]["status"] == "queued"
    second = tide.request("POST", "/queues/claim", {"queues": [capped], "limit": 5})
    assert [run["id"] for run in second["runs"]] == ids[1:2]

    rated = fresh("rated")
    tide.queues.configure(rated, rate_per_minute=2)
    for _ in range(3):
        tide.enqueue("x", queue=rated)
    claimed = tide.request("POST", "/queues/claim", {"queues": [rated], "limit": 5})
    assert len(claimed["runs"]) == 2
    config = next(q for q in tide.queues.list() if q["name"] == rated)["config"]
    assert config["ratePerMinute"] == 2


def schedules():
    tide = Tidebase()
    name = fresh("schedule")
    made = tide.schedules.set(
        name, cron="0 9 * * *", workflow_name="digest", queue="q", input={"n": 1}, max_attempts=3
    )
    assert (made["cron"], made["maxAttempts"], made["enabled"]) == ("0 9 * * *", 3, True)
    assert name in [schedule["name"] for schedule in tide.schedules.list()]
    refused(400, tide.schedules.set, name, cron="61 * * * *", workflow_name="digest")
    tide.schedules.delete(name)
    refused(404, tide.schedules.delete, name)


def events():
    """A stream that broke is taken up where it was, without a gap and nothing twice."""
    tide = Tidebase()
    run_id = tide.runs.create("events")["id"]

    def workflow(run, _input):
        for name in ("a", "b", "c"):
            run.step(name, dict)
        run.state.set({"done": True})

    first = []
    stream = tide.runs.subscribe(run_id)
    first.append(next(stream))
    stream.close()
    tide.run("events", workflow, run_id=run_id)
    seen = list(first)
    for event in tide.runs.subscribe(run_id, after=first[-1]["seq"]):
        seen.append(event)
        if event["type"] == "run.completed":
            break
    assert [event["seq"] for event in seen] == list(range(1, len(seen) + 1))
    types = [event["type"] for event in seen]
    assert types[:2] == ["run.created", "run.started"]
    assert types.count("step.completed") == 3
    (updated,) = [event for event in seen if event["type"] == "state.updated"]
    assert updated["payload"]["value"] == {"done": True}
    listed = [event["type"] for event in tide.runs.get(run_id)["events"]]
    assert listed == types


def sessions():
    """Sessions came with 0.6: attach, heartbeat, gates that do not block."""
    if not SESSIONS:
        return
    tide = Tidebase()
    session = tide.runs.attach("session", input={"n": 1}, heartbeat_s=None)
    assert session.step("call", lambda: "result", input={"q": 1}) == "result"
    session.heartbeat()
    gate = session.gates.begin("ok", "May I?")
    assert (gate["status"], gate["decision"]) == ("pending", None)
    raw = tide.runs.get(session.run_id)["gates"][0]
    path = f"/runs/{session.run_id}/gates/{raw['id']}/resolve"
    tide.request("POST", path, {"token": raw["resolveToken"], "decision": "rejected", "actor": "a"})
    assert session.gates.begin("ok", "May I?")["decision"] == "rejected"
    session.complete({"ok": True})
    refused(409, session.heartbeat)
    second = tide.runs.attach("session", heartbeat_s=None)
    second.fail({"message": "gave up"})
    assert tide.runs.get(second.run_id)["run"]["status"] == "failed"


def lost_answers():
    """What is sent again after a lost answer changes nothing."""
    tide = Tidebase()
    run_id = tide.runs.create("again")["id"]
    tide.request("POST", f"/runs/{run_id}/begin")
    for _ in range(2):
        done = tide.request("POST", f"/runs/{run_id}/complete", {"result": {"n": 1}})["run"]
        assert (done["status"], done["result"]) == ("completed", {"n": 1})
    refused(409, tide.request, "POST", f"/runs/{run_id}/complete", {"result": 2})
    refused(409, tide.request, "POST", f"/runs/{run_id}/fail", {"error": {}})
    assert tide.runs.get(run_id)["run"]["result"] == {"n": 1}
    types = [event["type"] for event in tide.runs.get(run_id)["events"]]
    assert types == ["run.created", "run.started", "run.completed"]


def refusals():
    """Errors as the SDK shows them."""
    tide = Tidebase()
    assert "run not found" in refused(404, tide.runs.get, "run_" + "0" * 32).body
    run_id = tide.runs.create("errors")["id"]
    tide.request("POST", f"/runs/{run_id}/begin")
    leased = refused(409, tide.run, "errors", lambda run, given: 1, run_id=run_id)
    assert json.loads(leased.body)["error"] == "run is leased"
    wrong = refused(400, tide.request, "POST", "/queues/q/enqueue", {"workflowName": 1})
    assert json.loads(wrong.body)["error"] == "invalid request body"
    tide.runs.cancel(run_id)
    try:
        tide.run("errors", lambda run, given: 1, run_id=run_id)
    except RunCancelled:
        pass
    else:
        raise AssertionError("a cancelled run was run")


def unauthorized():
    """With a key that is wrong, or none, nothing is told."""
    assert "unauthorized" in refused(401, Tidebase(api_key="wrong").runs.list).body
    tide = Tidebase()
    assert tide.runs.list() is not None
    run_id = tide.runs.create("keyed")["id"]
    assert next(tide.runs.subscribe(run_id))["type"] == "run.created"
    request = urllib.request.Request(f"{os.environ['TIDEBASE_URL']}/health")
    assert json.load(urllib.request.urlopen(request)) == {"ok": True}


def asynchronous():
    tide = AsyncTidebase()
    done = {"n": 0}

    @tide.workflow("async")
    async def workflow(run, given):
        async def slow():
            done["n"] += 1
            return given["n"] * 2

        value = await run.step("slow", slow)
        await run.state_set({"value": value})
        await run.usage_record(kind="custom", quantity=1, unit="call")
        return value

    async def main():
        assert await tide.run("async", input={"n": 21}) == 42
        run_id = tide.runs.list()[0]["id"]
        assert await tide.run("async", run_id=run_id) == 42
        made = await tide.enqueue("async", queue=fresh("async"), input={"n": 1})
        cancelled = await tide.cancel(made["run"]["id"], reason="no")
        assert cancelled["status"] == "cancelled"

    asyncio.run(main())
    assert done["n"] == 1


def go_on():
    """A run of several steps, which waits between them for what happens to the gateway."""
    tide = Tidebase()

    def workflow(run, _input):
        run.step("first", lambda: say("executed first"))
        say("waits")
        wait_for("go")
        run.step("second", lambda: say("executed second"))
        return "done"

    assert tide.run("go-on", workflow, run_id=ARGUMENTS[0]) == "done"


SCENARIOS = {
    function.__name__: function
    for function in (
        steps, contracts, state, gates, children, queues, schedules, events, sessions,
        lost_answers, refusals, unauthorized, asynchronous, go_on, work_async,
    )
}  # fmt: skip
SCENARIOS["work"] = lambda: work(job)
SCENARIOS["work_in_step"] = lambda: work(hang_in_step)

if __name__ == "__main__":
    SCENARIOS[sys.argv[1]]()
