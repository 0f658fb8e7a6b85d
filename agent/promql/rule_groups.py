"""A rule group at work: when it is due, what its rules make of query results, and which series ended.

Nothing here asks or writes: the caller asks the query of one rule after the other, gives the answer to
``take`` and writes what comes back before it asks the next, because a rule may read what one before it
wrote. A series that a rule no longer gives ends with a staleness marker; a rule that fails ends nothing.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from agent.errors import ObservabilityError
from agent.promql.rules import AlertingRule, RecordingRule, Rule, RuleGroup
from agent.promql.values import STALE_NAN_BITS, Matrix
from agent.telemetry.labels import METRIC_NAME, Labels, hash_labels, labels_of
from agent.telemetry.native_histogram import FloatHistogram

STALE: float = struct.unpack("<d", struct.pack("<Q", STALE_NAN_BITS))[0]


class RuleFailed(ObservabilityError):
    """The answer of a rule's query is not what can be recorded."""


@dataclass(frozen=True, slots=True)
class RuleSample:
    """A sample of a rule, or of its query. ``histogram`` is there where the sample is a native one."""

    labels: Labels
    value: float
    histogram: FloatHistogram | None = None


@dataclass(frozen=True, slots=True)
class RuleWrite:
    """What is to be written at one time: samples, stale markers among them."""

    time_ms: int
    samples: tuple[RuleSample, ...]


@dataclass(slots=True)
class RuleState:
    """How the last evaluation of a rule went. ``health`` is ``unknown``, ``ok`` or ``err``."""

    rule: Rule
    health: str = "unknown"
    error: str = ""
    last_ms: int = 0
    took_s: float = 0.0
    series: frozenset[Labels] = frozenset()


def vector_of(result: Matrix | float, step: int = 0) -> list[RuleSample]:
    """One step of a query's result as samples; a scalar is a sample without labels."""
    if isinstance(result, float):
        return [RuleSample((), result)]
    samples = []
    for i, labels in enumerate(result.labels.rows()):
        histogram = None if result.histogram is None else result.histogram[i, step]
        if histogram is not None:
            samples.append(RuleSample(labels, 0.0, histogram))
        elif result.present[i, step]:
            samples.append(RuleSample(labels, float(result.value[i, step])))
    return samples


def recorded(rule: RecordingRule, vector: Sequence[RuleSample], limit: int = 0) -> list[RuleSample]:
    """The samples under the rule's name and labels. Raises RuleFailed."""
    if limit and len(vector) > limit:
        raise RuleFailed(f"exceeded limit of {limit} with {len(vector)} series")
    samples = [
        RuleSample(
            labels_of({**dict(one.labels), METRIC_NAME: rule.name, **rule.labels}), one.value, one.histogram
        )
        for one in vector
    ]
    if len({one.labels for one in samples}) < len(samples):
        raise RuleFailed("vector contains metrics with the same labelset after applying rule labels")
    return samples


@dataclass(slots=True)
class GroupRun:
    """A group between its evaluations. ``last_slot_ms`` is 0 before the first; ``ended`` are series that
    rules of an earlier file left."""

    group: RuleGroup
    rules: list[RuleState] = field(default_factory=list)
    last_slot_ms: int = 0
    evaluated_ms: int = 0
    took_s: float = 0.0
    ended: frozenset[Labels] = frozenset()

    @classmethod
    def of(cls, group: RuleGroup, before: GroupRun | None = None) -> GroupRun:
        """The group at its start, or in the place of an older form of it: rules that are the same go on,
        the series of the others end at the next evaluation."""
        run = cls(group, [RuleState(rule) for rule in group.rules])
        if before is None:
            return run
        left = list(before.rules)
        for i, state in enumerate(run.rules):
            same = next((old for old in left if _same_series(old.rule, state.rule)), None)
            if same is not None:
                left.remove(same)
                run.rules[i] = RuleState(
                    state.rule, same.health, same.error, same.last_ms, same.took_s, same.series
                )
        run.last_slot_ms = before.last_slot_ms
        run.ended = before.ended.union(*(state.series for state in left))
        return run

    @property
    def interval_ms(self) -> int:
        return max(1, round(self.group.interval_s * 1000))

    def slot_at(self, now_ms: int) -> int:
        """The last time at or before ``now_ms`` at which the group is due. Groups are spread over their
        interval by their names, the same ones at every start."""
        offset = hash_labels(self.group.key.encode()) % self.interval_ms
        return (now_ms - offset) // self.interval_ms * self.interval_ms + offset

    def due(self, now_ms: int, *, skip_missed: bool) -> list[int]:
        """The times at which to evaluate now, oldest first: the newest alone where missed ones are skipped.
        The first is never in the past of the start."""
        newest = self.slot_at(now_ms)
        if not self.last_slot_ms:
            self.last_slot_ms = newest
            return []
        if newest <= self.last_slot_ms:
            return []
        if skip_missed:
            return [newest]
        return list(range(self.last_slot_ms + self.interval_ms, newest + 1, self.interval_ms))

    def sample_time_ms(self, slot_ms: int) -> int:
        """The time of the query and of its samples."""
        return slot_ms - round(self.group.query_offset_s * 1000)

    def take(self, number: int, slot_ms: int, vector: Sequence[RuleSample], took_s: float) -> RuleWrite:
        """The answer of rule ``number``: what to write. Nothing where the rule fails; its state says why."""
        state = self.rules[number]
        if not isinstance(state.rule, RecordingRule):
            raise TypeError(f"rule {number} of {self.group.key} is no recording rule")
        try:
            samples = recorded(state.rule, vector, self.group.limit)
        except RuleFailed as failed:
            return self.failed(number, slot_ms, str(failed), took_s)
        given = frozenset(one.labels for one in samples)
        samples += _stale(state.series - given)
        state.health, state.error, state.series = "ok", "", given
        state.last_ms, state.took_s = slot_ms, took_s
        return RuleWrite(self.sample_time_ms(slot_ms), tuple(samples))

    def failed(self, number: int, slot_ms: int, error: str, took_s: float) -> RuleWrite:
        """The query of rule ``number`` had no answer. What the rule gave before stays as it is."""
        state = self.rules[number]
        state.health, state.error, state.last_ms, state.took_s = "err", error, slot_ms, took_s
        return RuleWrite(self.sample_time_ms(slot_ms), ())

    def unwritten(self, number: int, write: RuleWrite, error: str) -> None:
        """What ``take`` gave could not be written: the series it would have ended are still to be ended."""
        state = self.rules[number]
        state.health, state.error = "err", error
        state.series |= {one.labels for one in write.samples}

    def finish(self, slot_ms: int, took_s: float) -> RuleWrite:
        """The end of an evaluation: the markers of series whose rules are gone."""
        self.last_slot_ms, self.evaluated_ms, self.took_s = slot_ms, slot_ms, took_s
        current = frozenset[Labels]().union(*(state.series for state in self.rules))
        ended, self.ended = self.ended - current, frozenset()
        return RuleWrite(self.sample_time_ms(slot_ms), tuple(_stale(ended)))

    def last_words(self, now_ms: int) -> RuleWrite:
        """The group is gone: the markers of all its series."""
        series = self.ended.union(*(state.series for state in self.rules))
        return RuleWrite(self.sample_time_ms(now_ms), tuple(_stale(series)))

    def as_json(self) -> dict[str, Any]:
        """The group as ``/api/v1/rules`` shows it."""
        return {
            "name": self.group.name,
            "file": self.group.file,
            "rules": [_rule_json(state) for state in self.rules],
            "interval": self.group.interval_s,
            "limit": self.group.limit,
            "evaluationTime": self.took_s,
            "lastEvaluation": _moment(self.evaluated_ms),
        }


def _stale(series: frozenset[Labels]) -> list[RuleSample]:
    return [RuleSample(labels, STALE) for labels in sorted(series)]


def _same_series(old: Rule, new: Rule) -> bool:
    return type(old) is type(new) and old.name == new.name and dict(old.labels) == dict(new.labels)


def _rule_json(state: RuleState) -> dict[str, Any]:
    rule = state.rule
    shown: dict[str, Any] = {"name": rule.name, "query": rule.expr}
    if isinstance(rule, AlertingRule):
        shown |= {"state": "inactive", "duration": rule.for_s, "keepFiringFor": rule.keep_firing_for_s}
        shown |= {"labels": dict(rule.labels), "annotations": dict(rule.annotations), "alerts": []}
    else:
        shown |= {"labels": dict(rule.labels)}
    shown |= {"health": state.health, "lastError": state.error} if state.error else {"health": state.health}
    kind = "alerting" if isinstance(rule, AlertingRule) else "recording"
    return shown | {
        "evaluationTime": state.took_s,
        "lastEvaluation": _moment(state.last_ms),
        "type": kind,
    }


def _moment(time_ms: int) -> str:
    """RFC 3339; what never was is the zero time of Prometheus' JSON."""
    if not time_ms:
        return "0001-01-01T00:00:00Z"
    moment = datetime.fromtimestamp(time_ms / 1000, UTC).isoformat(timespec="milliseconds")
    return moment.replace("+00:00", "Z")
