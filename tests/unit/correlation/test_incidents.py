from __future__ import annotations

import pickle
from dataclasses import replace

import msgspec
import pytest

from agent.correlation.incidents import (
    ChangeKind,
    IncidentBook,
    IncidentChange,
    IncidentSettings,
    Severity,
    weight,
)
from agent.correlation.topology import Topology
from agent.detection.anomaly import Anomaly, AnomalyEvent, EventKind, Side, Signal
from agent.errors import Malformed
from tests.unit.detection.builders import T0, S, Sp, frame

CALLS = (("front", "checkout"), ("checkout", "payment"), ("front", "catalogue"), ("far", "away"))


def topology() -> Topology:
    learned = Topology()
    for i, (caller, callee) in enumerate(CALLS):
        learned.observe(frame(Sp(caller, "x", 1.0, trace=i), Sp(callee, "x", 1.0, trace=i, span=2, parent=1)))
    return learned


GRAPH = topology()


def anomaly(service: str, score: float = 1.0, onset_s: float = 0.0, **changes: object) -> Anomaly:
    plain = Anomaly(
        id=f"{service}@{onset_s}{changes.get('signal', '')}", tenant="default", namespace="", service=service,
        operation="op", signal=Signal.LATENCY, side=Side.SERVED, score=score, onset_ns=T0 + round(onset_s * S),
        detected_ns=T0 + round((onset_s + 15) * S), ended_ns=None, observed=0.2, expected=0.1, unit="s", sentence="",
    )  # fmt: skip
    return replace(plain, **changes)  # type: ignore[arg-type]


class Story:
    """Tells a book what happens, at times in seconds, and keeps what it says."""

    def __init__(self, settings: IncidentSettings | None = None) -> None:
        self.book = IncidentBook(settings)
        self.changes: list[IncidentChange] = []

    def starts(self, at_s: float, *anomalies: Anomaly, kind: EventKind = EventKind.STARTED) -> Story:
        now_ns = T0 + round(at_s * S)
        events = [AnomalyEvent(kind, a, now_ns) for a in anomalies]
        self.changes += self.book.observe(events, GRAPH, now_ns)
        return self

    def ends(self, at_s: float, *anomalies: Anomaly) -> Story:
        ended = [replace(a, ended_ns=T0 + round((at_s - 30) * S)) for a in anomalies]
        return self.starts(at_s, *ended, kind=EventKind.ENDED)

    def passes(self, until_s: float) -> Story:
        return self.starts(until_s)

    @property
    def kinds(self) -> list[str]:
        return [str(change.kind) for change in self.changes]


@pytest.mark.parametrize(
    ("witnesses", "opens"),
    [
        pytest.param([anomaly("front")], True, id="one strong"),
        pytest.param([anomaly("front", 0.7)], False, id="one weak"),
        pytest.param(
            [anomaly("front", 0.7), anomaly("checkout", 0.7)], True, id="two weak, caller and callee"
        ),
        pytest.param(
            [anomaly("catalogue", 0.7), anomaly("checkout", 0.7)], True, id="two weak, common caller"
        ),
        pytest.param([anomaly("front", 0.7), anomaly("away", 0.7)], False, id="two weak, not connected"),
        pytest.param(
            [anomaly("front", 0.7), anomaly("checkout", 0.7, 300)], False, id="two weak, far in time"
        ),
        pytest.param([anomaly("front", 1.5, side=Side.CALLS)], False, id="calls alone"),
        pytest.param([anomaly("front", 2.0, side=Side.CALLS)], True, id="calls alone, certain"),
        pytest.param([anomaly("cart", 9.0, signal=Signal.CPU)], False, id="cpu alone"),
        pytest.param(
            [anomaly("front", 0.7), anomaly("front", 0.4, signal=Signal.CPU)], True, id="weak and cpu"
        ),
        pytest.param([anomaly("cart", 1.0, signal=Signal.MEMORY)], True, id="a leak"),
        pytest.param([anomaly("front", 1.0, signal=Signal.TRAFFIC, observed=0.0)], True, id="nobody comes"),
        pytest.param([anomaly("front", 9.0, signal=Signal.TRAFFIC, observed=9.0)], False, id="many come"),
    ],
)
def test_what_opens_an_incident(witnesses: list[Anomaly], opens: bool) -> None:
    story = Story().starts(20, *witnesses)
    assert story.kinds == (["opened"] if opens else [])


def test_connected_anomalies_are_one_incident() -> None:
    story = Story().starts(20, anomaly("front"), anomaly("payment", 2.0), anomaly("checkout"))
    (incident,) = story.book.incidents()
    assert incident.services == ("payment", "checkout", "front")
    assert incident.title == "Latency up in payment and 2 more services (checkout, front)"


def test_unconnected_anomalies_are_two() -> None:
    assert Story().starts(20, anomaly("front"), anomaly("away")).kinds == ["opened", "opened"]


def test_later_anomalies_join() -> None:
    story = Story().starts(20, anomaly("checkout")).starts(90, anomaly("front", 0.7, 70))
    assert story.kinds == ["opened", "updated"]
    assert story.changes[-1].incident.title == "Latency up in checkout and 1 more service (front)"


def test_growing_evidence_opens() -> None:
    story = (
        Story().starts(20, anomaly("front", 0.7)).starts(25, anomaly("front", 1.1), kind=EventKind.UPDATED)
    )
    assert story.kinds == ["opened"]


@pytest.mark.parametrize(
    ("a", "severity"),
    [
        pytest.param(anomaly("front"), Severity.WARNING, id="a bit slow for users"),
        pytest.param(anomaly("front", observed=0.4), Severity.CRITICAL, id="very slow for users"),
        pytest.param(anomaly("payment", observed=0.4), Severity.WARNING, id="very slow inside"),
        pytest.param(
            anomaly("front", signal=Signal.ERRORS, observed=0.1), Severity.CRITICAL, id="fails for users"
        ),
    ],
)
def test_severity(a: Anomaly, severity: Severity) -> None:
    assert Story().starts(20, a).book.incidents()[0].severity is severity


def test_it_is_resolved_after_a_quiet_time() -> None:
    a, b = anomaly("front"), anomaly("checkout")
    story = Story().starts(20, a, b).ends(100, a).passes(200).ends(210, b).passes(239)
    assert story.kinds == ["opened", "updated", "updated"]
    story.passes(240)
    assert story.kinds[-1] == "resolved"
    assert story.changes[-1].incident.resolved_ns == T0 + 240 * S


def test_the_same_trouble_soon_after_opens_it_again() -> None:
    first, again = anomaly("front"), anomaly("front", onset_s=300)
    story = Story().starts(20, first).ends(100, first).passes(200).starts(315, again)
    assert story.kinds == ["opened", "updated", "resolved", "opened"]
    assert len(story.book.incidents()) == 1
    assert story.book.incidents()[0].reopened == 1


def test_the_same_trouble_much_later_is_another() -> None:
    first, again = anomaly("front"), anomaly("front", onset_s=900)
    story = Story().starts(20, first).ends(100, first).passes(200).starts(915, again)
    assert len(story.book.incidents()) == 2


def test_flapping_is_one_incident_with_growing_quiet() -> None:
    story = Story()
    for i in range(8):
        flap = anomaly("front", onset_s=100 * i)
        story.starts(100 * i + 15, flap).ends(100 * i + 60, flap)
    assert len(story.book.incidents()) == 1
    assert story.kinds.count("opened") <= 3


def test_ids_follow_from_what_was_seen() -> None:
    ids = {Story().starts(at, anomaly("front")).book.incidents()[0].id for at in (20, 25)}
    assert len(ids) == 1


def test_one_call_or_many_is_the_same() -> None:
    a, b = anomaly("front", 0.7), anomaly("checkout", 0.7)
    events = [
        AnomalyEvent(EventKind.STARTED, a, T0 + 20 * S),
        AnomalyEvent(EventKind.STARTED, b, T0 + 25 * S),
        AnomalyEvent(EventKind.ENDED, replace(a, ended_ns=T0 + 70 * S), T0 + 100 * S),
        AnomalyEvent(EventKind.ENDED, replace(b, ended_ns=T0 + 70 * S), T0 + 100 * S),
    ]
    at_once = IncidentBook().observe(events, GRAPH, T0 + 200 * S)
    book = IncidentBook()
    one_by_one = [change for e in events for change in book.observe([e], GRAPH, e.time_ns)]
    one_by_one += book.observe([], GRAPH, T0 + 200 * S)
    assert at_once[-1] == one_by_one[-1]
    assert [c.kind for c in at_once][-1] is ChangeKind.RESOLVED


def test_tenants_are_apart() -> None:
    story = Story().starts(20, anomaly("front", 0.7), anomaly("checkout", 0.7, tenant="other"))
    assert story.kinds == []


def test_memory_is_bounded() -> None:
    story = Story(IncidentSettings(keep=3, max_anomalies=5))
    for i in range(20):
        many = [anomaly("front", onset_s=2000 * i + j, id=f"{i}-{j}") for j in range(8)]
        story.starts(2000 * i + 20, *many).ends(2000 * i + 100, *many).passes(2000 * i + 500)
    incidents = story.book.incidents()
    assert len(incidents) <= 4
    assert all(len(i.anomalies) <= 5 for i in incidents)


def test_goes_on_after_pickling() -> None:
    a = anomaly("front")
    story = Story().starts(20, a)
    story.book = pickle.loads(pickle.dumps(story.book))
    assert story.ends(100, a).passes(200).kinds == ["opened", "updated", "resolved"]


def test_weights_are_at_most_one() -> None:
    assert weight(anomaly("front", 50.0)) == 1.0


def test_an_anomaly_that_nobody_speaks_of_any_more_ends() -> None:
    story = Story(IncidentSettings(silent_s=600)).starts(20, anomaly("front")).passes(610)
    assert story.kinds == ["opened"]
    story.passes(630).passes(670)
    assert story.kinds == ["opened", "updated", "resolved"]
    (ended,) = story.changes[-1].incident.anomalies
    assert ended.ended_ns == T0 + 20 * S


def test_every_word_of_an_anomaly_keeps_it() -> None:
    story = Story(IncidentSettings(silent_s=600)).starts(20, anomaly("front"))
    story.starts(500, anomaly("front", 2.0), kind=EventKind.UPDATED).passes(1000)
    assert story.kinds == ["opened", "updated"]


def test_what_was_lost_and_is_heard_of_again_opens_again() -> None:
    story = Story(IncidentSettings(silent_s=600)).starts(20, anomaly("front")).passes(630).passes(670)
    story.starts(700, anomaly("front", 2.0), kind=EventKind.UPDATED)
    assert story.kinds == ["opened", "updated", "resolved", "opened"]


def test_what_is_told_again_changes_nothing() -> None:
    one, worse = anomaly("front"), anomaly("front", 2.0)
    story = Story().starts(20, one).starts(30, worse, kind=EventKind.UPDATED).ends(60, worse).passes(100)
    before = story.book.incidents()
    assert story.kinds == ["opened", "updated", "updated", "resolved"]
    story.starts(20, one).starts(30, worse, kind=EventKind.UPDATED).ends(60, worse)
    assert len(story.changes) == 4
    assert story.book.incidents() == before


def test_comes_back_from_its_bytes_and_goes_on() -> None:
    story = (
        Story().starts(20, anomaly("front"), anomaly("away", 0.5)).starts(60, anomaly("checkout", 0.7, 45))
    )
    back = Story()
    back.book = IncidentBook.from_bytes(story.book.to_bytes())
    assert back.book.incidents() == story.book.incidents()
    for one in (story, back):
        one.changes.clear()
        one.starts(70, anomaly("away", 1.2), kind=EventKind.UPDATED)
        one.ends(90, anomaly("front"), anomaly("checkout", 0.7, 45)).passes(130)
    assert back.changes == story.changes
    assert "resolved" in back.kinds


@pytest.mark.parametrize(
    "data", [b"", b"\xc1", b"\x80", msgspec.msgpack.encode({"format": 99, "waiting": {}, "cases": {}})]
)
def test_refuses_bytes_that_are_no_book(data: bytes) -> None:
    with pytest.raises(Malformed, match="incidents"):
        IncidentBook.from_bytes(data)
