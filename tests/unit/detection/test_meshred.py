from __future__ import annotations

import pytest

from agent.detection.mesh import mesh_series
from agent.detection.meshred import SILENT_NS, MeshRed
from agent.detection.meshtotals import MeshAccumulator
from agent.telemetry.labels import Labels
from agent.telemetry.native import decode_histograms
from agent.windows.metrics.upkeep import MetricLimits
from agent.windows.metrics.window import MetricWindow
from tests.unit.windows.metrics.building import Samples, batch, series

MS = 1_000_000
HOUR_MS = 3_600_000
LATER_NS = 1 << 60


class Fed:
    """A window and what follows it."""

    def __init__(self, max_series: int = 5000, max_mesh: int = 1000) -> None:
        self.window = MetricWindow(
            MetricLimits(max_series=max_series, retention_ms=HOUR_MS), decode_histograms
        )
        self.mesh = MeshRed("t", MeshAccumulator(max_series=max_mesh))
        self.position = 0

    def write(self, samples: Samples) -> None:
        record = batch(samples, defined_since=self.position)
        self.mesh.observe(self.window, self.window.append(record, self.position).series, record)
        self.position += 1

    def requests(self) -> int:
        return int(self.mesh.drain(LATER_NS).count.sum())


def cart(**labels: str) -> Labels:
    return series(
        "response_total", direction="inbound", deployment="cart", classification="success", **labels
    )


UP = series("up", job="cart")


@pytest.fixture
def fed() -> Fed:
    return Fed()


def test_series_of_a_mesh_among_others_are_followed(fed: Fed) -> None:
    fed.write(
        {UP: [(1000, 1.0)], cart(): [(1000, 5.0), (2000, 7.0)], series("x"): [(1000, 9.0), (2000, 99.0)]}
    )
    fed.write({UP: [(3000, 1.0)], cart(): [(3000, 10.0)]})
    assert fed.requests() == 5


def test_records_without_such_series_ask_for_no_labels(fed: Fed, monkeypatch: pytest.MonkeyPatch) -> None:
    fed.write({UP: [(1000, 1.0)], cart(): [(1000, 5.0)]})
    asked: list[int] = []
    monkeypatch.setattr(fed.window, "labels", asked.append)
    fed.write({UP: [(2000, 1.0)], cart(): [(2000, 6.0)]})
    assert asked == []


def test_a_series_is_classified_once(fed: Fed, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []

    def counted(labels: dict[str, str], tenant: str) -> object:
        seen.append(labels["__name__"])
        return mesh_series(labels, tenant)

    monkeypatch.setattr("agent.detection.meshred.mesh_series", counted)
    for at_ms in range(0, 5000, 1000):
        fed.write({UP: [(at_ms, 1.0)], cart(): [(at_ms, 5.0)]})
    assert seen == ["response_total"]


def test_samples_of_series_that_the_window_left_out_are_passed_over() -> None:
    fed = Fed(max_series=1)
    for at_ms in (1000, 2000):
        fed.write({cart(): [(at_ms, at_ms)], cart(pod="b"): [(at_ms, at_ms)]})
    assert fed.requests() == 1000


def test_what_is_known_of_a_series_outlives_its_id(fed: Fed) -> None:
    old = {series("old", n=str(n)): [(1000, 1.0)] for n in range(2000)}
    fed.write({**old, cart(): [(1000, 5.0)]})
    fed.write({cart(): [(5 * HOUR_MS, 7.0)]})
    fed.window.advance(5 * HOUR_MS)
    before = fed.window.epoch
    fed.write({cart(): [(5 * HOUR_MS + 1000, 8.0)]})
    assert (before, fed.requests()) == (1, 3)


def test_a_full_table_counts_what_it_refuses_and_forgets_what_is_silent() -> None:
    fed = Fed(max_mesh=1)
    later_ms = SILENT_NS // MS + 5000
    fed.write({cart(): [(1000, 5.0)]})
    fed.write({cart(pod="b"): [(2000, 5.0)]})
    assert fed.mesh.refused == 1
    fed.write({cart(pod="c"): [(later_ms, 5.0)]})
    fed.write({cart(pod="c"): [(later_ms + 1000, 9.0)]})
    assert (fed.mesh.refused, fed.requests()) == (1, 4)
