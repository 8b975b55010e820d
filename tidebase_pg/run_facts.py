"""What a held run is, without what can be done with it."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from tidebase_pg.worker.active_run import ActiveRun


class RunFacts:
    """The facts of a run held by this process."""

    def __init__(self, run: ActiveRun) -> None:
        self._run = run

    @property
    def id(self) -> UUID:
        """The id of the run."""
        return self._run.run_id

    @property
    def workflow(self) -> str:
        """The name of the workflow."""
        return self._run.leased.workflow

    @property
    def attempt(self) -> int:
        """1 for the first attempt."""
        return self._run.leased.attempt

    @property
    def max_attempts(self) -> int:
        """How many attempts the run has in all."""
        return self._run.leased.max_attempts

    @property
    def metadata(self) -> Any:
        """What the run was enqueued with as metadata."""
        return self._run.leased.metadata

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.id} {self.workflow} attempt {self.attempt}>"
