"""What a PromQL function is: a body from evaluated arguments to a matrix or a scalar a step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from agent.promql.values import Grid, Matrix, Selection
from agent.telemetry.frames import F64, I64, Bool


class Notes(Protocol):
    """Collects the annotations of one call. ``argument`` tells at which argument of the call the text
    points (its position in the query is added); -1 is the call itself. Texts are Prometheus' own, without
    the leading "PromQL warning: " or "PromQL info: "."""

    def warning(self, text: str, argument: int = 0) -> None: ...

    def info(self, text: str, argument: int = 0) -> None: ...


@dataclass(frozen=True, slots=True)
class Windows:
    """A range vector at every step: step ``j`` sees the samples with
    ``ends_ms[j] - range_ms < time <= ends_ms[j]`` (open on the left, as in Prometheus 3). Stale markers are
    taken out. ``ends_ms`` ascends, or is constant under ``@``.

    ``extension`` is "", ``anchored`` or ``smoothed``; the functions that know the two (rate, increase, delta;
    changes and resets only the first) then look at samples up to ``lookback_ms`` before the range as well,
    under ``smoothed`` also as far behind it, and the selection has to reach so far.

    ``drop_name`` marks the series of a subquery whose metric name goes at the end of the query; empty where
    there are none."""

    selection: Selection
    ends_ms: I64
    range_ms: int
    extension: str = ""
    lookback_ms: int = 0
    drop_name: Bool = field(default_factory=lambda: np.empty(0, np.bool_))


@dataclass(frozen=True, slots=True)
class Call:
    """Where a function is called. ``node`` is the syntax tree's call, for the few that look at it
    (``absent`` reads the matchers of its argument)."""

    name: str
    grid: Grid
    notes: Notes
    node: Any


# A string, a number a step, an instant vector a step, or a range vector a step.
Argument = str | F64 | Matrix | Windows
Result = Matrix | F64
Body = Callable[[Call, Sequence[Argument]], Result]


@dataclass(frozen=True, slots=True)
class Function:
    """``drops_name``: the result is no longer the metric that went in. ``experimental``: refused unless
    experimental functions are switched on (as in Prometheus, ``promql-experimental-functions``)."""

    body: Body
    drops_name: bool = True
    experimental: bool = False
