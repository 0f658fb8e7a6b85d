"""The simulated shop: quiet when healthy, found when not. Rates and delays over many more seeds are
measured by ``python -m tests.benchmarks.detection``."""

from __future__ import annotations

import pytest

from agent.correlation.incidents import ChangeKind, Incident, IncidentBook
from agent.correlation.topology import Topology
from agent.detection.bank import DetectorBank
from agent.detection.red import RedAccumulator
from tests.unit.detection.shop import EPOCH_NS, Shop, batches

ORIGIN = {
    "slow-query": "catalogue",
    "cpu-burn": "cart",
    "network-delay": "checkout",
    "bad-deploy": "payment",
    "slow-model": "model",
    "pool-exhausted": "catalogue",
    "cache-lost": "catalogue",
}


def incidents(shop: Shop, poll_s: float = 1.0) -> list[Incident]:
    red, bank, topology, book = RedAccumulator(), DetectorBank(), Topology(), IncidentBook()
    found = []
    for now_ns, spans in batches(shop.spans(), poll_s):
        red.observe(spans)
        topology.observe(spans)
        changes = book.observe(bank.advance(red.drain(), now_ns), topology, now_ns)
        found += [change.incident for change in changes if change.kind is ChangeKind.OPENED]
    return found


@pytest.mark.parametrize("seed", range(3))
def test_no_incident_in_twenty_healthy_minutes(seed: int) -> None:
    assert incidents(Shop(seed, 1200), poll_s=5.0) == []


@pytest.mark.parametrize("fault", ORIGIN)
@pytest.mark.parametrize("seed", [3, 4])
def test_each_fault_is_one_incident_within_a_minute(fault: str, seed: int) -> None:
    found = incidents(Shop(seed, 180, fault, 80.0, rate_hz=10))
    assert len(found) == 1
    assert (found[0].opened_ns - EPOCH_NS) / 1e9 - 80 <= 57
    assert ORIGIN[fault] == found[0].services[0]
