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

from agent.telemetry.labels import METRIC_NAME

MAX_REMEMBERED = 100_000  # names whose rules are known; beyond it they are looked up anew


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
    def weight(self) -> tuple[bool, int, bool, int]:
        """The larger, the more telling."""
        return "*" not in self.pattern, len(self.pattern), bool(self.service), len(self.labels)


class MetricPolicy:
    """Immutable but for what it remembers of names; ``version`` tells two of them apart."""

    def __init__(self, rules: Sequence[MetricRule] = (), version: int = 0) -> None:
        self.version = version
        self.rules = tuple(sorted(rules, key=lambda rule: rule.weight, reverse=True))
        self._patterns = [_compiled(rule.pattern) for rule in self.rules]
        self._by_name: dict[str, tuple[MetricRule, ...]] = {}

    def __reduce__(self) -> tuple[type[MetricPolicy], tuple[tuple[MetricRule, ...], int]]:
        return type(self), (self.rules, self.version)

    def rule_of(self, labels: Mapping[str, str]) -> MetricRule | None:
        """The rule that decides on a series; None where there is none."""
        return next((r for r in self.rules_of_name(labels.get(METRIC_NAME, "")) if r.fits(labels)), None)

    def keeps(self, labels: Mapping[str, str]) -> bool:
        """Whether samples of the series are taken in."""
        rule = self.rule_of(labels)
        return rule is None or rule.enabled

    def rules_of_name(self, name: str) -> tuple[MetricRule, ...]:
        """The rules that fit a name, the most telling first; mostly none, which spares looking at labels."""
        found = self._by_name.get(name)
        if found is None:
            if len(self._by_name) >= MAX_REMEMBERED:
                self._by_name.clear()
            pairs = zip(self.rules, self._patterns, strict=True)
            found = self._by_name[name] = tuple(rule for rule, pattern in pairs if pattern.fullmatch(name))
        return found


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
    job = labels.get("job", "")
    return {job, job.rpartition("/")[2], labels.get("service", ""), labels.get("service_name", "")}
