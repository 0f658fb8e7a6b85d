"""The time of every range function of PromQL over many series: ``python -m tests.benchmarks.promql_kernels``.

One call over 8,000 counters of 260 samples 15 s apart at 240 steps, the shortest of some runs, in CPU time of
the calling thread (whatever else the machine does); the last line is a JSON object of milliseconds by
function and range.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence

import numpy as np

from agent.promql.functions import FUNCTIONS
from agent.promql.functions.kinds import Argument, Call, Windows
from agent.promql.values import Grid, Matrix, Selection
from agent.telemetry.labels import LabelTable, labels_of

SCRAPE_MS = 15_000
MORE: dict[str, tuple[float, ...]] = {
    "predict_linear": (3600.0,),
    "double_exponential_smoothing": (0.3, 0.3),
}
NAMES = (
    "rate", "increase", "delta", "irate", "idelta", "sum_over_time", "avg_over_time", "count_over_time",
    "last_over_time", "max_over_time", "min_over_time", "changes", "resets", "stddev_over_time",
    "quantile_over_time", "mad_over_time", "ts_of_max_over_time", "deriv", "predict_linear",
    "double_exponential_smoothing", "absent_over_time",
)  # fmt: skip


class _Silence:
    def warning(self, text: str, argument: int = 0) -> None: ...

    def info(self, text: str, argument: int = 0) -> None: ...


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--series", type=int, default=8_000)
    arguments.add_argument("--samples", type=int, default=260)
    arguments.add_argument("--steps", type=int, default=240)
    arguments.add_argument("--runs", type=int, default=5)
    given = arguments.parse_args()
    selection = counters(given.series, given.samples)
    grid = Grid(given.samples * SCRAPE_MS - given.steps * SCRAPE_MS, 0, SCRAPE_MS)
    grid = Grid(grid.start_ms, grid.start_ms + (given.steps - 1) * SCRAPE_MS, SCRAPE_MS)
    figures: dict[str, dict[str, float]] = {}
    for name in NAMES:
        figures[name] = {}
        for label, range_ms in (("5m", 300_000), ("1h", 3_600_000)):
            run = prepared(name, Windows(selection, grid.times + 1, range_ms), grid)
            figures[name][label] = round(min(timed(run) for _ in range(given.runs)) * 1000, 1)
        print(f"{name:32} 5m {figures[name]['5m']:8.1f} ms   1h {figures[name]['1h']:8.1f} ms")
    print(json.dumps(figures))


def counters(series: int, samples: int) -> Selection:
    """Counters with a reset now and then, scraped with a jitter."""
    rng = np.random.default_rng(7)
    value = rng.gamma(2.0, 20.0, (series, samples)).round(3).cumsum(axis=1)
    for row in np.flatnonzero(rng.random(series) < 0.1).tolist():
        at = int(rng.integers(1, samples))
        value[row, at:] -= value[row, at - 1]
    times = np.arange(samples) * SCRAPE_MS + rng.integers(-40, 40, (series, samples)) + 1000
    labels = LabelTable.of([labels_of({"__name__": "c_total", "i": str(i)}) for i in range(series)])
    offsets = np.arange(series + 1, dtype=np.int64) * samples
    return Selection(labels, offsets, times.reshape(-1).astype(np.int64), value.reshape(-1))


def prepared(name: str, windows: Windows, grid: Grid) -> Callable[[], object]:
    call = Call(name, grid, _Silence(), _Node())
    more: Sequence[Argument] = [np.full(len(grid), number) for number in MORE.get(name, ())]
    arguments: list[Argument] = [windows, *more]
    if name == "quantile_over_time":
        arguments.insert(0, np.full(len(grid), 0.9))

    def run() -> Matrix:
        result = FUNCTIONS[name].body(call, arguments)
        if not isinstance(result, Matrix):
            raise TypeError(f"{name}: got {type(result).__name__}, expected a matrix")
        return result

    run()  # compiles, or loads what was compiled
    return run


class _Node:
    """A call whose argument pins no labels."""

    args = (None,)


def timed(run: Callable[[], object]) -> float:
    begin = time.thread_time()
    run()
    return time.thread_time() - begin


if __name__ == "__main__":
    main()
