"""What an exposition says once it is read: families with their samples and exemplars.

Labels keep the order in which they were written, and those with an empty value, because the rules of
OpenMetrics speak about the text. Times are Unix seconds as exact decimals: OpenMetrics counts nanoseconds,
which a float does not hold.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum

from agent.errors import Malformed

LabelPairs = tuple[tuple[str, str], ...]


class MetricType(StrEnum):
    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"
    GAUGEHISTOGRAM = "gaugehistogram"
    SUMMARY = "summary"
    INFO = "info"
    STATESET = "stateset"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Exemplar:
    labels: LabelPairs
    value: float
    time_s: Decimal | None = None


@dataclass(frozen=True, slots=True)
class Sample:
    """One line. ``name`` is the name as written, with its suffix."""

    name: str
    labels: LabelPairs
    value: float
    time_s: Decimal | None = None
    exemplar: Exemplar | None = None

    def label(self, name: str) -> str | None:
        return next((value for key, value in self.labels if key == name), None)


@dataclass(frozen=True, slots=True)
class Family:
    name: str
    type: MetricType = MetricType.UNKNOWN
    help: str = ""
    unit: str = ""
    samples: list[Sample] = field(default_factory=list)


class BadExposition(Malformed):
    """An exposition that is refused whole; ``line`` is counted from 1."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__("bad_exposition", f"line {line}: {message}")
        self.line, self.what = line, message

    def __reduce__(self) -> tuple[type[BadExposition], tuple[int, str]]:  # type: ignore[override]
        return type(self), (self.line, self.what)
