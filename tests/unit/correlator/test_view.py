"""What the correlator knows of a tenant."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest

from actors.correlator.view import NEW_NORMAL_S, Stretch, TenantView
from agent.detection.anomaly import Anomaly, AnomalyEvent, EventKind, Side, Signal
from agent.detection.red import RedKey, RedKind
from agent.settings import Settings, StreamSettings
from agent.telemetry.frames import NO_LOGS, NO_METRICS, NO_SPANS, Telemetry
from tests.unit.detection.builders import bin_of

S = 1_000_000_000
T0 = 1_700_000_000 * S


def view() -> TenantView:
    return TenantView("default", Settings())


def taken(which: TenantView, mark_ns: int) -> list[Stretch]:
    found = []
    while stretch := which.due(mark_ns):
        found.append(stretch)
        which.take(stretch, None)
    return found


def started(onset_ns: int, detected_ns: int) -> AnomalyEvent:
    anomaly = Anomaly(
        id=f"a{onset_ns}", tenant="default", namespace="", service="cart", operation="GET /", signal=Signal.LATENCY,
        side=Side.SERVED, score=5.0, onset_ns=onset_ns, detected_ns=detected_ns, ended_ns=None, observed=1.0,
        expected=0.1, unit="s", sentence="slow",
    )  # fmt: skip
    return AnomalyEvent(EventKind.STARTED, anomaly, detected_ns)


def test_closed_slices_are_taken_once_in_order_and_without_gaps() -> None:
    one = view()
    stretches = taken(one, T0) + taken(one, T0 + 61 * S) + taken(one, T0 + 61 * S)
    assert all(a.end_ns == b.start_ns for a, b in pairwise(stretches))
    assert stretches[-1].end_ns <= T0 + 56 * S


def test_nothing_is_taken_before_it_is_closed() -> None:
    one = view()
    taken(one, T0)
    assert one.due(T0 + 1 * S) is None


@pytest.mark.parametrize("lateness_s", [0.0, 5.0, 30.0])
def test_a_slice_is_open_for_what_comes_late(lateness_s: float) -> None:
    settings = Settings(streams=replace(StreamSettings(), lateness_s=lateness_s))
    one = TenantView("default", settings)
    end_ns = taken(one, T0)[-1].end_ns + 20 * S
    assert one.due(end_ns + round(lateness_s * S) - 1) is None
    assert one.due(end_ns + round(lateness_s * S)) == Stretch(end_ns - 20 * S, end_ns)


def test_an_anomaly_that_its_detector_lost_does_not_keep_an_incident_open() -> None:
    one = view()
    one.come_to(T0)
    one.report([started(T0 - 20 * S, T0)])
    for after_s in (1790, 1810, 1850):
        one.come_to(T0 + after_s * S)
        one.report([])
    assert one.open_incidents() == []


def test_after_a_long_pause_only_what_the_windows_hold_is_asked_for() -> None:
    one = view()
    taken(one, T0)
    stretch = one.due(T0 + 36_000 * S)
    assert stretch is not None
    assert stretch.start_ns >= T0 + (36_000 - 920) * S


def test_a_question_without_an_incident_is_about_the_last_two_minutes() -> None:
    assert view().stretch_of(T0) == Stretch(T0 - 120 * S, T0)


@pytest.mark.parametrize(
    ("onset_s_ago", "from_s_ago"),
    [(10, 60), (40, 70), (200, 230), (1000, 120)],
    ids=["just begun", "young", "minutes old", "old"],
)
def test_a_question_in_an_incident_looks_from_shortly_before_its_onset(
    onset_s_ago: int, from_s_ago: int
) -> None:
    one = view()
    one.due(T0)
    one.report([started(T0 - onset_s_ago * S, T0 - 5 * S)])
    assert one.stretch_of(T0) == Stretch(T0 - from_s_ago * S, T0)


def test_an_incident_is_not_normal_time_until_it_lasts() -> None:
    one = view()
    one.due(T0)
    one.report([started(T0 - 20 * S, T0)])
    one.due(T0 + 3600 * S)
    one.take(Stretch(T0, T0 + 3600 * S), Telemetry(T0, T0 + 3600 * S, NO_SPANS, NO_LOGS, NO_METRICS))
    begin, end = one.baseline.excluded[0][0], max(end for _, end in one.baseline.excluded)
    assert begin == T0 - 50 * S
    assert end == T0 + round((NEW_NORMAL_S - 20) * S)


def test_what_a_mesh_tells_of_calls_is_in_the_graph() -> None:
    one = view()
    calls = RedKey("web", "shop", "default", "cart", RedKind.CALLS)
    one.take(Stretch(T0, T0 + 20 * S), None, bin_of(0, (calls, [0.1] * 5, 0)))
    assert [(edge.caller.service, edge.callee.service) for edge in one.topology.edges()] == [("web", "cart")]
