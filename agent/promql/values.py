"""What a query works on: selected samples by series, and matrices of series and steps.

Times are Unix milliseconds. A value that is absent is told by ``present``, never by NaN: NaN is a value.
Native histograms are rare beside floats and are kept as objects.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from agent.promql.kernels import written_out
from agent.telemetry.frames import F64, I64, Bool
from agent.telemetry.labels import LabelTable

Objects = npt.NDArray[np.object_]

# The bit pattern by which Prometheus marks the end of a series (model/value).
STALE_NAN_BITS = 0x7FF0000000000002


@dataclass(frozen=True, slots=True)
class Matcher:
    """``op`` is ``=``, ``!=``, ``=~`` or ``!~``; an absent label has the value ""."""

    name: str
    op: str
    value: str


@dataclass(frozen=True, slots=True)
class Histograms:
    """The native histogram samples of a selection: those of series ``i`` are rows
    ``offsets[i]:offsets[i + 1]``, in time order. ``sample`` holds ``FloatHistogram`` objects
    (``agent.telemetry.native``); a stale marker is one whose ``stale`` is true."""

    offsets: I64
    time_ms: I64
    sample: Objects


@dataclass(frozen=True, slots=True)
class Times:
    """The times of the samples of series: those of series ``i`` are the rows of ``ms`` from ``start[i]`` on. Series
    side by side that were scraped together share theirs; lists of times lie in the order of the series."""

    start: I64
    ms: I64


@dataclass(frozen=True, slots=True, init=False)
class Selection:
    """Raw samples by series: floats of series ``i`` are rows ``offsets[i]:offsets[i + 1]`` of ``value``, in time
    order, stale markers among them where there may be such (``stale``). A series has both kinds of samples at
    different times, if at all."""

    labels: LabelTable
    offsets: I64
    times: Times
    value: F64
    histograms: Histograms | None
    stale: bool

    def __init__(
        self,
        labels: LabelTable,
        offsets: I64,
        times: Times | I64,
        value: F64,
        histograms: Histograms | None = None,
        stale: bool = True,
    ) -> None:
        """``times`` may be a column beside ``value``."""
        shared = times if isinstance(times, Times) else Times(offsets[:-1], times)
        fields = (labels, offsets, shared, value, histograms, stale)
        for name, one in zip(self.__slots__, fields, strict=True):
            object.__setattr__(self, name, one)

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def time_ms(self) -> I64:
        """The time of every value, written out where series share theirs."""
        if len(self.times.ms) == len(self.value):
            return self.times.ms
        column: I64 = written_out(self.offsets, self.times.start, self.times.ms)
        return column


@dataclass(frozen=True, slots=True)
class Exemplars:
    """Exemplars of one series; ``labels`` are the exemplar's own."""

    series: dict[str, str]
    exemplars: Sequence[dict[str, Any]]  # {"labels": {..}, "value": float, "timestamp_ms": int}


class Storage(Protocol):
    """What the engine reads. Ranges of time are inclusive at both ends."""

    def select(self, matchers: Sequence[Matcher], start_ms: int, end_ms: int) -> Selection:
        """The series that fit all matchers, with their samples in ``[start_ms, end_ms]``; series without
        any in it may be left out. Raises ``QueryLimit`` past the limit of series or samples."""
        ...


@dataclass(frozen=True, slots=True)
class Grid:
    """The steps of a query: ``start_ms``, ``start_ms + step_ms``, ... up to ``end_ms``; an instant query
    has one."""

    start_ms: int
    end_ms: int
    step_ms: int

    @property
    def times(self) -> I64:
        return self.start_ms + max(1, self.step_ms) * np.arange(len(self), dtype=np.int64)

    def __len__(self) -> int:
        return (self.end_ms - self.start_ms) // max(1, self.step_ms) + 1


@dataclass(frozen=True, slots=True)
class Matrix:
    """An instant vector at every step: row ``i`` is one series. ``value`` and ``present`` have shape
    ``(series, steps)``; ``histogram``, where there are native histograms, too, holding ``FloatHistogram``
    or None. A cell has a float (``present``), a histogram, or neither. ``drop_name`` says that the metric
    name goes away at the end of the query (delayed name removal), row by row."""

    labels: LabelTable
    value: F64
    present: Bool
    histogram: Objects | None = None
    drop_name: Bool = field(default_factory=lambda: np.empty(0, np.bool_))

    def __len__(self) -> int:
        return len(self.labels)
