"""A Django project that enqueues a workflow in the transaction of its request.

pip install 'tidebase-pg[django]'
tidebase-pg work clerk_django:tide --lease 5s
"""

from __future__ import annotations

import asyncio
import os
from typing import Any
from uuid import UUID

import django
from django.conf import settings
from psycopg.conninfo import conninfo_to_dict
from world import note, pay

database = conninfo_to_dict(os.environ["TIDEBASE_DSN"])
settings.configure(
    USE_TZ=True,
    DATABASES={
        "default": {
            "ENGINE": "django.db.backends.postgresql",
            "NAME": database["dbname"],
            "HOST": database.get("host", ""),
            "PORT": database.get("port", ""),
            "USER": database.get("user", ""),
            "PASSWORD": database.get("password", ""),
        }
    },
    TASKS={"default": {"BACKEND": "tidebase_pg.agents.django.TideBackend"}},
)
django.setup()

from django.db import connections, transaction  # noqa: E402 once Django is set up
from django_tasks import task  # noqa: E402

from tidebase_pg import Run  # noqa: E402
from tidebase_pg.agents.django import task_worker  # noqa: E402

tide = task_worker()


@task()
def ask(number: int) -> int:
    """What a task of Django does: here it asks a model what to refund."""
    note("asked 1")
    return 500


@tide.workflow("clerk", max_attempts=3)
def clerk(run: Run, input: dict[str, Any]) -> str:
    cents = run.step("ask", lambda: ask.call(input["order"]))
    if not run.gate("refund", f"Refund order {input['order']}?", data=cents).approved:
        return "We are sorry."
    key = f"refund:{run.id}"

    def refund() -> str:
        return asyncio.run(pay(cents, key))

    run.step("pay", refund, side_effects=["bank"], idempotency_key=key)
    return f"You get {cents / 100:.2f} back."


def request(order: int) -> UUID:
    """What a view does: the run exists if and only if its transaction commits."""
    with transaction.atomic():
        made = tide.enqueue(clerk, input={"order": order}, connection=connections["default"])
    return made.run_id


if __name__ == "__main__":
    with tide:
        run_id = request(7)
        tide.work(drain=True)
        for gate in tide.gates.pending():
            if gate.run_id == run_id:
                print(f"{gate.prompt} {gate.data}")
                tide.gates.decide(gate.gate_id, "approved", "ann")
        tide.work(drain=True)
        print(tide.runs.get(run_id).result)
