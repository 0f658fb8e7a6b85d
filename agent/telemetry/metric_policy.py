"""Which metrics are kept, for how long, how often they are collected, and where a value begins to be bad.

The rules are those that people set (tables ``metrics_config`` and ``metric_thresholds``). A rule names a metric,
``*`` standing for any characters, and may ask for a service and for labels. The most telling rule that fits
decides alone: a full name before a pattern, a longer pattern before a shorter, then one with a service, then the
one with more labels. What no rule names is kept as the settings say.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

import msgspec
import numpy as np

from agent.errors import Malformed
from agent.telemetry.frames import I32
from agent.telemetry.labels import METRIC_NAME, LabelTable

MAX_REMEMBERED = 100_000  # names whose rules are known; beyond it they are looked up anew
NO_RULE = -1
SERVICE_LABELS = ("job", "service", "service_name")


@dataclass(frozen=True, slots=True)
class MetricRule:
    """``service`` empty asks for none. Retention and interval are those of the rule's metrics."""

    pattern: str
    service: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    enabled: bool = True
    retention_ms: int = 30 * 86_400_000
    scrape_interval_ms: int = 15_000

    def fits(self, labels: Mapping[str, str]) -> bool:
        """Whether a series whose name fits is meant."""
        return (not self.service or self.service in _services(labels)) and all(
            labels.get(name, "") == value for name, value in self.labels.items()
        )

    @property
    def asked(self) -> set[str]:
        """The labels that tell whether a series is meant whose name fits; none where the name is enough."""
        return {*self.labels, *(SERVICE_LABELS if self.service else ())}

    @property
    def weight(self) -> tuple[bool, int, bool, int]:
        """The larger, the more telling."""
        return "*" not in self.pattern, len(self.pattern), bool(self.service), len(self.labels)


class MetricPolicy:
    """Immutable but for what it remembers of names; ``version`` tells two of them apart."""

    def __init__(self, rules: Sequence[MetricRule] = (), version: int = 0) -> None:
        self.version = version
        self.rules = tuple(sorted(rules, key=lambda rule: rule.weight, reverse=True))
        self._patterns = [_compiled(rule.pattern) for rule in self.rules]
        self._by_name: dict[str, tuple[int, ...]] = {}

    def __reduce__(self) -> tuple[type[MetricPolicy], tuple[tuple[MetricRule, ...], int]]:
        return type(self), (self.rules, self.version)

    def rule_of(self, labels: Mapping[str, str]) -> MetricRule | None:
        """The rule that decides on a series; None where there is none."""
        place = self._first(self._places(labels.get(METRIC_NAME, "")), labels)
        return self.rules[place] if place != NO_RULE else None

    def keeps(self, labels: Mapping[str, str]) -> bool:
        """Whether samples of the series are taken in."""
        rule = self.rule_of(labels)
        return rule is None or rule.enabled

    def decide(self, sets: LabelTable) -> I32:
        """The place in ``rules`` of the rule that decides on each label set, NO_RULE where there is none: what
        ``rule_of`` says, at the cost of the distinct names, and of the distinct values of those labels that
        rules of a name ask for."""
        by_name, named = sets.keep([METRIC_NAME]).group()
        chains = [self._places(name) for name in named.column(METRIC_NAME)]
        found = np.asarray([next(iter(chain), NO_RULE) for chain in chains], np.int32)[by_name]
        number = {chain: k for k, chain in enumerate(dict.fromkeys(chains))}
        by_chain = np.asarray([number[chain] for chain in chains], np.int32)[by_name]
        for chain, k in number.items():
            if chain and self.rules[chain[0]].asked:
                rows = np.flatnonzero(by_chain == k)
                found[rows] = self._decided(chain, sets.take(rows))
        return found

    def to_json(self) -> bytes:
        return msgspec.json.encode(_Kept(self.version, self.rules))

    @classmethod
    def from_json(cls, content: bytes) -> MetricPolicy:
        """What ``to_json`` wrote. Raises ``Malformed`` for anything else."""
        try:
            kept = msgspec.json.decode(content, type=_Kept)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise Malformed("bad_metric_policy", f"this is no policy of metrics: {error}") from None
        return cls(kept.rules, kept.version)

    def _first(self, places: tuple[int, ...], labels: Mapping[str, str]) -> int:
        return next((place for place in places if self.rules[place].fits(labels)), NO_RULE)

    def _decided(self, places: tuple[int, ...], sets: LabelTable) -> I32:
        """Which of the rules that fit the names of label sets decides on each."""
        asked = {name for place in places for name in self.rules[place].asked}
        by_set, distinct = sets.keep(asked).group()
        return np.asarray([self._first(places, dict(one)) for one in distinct.rows()], np.int32)[by_set]

    def _places(self, name: str) -> tuple[int, ...]:
        """The rules that fit a name, by their places, the most telling first; mostly none."""
        found = self._by_name.get(name)
        if found is None:
            if len(self._by_name) >= MAX_REMEMBERED:
                self._by_name.clear()
            fits = [pattern.fullmatch(name) is not None for pattern in self._patterns]
            found = self._by_name[name] = tuple(place for place, fit in enumerate(fits) if fit)
        return found


class _Kept(msgspec.Struct, frozen=True):
    version: int
    rules: tuple[MetricRule, ...]


class State(StrEnum):
    NORMAL = "normal"
    WARNING = "warning"
    CRITICAL = "critical"


OPERATORS: Mapping[str, Callable[[float, float], bool]] = {
    ">": operator.gt, ">=": operator.ge, "<": operator.lt, "<=": operator.le,
    "==": operator.eq, "!=": operator.ne,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Threshold:
    """From where on a value of a metric is bad; None where there is no such state. ``kind`` says what the
    value is: the metric itself (``static``), its ``rate_of_change``, or its distance from a ``baseline``,
    ``anomaly`` or ``forecast``."""

    pattern: str
    kind: str = "static"
    comparison: str = ">"
    warning: float | None = None
    critical: float | None = None

    def state_of(self, value: float) -> State:
        compare = OPERATORS[self.comparison]
        if self.critical is not None and compare(value, self.critical):
            return State.CRITICAL
        if self.warning is not None and compare(value, self.warning):
            return State.WARNING
        return State.NORMAL


def _compiled(pattern: str) -> re.Pattern[str]:
    # A run of stars is one: each further one would cost time and say nothing.
    parts = re.split(r"\*+", pattern)
    return re.compile(".*".join(re.escape(part) for part in parts), re.DOTALL)


def _services(labels: Mapping[str, str]) -> set[str]:
    """What a series may be said to come from: its job, with and without the namespace, and its service."""
    job, *others = (labels.get(name, "") for name in SERVICE_LABELS)
    return {job, job.rpartition("/")[2], *others}
