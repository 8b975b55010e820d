"""The page on high availability, tried: what a switchover and the loss of a machine cost."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.ha.business import Business
from tests.ha.patroni import Cluster, started
from tests.servers import scratch
from tidebase_pg import schema

PROGRAM = os.environ.get("TIDE_TEST_PATRONI")

pytestmark = pytest.mark.skipif(PROGRAM is None, reason="run: make test-patroni")


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    """Two servers of which one follows synchronously, with the schema."""
    assert PROGRAM is not None
    with ExitStack() as ending:
        folder = Path(tempfile.mkdtemp(prefix="tide-patroni-", dir=scratch()))
        cluster = started(ending, folder, Path(PROGRAM).absolute())
        cluster.leader()
        schema.install(cluster.dsn)
        yield cluster


def test_a_planned_switchover_loses_nothing_and_nobody_is_stopped(cluster: Cluster) -> None:
    leader = cluster.leader()
    other = "two" if leader == "one" else "one"
    with Business(cluster.dsn) as business:
        business.goes_on()
        cluster.switch_over(leader, other)
        business.goes_on()
        assert cluster.leader() == other
        business.goes_on()
        business.kept_its_promises()
        print(f"switchover: {business.longest:.1f} s without writes")  # noqa: T201


def test_the_loss_of_the_primary_machine_loses_no_accepted_run(cluster: Cluster) -> None:
    leader = cluster.leader()
    with Business(cluster.dsn) as business:
        business.goes_on()
        cluster.kill(leader)
        business.goes_on()
        assert cluster.leader(synchronous=False) != leader
        cluster.start(leader)
        assert cluster.leader() != leader
        business.goes_on()
        business.kept_its_promises()
        print(f"failover: {business.longest:.1f} s without writes")  # noqa: T201
