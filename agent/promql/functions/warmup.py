"""Compiles the kernels of the functions, or loads them from the cache, by one call of each on one series."""

from __future__ import annotations

import numpy as np

from agent.promql.functions import FUNCTIONS
from agent.promql.functions.kinds import Argument, Call, Windows
from agent.promql.tree import Call as Node
from agent.promql.tree import MatrixSelector, VectorSelector
from agent.promql.values import Grid, Selection
from agent.telemetry.labels import LabelTable

_RANGE_MS = 10

# Over range vectors, with the scalars that follow them; those of quantile_over_time come first.
_OVER_RANGES: dict[str, tuple[float, ...]] = {
    "absent_over_time": (),
    "avg_over_time": (),
    "changes": (),
    "deriv": (),
    "double_exponential_smoothing": (0.5, 0.5),
    "irate": (),
    "mad_over_time": (),
    "max_over_time": (),
    "min_over_time": (),
    "predict_linear": (1.0,),
    "quantile_over_time": (0.5,),
    "rate": (),
    "stddev_over_time": (),
    "stdvar_over_time": (),
    "ts_of_max_over_time": (),
    "ts_of_min_over_time": (),
}
_EXTENDED = {"rate": "smoothed", "changes": "anchored"}


class _Silence:
    def warning(self, text: str, argument: int = 0) -> None: ...

    def info(self, text: str, argument: int = 0) -> None: ...


def warm_up() -> None:
    for name, scalars in _OVER_RANGES.items():
        _run(name, scalars, "")
    for name, extension in _EXTENDED.items():
        _run(name, (), extension)


def _run(name: str, scalars: tuple[float, ...], extension: str) -> None:
    selection = Selection(
        LabelTable.empty(1), np.array([0, 3]), np.array([1, 2, 3]), np.array([1.0, 2.0, 1.0])
    )
    windows = Windows(selection, np.array([3]), _RANGE_MS, extension, _RANGE_MS)
    arguments: list[Argument] = [windows, *(np.array([number]) for number in scalars)]
    if name == "quantile_over_time":
        arguments.reverse()
    node = Node(name, (MatrixSelector(VectorSelector(()), _RANGE_MS),), "vector")
    FUNCTIONS[name].body(Call(name, Grid(3, 3, 0), _Silence(), node), arguments)
