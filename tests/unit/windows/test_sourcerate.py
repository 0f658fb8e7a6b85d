"""What is left of remote write where the rows a second of a source are limited, and what becomes of it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.telemetry.allowance import BURST_S
from agent.telemetry.labels import labels_of
from agent.telemetry.remote_write import Packed
from agent.telemetry.remote_write_client import WriteSeries
from agent.telemetry.remote_write_labels import FAULT_SENTENCES, Fault
from agent.windows.refusals import Outcome
from agent.windows.sampleintake import SampleIntake
from tests.unit.windows.test_sampleintake import NOW_MS, Points, histogram, intake, take, v1, v2

MINUTE_MS = 60_000


class Sender:
    """Sends to a gateway that takes ``rate`` rows a second, at seconds since the start; ``written`` is what lies
    in the log."""

    def __init__(self, rate: int = 1, **settings: Any) -> None:
        self.door: SampleIntake = intake(max_rows_per_source_per_s=rate, **settings)
        self.written: list[tuple[int, int, float]] = []  # series, time, value
        self.histograms = 0
        self.exemplars = 0

    def send(self, *bodies: Packed, at_s: float = 0) -> list[Outcome]:
        batches, outcomes = take(self.door, *bodies, now_ms=NOW_MS + round(1000 * at_s))
        for batch in batches.values():
            keys = batch.series_hash.repeat(batch.sample_count).tolist()
            self.written += zip(keys, batch.time_ms.tolist(), batch.value.tolist(), strict=True)
            self.histograms += len(batch.histogram_time_ms)
            self.exemplars += len(batch.exemplar_time_ms)
        return list(outcomes)

    def use(self, rows: int, at_s: float = 0) -> None:
        """Take so many rows from what source ``i`` may send."""
        [outcome] = self.send(v1(*(of(f"used_{k}", [(NOW_MS, 1.0)]) for k in range(rows))), at_s=at_s)
        assert outcome.later is None
        self.written.clear()

    def insist(self, body: Packed, at_s: float = 0) -> list[Outcome]:
        """Send a body until it need not come again, each time when told."""
        outcomes = self.send(body, at_s=at_s)
        while (later := outcomes[-1].later) is not None:
            at_s += later.after_s
            outcomes += self.send(body, at_s=at_s)
            assert len(outcomes) < 1000
        return outcomes


def of(name: str, points: Points, instance: str = "i") -> tuple[dict[str, str], Points]:
    return {"__name__": name, "job": "j", "instance": instance}, points


def minutes(n: int, value: float = 1.0) -> Points:
    """Samples a minute apart, the last one now: further apart than the out-of-order window is wide."""
    return [(NOW_MS - MINUTE_MS * (n - 1 - k), value) for k in range(n)]


def limited(outcome: Outcome) -> int:
    return outcome.refused.get(Fault.RATE_LIMITED, 0)


def test_without_a_limit_nothing_is_left() -> None:
    [outcome] = Sender(rate=0).send(v1(*(of(f"m{k}", minutes(5)) for k in range(100))))
    assert (outcome.samples, outcome.later) == (500, None)


def test_a_source_gets_what_its_bucket_holds_and_is_told_when_to_come_again() -> None:
    sender = Sender()
    [outcome] = sender.send(v1(*(of(f"m{k}", minutes(1)) for k in range(70))))
    assert (outcome.samples, limited(outcome), len(sender.written)) == (60, 10, 60)
    assert outcome.later is not None
    assert outcome.later.after_s == 10.0


def test_the_message_names_the_setting_and_the_first_that_is_left() -> None:
    sender = Sender()
    sender.use(60)
    [outcome] = sender.send(v1(of("a", minutes(1)), of("b", minutes(1))))
    assert outcome.later is not None
    assert "gateway.max_rows_per_source_per_s" in outcome.later.message
    assert '{__name__="a", instance="i", job="j"} (2 refused, this is the first)' in outcome.later.message


def test_other_sources_of_the_body_and_their_later_series_go_on() -> None:
    sender = Sender()
    sender.use(60)
    [outcome] = sender.send(
        v1(of("a", minutes(1)), of("a", minutes(1), "other"), of("b", minutes(1), "other"))
    )
    assert (outcome.samples, limited(outcome)) == (2, 1)


def test_tenants_have_their_own_buckets() -> None:
    door, body = intake(max_rows_per_source_per_s=1), v1(*(of(f"m{k}", minutes(1)) for k in range(60)))
    outcomes = [door.take(tenant, [body], NOW_MS * 10**6, [0]).outcomes[0] for tenant in ("a", "b")]
    assert [outcome.samples for outcome in outcomes] == [60, 60]


def test_series_without_job_and_instance_are_a_source_each() -> None:
    body = v1(*(({"__name__": f"m{k}"}, minutes(1)) for k in range(200)))
    [outcome] = Sender().send(body)
    assert (outcome.samples, outcome.later) == (200, None)


@pytest.mark.parametrize("points", [minutes(1), minutes(5)], ids=["one sample", "minutes of samples"])
def test_a_body_that_comes_again_is_written_once_whole_and_ends_well(points: Points) -> None:
    sender = Sender()
    sender.use(60 - len(points))
    outcomes = sender.insist(v1(of("a", points), of("b", points), of("c", points)))
    assert [outcome.samples for outcome in outcomes] == [len(points), 2 * len(points)]
    assert len(sender.written) == len(set(sender.written)) == 3 * len(points)
    assert (outcomes[-1].refused, outcomes[-1].message) == ({}, "")


def test_what_was_taken_the_first_time_costs_nothing_the_next() -> None:
    sender = Sender()
    sender.use(50)
    body = v1(of("a", minutes(10)), of("b", minutes(3)))
    sender.send(body)
    [outcome] = sender.send(body, at_s=3)
    assert (outcome.samples, outcome.equal, outcome.later) == (3, 0, None)


def test_several_are_left_at_once_and_each_is_known_again() -> None:
    sender = Sender()
    sender.use(55)
    bodies = [v1(of(f"a{k}", minutes(5)), of(f"b{k}", minutes(5))) for k in range(2)]
    assert [limited(outcome) for outcome in sender.send(*bodies)] == [5, 10]
    assert [outcome.later for outcome in sender.send(*bodies, at_s=15)] == [None, None]
    assert len(sender.written) == len(set(sender.written)) == 20


def test_a_body_of_the_same_source_does_not_overtake_another_of_its_group() -> None:
    sender = Sender()
    sender.use(58)
    first, second = v1(of("a", minutes(3))), v1(of("a", [(NOW_MS + 1, 1.0)]))
    assert [limited(outcome) for outcome in sender.send(first, second)] == [3, 1]


def test_late_samples_are_rows_too() -> None:
    sender = Sender()
    sender.use(59)
    sender.send(v1(of("a", [(NOW_MS, 1.0)])))
    [outcome] = sender.send(v1(of("a", [(NOW_MS - 1000 + k, 1.0) for k in range(10)])))
    assert (outcome.samples, limited(outcome)) == (0, 10)


def test_a_last_sample_that_comes_again_in_another_body_costs_nothing() -> None:
    sender = Sender()
    sender.send(v1(*(of(f"m{k}", minutes(1)) for k in range(60))))
    again = [of(f"m{k}", minutes(1)) for k in range(60)]
    [outcome] = sender.send(v1(*reversed(again)))
    assert (outcome.samples, outcome.equal, outcome.later) == (60, 60, None)


def test_a_series_longer_than_a_full_bucket_takes_it_and_waits_longer_afterwards() -> None:
    sender = Sender()
    assert sender.send(v1(of("a", minutes(100))))[0].samples == 100
    [outcome] = sender.send(v1(of("b", minutes(1))))
    assert outcome.later is not None
    assert outcome.later.after_s == 41.0


def test_other_faults_do_not_hide_that_something_is_left() -> None:
    sender = Sender()
    sender.use(60)
    [outcome] = sender.send(v1(({"job": "j"}, minutes(1)), of("a", minutes(1))))
    assert outcome.refused == {Fault.NO_METRIC_NAME: 1, Fault.RATE_LIMITED: 1}
    assert outcome.later is not None
    assert outcome.message.startswith(FAULT_SENTENCES[Fault.NO_METRIC_NAME])


@pytest.mark.parametrize(
    ("bad", "fault"),
    [
        (({"job": "j"}, minutes(1)), Fault.NO_METRIC_NAME),
        (of("used_0", [(NOW_MS, 2.0)], "other"), Fault.DUPLICATE_SAMPLE),
    ],
    ids=["labels", "sample"],
)
def test_a_fault_is_counted_once_and_told_in_the_end(
    bad: tuple[dict[str, str], Points], fault: Fault
) -> None:
    sender = Sender()
    sender.send(v1(of("used_0", [(NOW_MS, 1.0)], "other")))
    sender.use(60)
    outcomes = sender.insist(v1(bad, of("a", minutes(2)), of("b", minutes(2))))
    assert sum(outcome.refused.get(fault, 0) for outcome in outcomes) == 1
    assert outcomes[-1].message == outcomes[0].message != ""


def test_histograms_and_exemplars_are_rows_and_are_written_once() -> None:
    sender = Sender()
    sender.use(57)
    exemplar = (labels_of({"trace_id": "ab"}), 0.5, NOW_MS)
    labels = [labels_of(of(name, [])[0]) for name in ("a", "b")]
    series = [WriteSeries(one, histograms=(histogram(),), exemplars=(exemplar,)) for one in labels]
    outcomes = sender.insist(v2(*series))
    assert [limited(outcome) for outcome in outcomes] == [2, 0]
    assert [(outcome.histograms, outcome.exemplars) for outcome in outcomes] == [(1, 1), (1, 1)]
    assert (sender.histograms, sender.exemplars) == (2, 2)


def test_of_many_bodies_the_oldest_is_forgotten_and_judged_by_its_samples(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("agent.windows.sourcerate.MAX_REMEMBERED", 1)
    sender = Sender()
    sender.use(58)
    bodies = [v1(of(f"a{k}", minutes(1)), of(f"b{k}", minutes(1)), of(f"c{k}", minutes(1))) for k in range(2)]
    assert [limited(sender.send(body, at_s=k)[0]) for k, body in enumerate(bodies)] == [1, 2]
    [outcome] = sender.send(bodies[0], at_s=2)
    assert (outcome.samples, outcome.equal, outcome.later) == (3, 2, None)


def test_what_could_not_be_written_is_owed_whole_again() -> None:
    sender = Sender()
    sender.use(59)
    body = v1(of("a", minutes(1)), of("b", minutes(1)))
    sender.send(body)
    sender.door.forget()
    assert sender.send(body)[0].samples == 2


@given(
    rate=st.integers(1, 3),
    series=st.lists(st.tuples(st.integers(0, 2), st.integers(1, 40)), min_size=1, max_size=12),
    used=st.integers(0, 60),
)
def test_whoever_insists_gets_everything_in_once_and_no_faster_than_allowed(
    rate: int, series: list[tuple[int, int]], used: int
) -> None:
    sender = Sender(rate)
    sender.use(used)
    body = v1(*(of(f"m{k}", minutes(n), instance="ihk"[who]) for k, (who, n) in enumerate(series)))
    outcomes = sender.insist(body)
    wanted = sum(n for _, n in series)
    assert len(sender.written) == len(set(sender.written)) == wanted
    assert sum(outcome.samples for outcome in outcomes) == wanted
    at_s = sum(outcome.later.after_s for outcome in outcomes if outcome.later is not None)
    assert used + sum(n for who, n in series if who == 0) <= BURST_S * rate + rate * at_s + 1e-6
