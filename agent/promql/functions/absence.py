"""absent and absent_over_time: one series where nothing else is, labelled by what was asked for."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from agent.promql.functions.cells import occupied
from agent.promql.functions.counts import PRESENT, edges
from agent.promql.functions.elementwise import vector_of
from agent.promql.functions.kinds import Argument, Call, Function, Result
from agent.promql.functions.ranges import mixed, range_vector, run
from agent.promql.tree import MatrixSelector, VectorSelector, unwrap
from agent.promql.values import Matrix
from agent.telemetry.frames import Bool
from agent.telemetry.labels import METRIC_NAME, Labels, LabelTable, labels_of


def asked_labels(call: Call) -> Labels:
    """The labels that the selector in the call pins to one value; none for any other expression. A label
    with two matchers is not pinned, whatever they say."""
    selector = unwrap(call.node.args[0])
    if not isinstance(selector, VectorSelector | MatrixSelector):
        return ()
    pinned: dict[str, str] = {}
    seen: set[str] = set()
    for matcher in selector.matchers:
        if matcher.name == METRIC_NAME:
            continue
        if matcher.op == "=" and matcher.name not in seen:
            pinned[matcher.name] = matcher.value
            seen.add(matcher.name)
        else:
            pinned.pop(matcher.name, None)
    return labels_of(pinned)


def _missing(call: Call, there: Bool) -> Matrix:
    """``there`` has shape ``(series, steps)``."""
    missing: Bool = np.logical_not(np.any(there, axis=0)).reshape(1, -1)
    return Matrix(LabelTable.of([asked_labels(call)]), np.ones(missing.shape), missing)


def _absent(call: Call, arguments: Sequence[Argument]) -> Result:
    return _missing(call, occupied(vector_of(arguments)))


def _absent_over_time(call: Call, arguments: Sequence[Argument]) -> Result:
    windows = range_vector(arguments)
    _, there = run(edges, windows, PRESENT)
    for series in mixed(windows):
        there[series.row] |= series.has_histogram
    return _missing(call, there)


ABSENCE = {
    "absent": Function(_absent, drops_name=False),
    "absent_over_time": Function(_absent_over_time, drops_name=False),
}
