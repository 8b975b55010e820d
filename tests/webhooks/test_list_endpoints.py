"""What consoles show of webhooks: hosts and deliveries, without what they carry."""

from __future__ import annotations

from tests.runs.acts import Tide, refused


def test_deliveries_are_found_by_status_and_hosts_are_listed(tide: Tide) -> None:
    channels = [{"url": "https://one.example/secret/path"}]
    tide.enqueue(workflow="report", channels=channels)
    (sent,) = tide.claim_deliveries()
    tide.finish_delivery(delivery_id=sent.delivery_id, lease_id=sent.lease_id, http_status=410)
    tide.enqueue(workflow="report", channels=channels)
    pending, dead = tide.find_deliveries()
    assert (pending.status, dead.status, dead.http_status) == ("pending", "dead", 410)
    assert "secret" not in str((pending, dead))
    for status, found in (("dead", [dead]), ("pending", [pending]), ("delivered", [])):
        assert tide.find_deliveries(only_status=status) == found
    assert tide.find_deliveries(before=pending.delivery_id) == [dead]
    (endpoint,) = tide.list_endpoints()
    assert (endpoint.endpoint, endpoint.pending) == ("https://one.example", 1)
    with refused("22023", "only_status"):
        tide.find_deliveries(only_status="lost")
