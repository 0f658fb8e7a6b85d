from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from agent.promql.rule_groups import STALE, GroupRun, RuleFailed, RuleSample, recorded, vector_of
from agent.promql.rules import AlertingRule, RecordingRule, RuleGroup
from agent.promql.values import STALE_NAN_BITS, Matrix
from agent.telemetry.labels import Labels, LabelTable

RULE = RecordingRule("r", "up", {"team": "a"})
A: Labels = (("job", "a"),)
B: Labels = (("job", "b"),)


def named(labels: Labels, name: str = "r") -> Labels:
    return tuple(sorted((*labels, ("__name__", name), ("team", "a"))))


def group(*rules: RecordingRule | AlertingRule, interval_s: float = 10.0, **more: float) -> RuleGroup:
    return replace(RuleGroup("f", "g", rules or (RULE,), interval_s), **more)  # type: ignore[arg-type]


def is_stale(value: float) -> bool:
    return int(np.float64(value).view(np.uint64)) == STALE_NAN_BITS


def test_samples_get_the_name_and_the_labels_of_the_rule() -> None:
    vector = [RuleSample((("__name__", "up"), ("job", "a"), ("team", "old")), 1.0)]
    assert recorded(RULE, vector) == [RuleSample(named(A), 1.0)]


def test_an_empty_label_of_the_rule_takes_one_away() -> None:
    (sample,) = recorded(RecordingRule("r", "up", {"job": ""}), [RuleSample(A, 1.0)])
    assert sample.labels == (("__name__", "r"),)


def test_equal_labels_fail() -> None:
    vector = [RuleSample((("__name__", "x"), *A), 1.0), RuleSample((("__name__", "y"), *A), 1.0)]
    with pytest.raises(RuleFailed, match="same labelset"):
        recorded(RULE, vector)


def test_more_series_than_the_limit_fail() -> None:
    with pytest.raises(RuleFailed, match="exceeded limit of 1 with 2 series"):
        recorded(RULE, [RuleSample(A, 1.0), RuleSample(B, 1.0)], 1)


def test_a_series_that_vanishes_ends_with_a_stale_marker() -> None:
    run = GroupRun.of(group())
    run.take(0, 10_000, [RuleSample(A, 1.0), RuleSample(B, 2.0)], 0.1)
    write = run.take(0, 20_000, [RuleSample(A, 3.0)], 0.1)
    assert [(s.labels, is_stale(s.value)) for s in write.samples] == [(named(A), False), (named(B), True)]
    assert len(run.take(0, 30_000, [RuleSample(A, 3.0)], 0.1).samples) == 1


def test_a_rule_that_fails_ends_nothing() -> None:
    run = GroupRun.of(group())
    run.take(0, 10_000, [RuleSample(A, 1.0)], 0.1)
    assert run.failed(0, 20_000, "away", 0.1).samples == ()
    assert (run.rules[0].health, run.rules[0].error) == ("err", "away")
    write = run.take(0, 30_000, [], 0.1)
    assert [is_stale(s.value) for s in write.samples] == [True]


def test_samples_lie_at_the_time_of_the_query() -> None:
    run = GroupRun.of(group(query_offset_s=3.0))
    assert run.take(0, 10_000, [], 0.1).time_ms == 7_000


def test_a_rule_that_is_gone_leaves_markers() -> None:
    before = GroupRun.of(group(RULE, RecordingRule("s", "up", {"team": "a"})))
    before.take(0, 10_000, [RuleSample(A, 1.0)], 0.1)
    before.take(1, 10_000, [RuleSample(A, 1.0)], 0.1)
    after = GroupRun.of(group(RULE), before)
    after.take(0, 20_000, [RuleSample(A, 1.0)], 0.1)
    assert [s.labels for s in after.finish(20_000, 0.1).samples] == [named(A, "s")]
    assert after.finish(30_000, 0.1).samples == ()


def test_a_group_that_is_gone_leaves_markers() -> None:
    run = GroupRun.of(group())
    run.take(0, 10_000, [RuleSample(A, 1.0)], 0.1)
    write = run.last_words(20_000)
    assert [s.labels for s in write.samples] == [named(A)]


def test_slots_are_an_interval_apart_and_the_same_at_every_start() -> None:
    first, second = GroupRun.of(group()), GroupRun.of(group())
    slot = first.slot_at(1_000_000)
    assert 990_000 < slot <= 1_000_000
    assert second.slot_at(1_000_000) == slot
    assert first.slot_at(slot + 9_999) == slot
    assert first.slot_at(slot + 10_000) == slot + 10_000


@pytest.mark.parametrize(("skip", "expected"), [(True, [30]), (False, [10, 20, 30])])
def test_due(skip: bool, expected: list[int]) -> None:
    run = GroupRun.of(group())
    start = run.slot_at(1_000_000)
    assert run.due(start, skip_missed=skip) == []
    assert run.due(start + 9_999, skip_missed=skip) == []
    slots = run.due(start + 35_000, skip_missed=skip)
    assert [slot - start for slot in slots] == [s * 1000 for s in expected]


def test_a_matrix_as_samples() -> None:
    matrix = Matrix(
        LabelTable.of([A, B]), np.asarray([[1.0, 2.0], [3.0, 4.0]]), np.asarray([[True, True], [True, False]])
    )
    assert vector_of(matrix, 0) == [RuleSample(A, 1.0), RuleSample(B, 3.0)]
    assert vector_of(matrix, 1) == [RuleSample(A, 2.0)]
    assert vector_of(5.0) == [RuleSample((), 5.0)]


def test_the_group_as_the_api_shows_it() -> None:
    run = GroupRun.of(group(RULE, AlertingRule("Down", "up == 0", for_s=60.0)))
    run.take(0, 1_700_000_000_500, [], 0.25)
    run.finish(1_700_000_000_500, 0.5)
    shown = run.as_json()
    assert (shown["interval"], shown["evaluationTime"], shown["lastEvaluation"]) == (
        10.0, 0.5, "2023-11-14T22:13:20.500Z",
    )  # fmt: skip
    recording, alerting = shown["rules"]
    assert recording == {
        "name": "r", "query": "up", "labels": {"team": "a"}, "health": "ok", "evaluationTime": 0.25,
        "lastEvaluation": "2023-11-14T22:13:20.500Z", "type": "recording",
    }  # fmt: skip
    assert (alerting["state"], alerting["duration"], alerting["alerts"]) == ("inactive", 60.0, [])
    assert alerting["lastEvaluation"] == "0001-01-01T00:00:00Z"


def test_the_stale_marker_is_the_one_of_prometheus() -> None:
    assert math.isnan(STALE)
    assert is_stale(STALE)
