"""How long it takes to write a large answer of Prometheus' API: a matrix of series x steps, from columns to JSON.

    python -m tests.benchmarks.prometheus_rendering [--series 8000] [--steps 240] [--rounds 7]

Beside it, orjson writes the same answer from Python objects that are already there (making them is not
counted). ``gzip`` is the same bytes compressed at the level of the API. The last line is JSON: the median of
the rounds in ms, ns a cell, MB of JSON.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from functools import partial

import cramjam
import numpy as np
import orjson

from actors.aggregator.prometheus.digits import time_text
from actors.aggregator.prometheus.replies import GZIP_LEVEL
from actors.aggregator.prometheus.series import load_kernels, matrix_pieces
from agent.promql.values import Matrix
from agent.telemetry.labels import LabelTable, labels_of

START_MS = 1_700_000_000_000
KINDS = ("rates", "counters")


def made(series: int, steps: int, kind: str) -> Matrix:
    """``rates`` have all their 17 digits, ``counters`` are whole."""
    random = np.random.default_rng(7)
    value = np.cumsum(random.exponential(7.3, (series, steps)), axis=1)
    value = np.floor(value * 40) if kind == "counters" else value
    labels = LabelTable.of(
        [
            labels_of(
                {
                    "__name__": "http_requests_total", "job": f"job-{i % 20}", "instance": f"10.0.{i % 400 // 20}.{i % 20}:9100",
                    "path": f"/api/{i // 400}", "method": "GET", "code": "200",
                }
            )
            for i in range(series)
        ]
    )  # fmt: skip
    return Matrix(labels, value, np.ones(value.shape, np.bool_))


def median_ms(rounds: int, run: Callable[[], object]) -> float:
    took = []
    for _ in range(rounds):
        began = time.perf_counter()
        run()
        took.append((time.perf_counter() - began) * 1e3)
    return statistics.median(took)


def _render(matrix: Matrix, times: list[int]) -> None:
    list(matrix_pieces(matrix, times, single=False))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--series", type=int, default=8000)
    parser.add_argument("--steps", type=int, default=240)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    load_kernels()
    times = [START_MS + 15_000 * i for i in range(options.steps)]
    cells = options.series * options.steps
    out: dict[str, object] = {}
    for kind in KINDS:
        matrix = made(options.series, options.steps, kind)
        body = b"".join(matrix_pieces(matrix, times, single=False))
        took = median_ms(options.rounds, partial(_render, matrix, times))
        packed = median_ms(1, partial(cramjam.gzip.compress, body, GZIP_LEVEL))
        out[kind] = {
            "ms": round(took, 1),
            "ns_a_cell": round(took * 1e6 / cells, 1),
            "mb": round(len(body) / 1e6, 1),
            "gzip_ms": round(packed, 1),
        }
        print(f"{kind}: {out[kind]}")
    rows = orjson.loads(b"[" + body + b"]")
    out["orjson_ms"] = round(median_ms(options.rounds, lambda: orjson.dumps(rows)), 1)
    print(f"orjson from objects: {out['orjson_ms']} ms; first time {time_text(times[0])}")
    print(json.dumps(out))


if __name__ == "__main__":
    main()
