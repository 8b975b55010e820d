"""Groups of methods of a run: gates, state, snapshots, usage."""

# Made from async_parts.py by tools/async_to_sync.py: change that, then `make sync`.

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, TypeVar, Unpack

from tidebase_pg import calls, current, flows, threads, wait_flows
from tidebase_pg.call import Call
from tidebase_pg.documents import encode
from tidebase_pg.driver import Driver
from tidebase_pg.options import SnapshotOptions, UsageOptions, VersionOptions, WriteOptions
from tidebase_pg.prices import list_price
from tidebase_pg.types import GateStatus, OpenGate, StateRow, UsageRow, VersionRow
from tidebase_pg.values import RunId, new_run_id
from tidebase_pg.wait_flows import GateOptions

T = TypeVar("T")


class RunPart:
    """A group of methods of `Run`."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self._run = driver.run

    def _execute(self, call: Call[T]) -> T:
        return self._driver.drive(flows.ask(call))


class RunGates(RunPart):
    """Gates for workflows that do something else meanwhile."""

    @threads.noticed
    def begin(self, name: str, prompt: str, **options: Unpack[GateOptions]) -> OpenGate:
        """Open a gate and go on. The token that resolves it is in the first answer only, and in
        what is sent to its channels.

        >>> opened = run.gates.begin("approve", "Send the report?")
        """
        return self._driver.drive(wait_flows.open_gate(self._run, name, prompt, options))

    @threads.noticed
    def get(self, gate_id: RunId) -> GateStatus:
        """A gate as it stands: pending, approved, rejected or canceled."""
        return self._execute(calls.get_gate(gate_id))


class RunState(RunPart):
    """The state of the run, for people and programs that follow it; every write is a version."""

    @threads.noticed
    def set(self, value: Any, **options: Unpack[WriteOptions]) -> VersionRow:
        """Replace the value of a stream. Raises StateConflict with a wrong expected_version.

        >>> run.state.set({"status": "writing", "progress": 0.7})
        """
        held = self._run
        return self._execute(calls.set_state(held.run_id, value, lease_id=held.lease_id, **options))

    @threads.noticed
    def patch(self, patch: Mapping[str, Any], **options: Unpack[WriteOptions]) -> VersionRow:
        """Merge an object into a stream: recursively, None deletes.

        >>> run.state.patch({"progress": 0.8, "status": None})
        """
        held = self._run
        return self._execute(
            calls.patch_state(held.run_id, patch, lease_id=held.lease_id, **options)
        )

    @threads.noticed
    def save(self, label: str, **options: Unpack[VersionOptions]) -> VersionRow:
        """Label the current value. Raises NotFound when the stream was never written."""
        held = self._run
        return self._execute(
            calls.save_state(held.run_id, label, lease_id=held.lease_id, **options)
        )

    @threads.noticed
    def get(self, stream: str | None = None) -> StateRow:
        """The current value and version; version 0 = not written yet."""
        return self._execute(calls.get_state(self._run.run_id, stream=stream))

    @threads.noticed
    def versions(
        self, stream: str | None = None, *, labeled: bool | None = None
    ) -> list[VersionRow]:
        """The versions of a stream or of all, oldest first."""
        run_id = self._run.run_id
        return self._execute(calls.state_versions(run_id, stream=stream, labeled=labeled))


class RunSnapshots(RunPart):
    """Labelled pictures of things, kept beside the state."""

    @threads.noticed
    def create(self, label: str, state: Any, **options: Unpack[SnapshotOptions]) -> VersionRow:
        """Keep a picture of something.

        >>> run.snapshots.create("draft 1", text, target={"type": "document", "id": "7"})
        """
        held = self._run
        return self._execute(
            calls.create_snapshot(held.run_id, label, state, lease_id=held.lease_id, **options)
        )

    @threads.noticed
    def list(self) -> list[VersionRow]:
        """Labelled versions of all streams, newest first."""
        return self._execute(calls.list_snapshots(self._run.run_id))


class RunUsage(RunPart):
    """What the run spends."""

    @threads.noticed
    def record(self, **options: Unpack[UsageOptions]) -> UsageRow:
        """Record what was spent; counted once even when the answer of the database is lost.

        A later attempt records it again, unless it is in a step or has a `request_key`.

        >>> run.usage.record(kind="llm", input_tokens=812, output_tokens=95, cost_usd=0.0031)
        """
        usage = priced(options)
        self._tell(usage)
        return self._execute(calls.record_usage(self._run.run_id, **usage))

    def add(self, **options: Unpack[UsageOptions]) -> None:
        """Record what the step that is running used together with its end, in the same call: it is
        counted exactly once, and costs no call of its own. `step` names a step that `begin_step`
        or `transaction` began. Between steps it goes with the end of the attempt, so a workflow
        without steps settles with its lane too; a later attempt records its own.

        What a process had added when it was killed is not recorded. Raises BadPayload; amounts that
        cannot be fail the step, or the run.

        >>> run.usage.add(kind="llm", model="small", input_tokens=812, output_tokens=95)
        """
        step = options.pop("step", None) or current.current_step()
        usage = priced(options)
        used = {
            name: str(amount) if isinstance(amount, Decimal) else amount
            for name, amount in {"request_key": str(new_run_id()), **usage}.items()
        }
        encode(used, "what a run used" if step is None else f"what step {step!r} used")
        record = {name: value for name, value in used.items() if value is not None}
        if step is None:
            self._run.spent.append(record)
        else:
            self._run.used.setdefault(step, []).append(record)
        self._tell(usage)

    def _tell(self, usage: UsageOptions) -> None:
        for told in self._driver.registry.on_usage:
            told(dict(usage))

    @threads.noticed
    def list(self) -> list[UsageRow]:
        """What was spent, oldest first."""
        return self._execute(calls.list_usage(self._run.run_id))


def priced(options: UsageOptions) -> UsageOptions:
    """The same with the list price of the model, where no cost is given and one is known."""
    if options.get("cost_usd") is not None or options.get("list_cost_usd") is not None:
        return options
    price = list_price(
        options.get("provider"),
        options.get("model"),
        options.get("input_tokens"),
        options.get("output_tokens"),
    )
    return options if price is None else {**options, "list_cost_usd": price}
