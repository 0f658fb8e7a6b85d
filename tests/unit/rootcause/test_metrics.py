from __future__ import annotations

import numpy as np
import pytest

from agent.rootcause.metrics import CPU, MEMORY, POOL, Last, edge_of, family, samples_of
from agent.telemetry.frames import MetricFrame, Series
from agent.telemetry.source import Source

WHO = Source("default", "cart", instance="cart-1")
NS = 1_000_000_000

FAMILIES = {
    "process.cpu.utilization": CPU,
    "process.cpu.time": CPU,
    "k8s.pod.cpu.usage": CPU,
    "k8s.pod.cpu_limit_utilization": CPU,
    "container_cpu_usage_seconds_total": CPU,
    "process.memory.usage": MEMORY,
    "container_memory_working_set_bytes": MEMORY,
    "db.client.connection.pending_requests": POOL,
    "k8s.node.cpu.utilization": "",
    "system.cpu.time": "",
    "kube_pod_container_resource_limits_cpu_cores": "",
    "http.server.request.duration": "",
}


@pytest.mark.parametrize(("name", "expected"), FAMILIES.items())
def test_tells_the_family_from_the_name(name: str, expected: str) -> None:
    assert family(Series(WHO, name)) == expected


def test_tells_which_end_of_a_call_a_latency_is_from() -> None:
    label = (("peer.service", "bank"),)
    assert edge_of(Series(WHO, "mesh.client.duration.p50", label)) == ("cart", "bank", True)
    assert edge_of(Series(WHO, "mesh.server.duration.p50", label)) == ("bank", "cart", False)
    assert edge_of(Series(WHO, "mesh.client.duration.p50")) is None


def counter(times_s: list[int], values: list[float], name: str = "process.cpu.time") -> MetricFrame:
    return MetricFrame(
        series=(Series(WHO, name),),
        cumulative=np.ones(1, np.bool_),
        offsets=np.array([0, len(values)], np.int64),
        time_ns=np.array(times_s, np.int64) * NS,
        value=np.array(values),
    )


def test_counters_become_rates_and_a_reset_counts_from_zero() -> None:
    rates = samples_of(counter([0, 10, 20, 30], [5.0, 25.0, 45.0, 10.0])).value
    np.testing.assert_array_equal(rates, [np.nan, 2.0, 2.0, 1.0])


def test_a_counter_goes_on_from_the_stretch_before() -> None:
    last: Last = {}
    samples_of(counter([0], [5.0]), last)
    assert samples_of(counter([60], [65.0]), last).value.tolist() == [1.0]


def test_a_total_that_goes_up_and_down_stays_a_level() -> None:
    assert samples_of(counter([0, 2], [5.0, 4.0], "process.memory.usage")).value.tolist() == [5.0, 4.0]


def test_means_are_of_the_finite_samples_inside() -> None:
    found = samples_of(counter([0, 10, 20], [0.0, 10.0, 40.0]))
    _, _, level = found.means(0, 20 * NS)
    assert level.tolist() == [1.0]
