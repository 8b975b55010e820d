"""describe_run: everything about a run in one snapshot."""

from __future__ import annotations

from tests.runs.acts import Tide


def test_run_steps_and_events_are_described(tide: Tide) -> None:
    run = tide.started(input={"topic": "tides"})
    own = {"run_id": run.run_id, "lease_id": run.lease_id}
    tide.begin_step(**own, name="plan", contract={"side_effects": ["read"], "timeout": "1 minute"})
    tide.complete_step(**own, name="plan", output={"parts": 3})
    told = tide.describe_run(run_id=run.run_id)
    assert set(told) == {
        "run",
        "steps",
        "gates",
        "lanes",
        "waits",
        "children",
        "deliveries",
        "state",
        "versions",
        "channels",
        "usage",
        "events",
    }
    assert told["run"]["run_id"] == str(run.run_id)
    assert told["run"]["input"] == {"topic": "tides"}
    (step,) = told["steps"]
    assert (step["name"], step["status"], step["output"]) == ("plan", "completed", {"parts": 3})
    assert step["side_effects"] == ["read"]
    assert [event["seq"] for event in told["events"]] == [1, 2, 3, 4]


def test_secrets_are_left_out(tide: Tide) -> None:
    run = tide.started()
    tide.begin_step(run_id=run.run_id, lease_id=run.lease_id, name="plan")
    told = tide.describe_run(run_id=run.run_id)
    assert "lease_id" not in told["run"]
    assert not {"lease_id", "input_hash"} & set(told["steps"][0])


def test_finished_run_is_described_as_well(tide: Tide) -> None:
    run = tide.finished()
    told = tide.describe_run(run_id=run.run_id)
    assert (told["run"]["status"], told["steps"]) == ("completed", [])
    assert told["events"][-1]["type"] == "run.completed"


def test_only_the_newest_thousand_events_are_told(tide: Tide) -> None:
    run = tide.create_run(workflow="report")
    tide.connection.execute(
        """
        insert into tide.events (run_id, seq, type, created_at, payload)
        select %s, n, 'step.started', now(), '{}'
        from generate_series(2, 1200) as n
        """,
        (run.run_id,),
    )
    told = tide.describe_run(run_id=run.run_id)["events"]
    assert [event["seq"] for event in told] == list(range(201, 1201))


def test_versions_of_its_state_are_told(tide: Tide) -> None:
    run = tide.create_run(workflow="report")
    tide.set_state(run_id=run.run_id, value={"n": 1})
    tide.set_state(run_id=run.run_id, value={"n": 2}, label="half", metadata={"by": "ann"})
    tide.set_state(run_id=run.run_id, value=3, stream="page")
    told = tide.describe_run(run_id=run.run_id)["versions"]
    assert [(v["stream"], v["version"], v["value"], v["label"]) for v in told] == [
        ("run", 1, {"n": 1}, None),
        ("run", 2, {"n": 2}, "half"),
        ("page", 1, 3, None),
    ]
    assert told[1]["metadata"] == {"by": "ann"}


def test_channels_are_told_without_the_name_of_their_secret(tide: Tide) -> None:
    channel = {"url": "https://example.com/a", "secret_name": "theirs", "events": ["run.failed"]}
    run = tide.create_run(workflow="report", channels=[channel])
    (told,) = tide.describe_run(run_id=run.run_id)["channels"]
    assert told == {
        "channel": 1,
        "gate_id": None,
        "url": "https://example.com/a",
        "events": ["run.failed"],
    }
