"""What a query of a window gives back, from samples that were found: histograms and exemplars decoded."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from agent.promql.values import Histograms
from agent.telemetry.frames import F64, I64
from agent.telemetry.labels import decode_labels

DecodeHistograms = Callable[[Sequence[bytes]], Sequence[Any]]
Items = dict[int, list[tuple[int, bytes]]]  # by place of the series, in the order of time


def offsets_of(counts: I64) -> I64:
    offsets = np.zeros(len(counts) + 1, np.int64)
    np.cumsum(counts, out=offsets[1:])
    return offsets


def extend(items: Items, more: Items) -> None:
    for row, one in more.items():
        items.setdefault(row, []).extend(one)


def items_from(items: Items, floor_ms: I64) -> Items:
    """Those that are not below the floor of their series."""
    shown = {row: [item for item in one if item[0] >= floor_ms[row]] for row, one in items.items()}
    return {row: one for row, one in shown.items() if one}


def histograms_of(items: Items, series: int, decode: DecodeHistograms) -> Histograms | None:
    """None where there are none."""
    if not items:
        return None
    counts = np.zeros(series, np.int64)
    counts[list(items)] = [len(one) for one in items.values()]
    offsets = offsets_of(counts)
    time_ms, sample = np.empty(offsets[-1], np.int64), np.empty(offsets[-1], np.object_)
    for row, one in items.items():
        rows = slice(int(offsets[row]), int(offsets[row + 1]))
        time_ms[rows] = [time for time, _ in one]
        sample[rows] = decode([content for _, content in one])
    return Histograms(offsets, time_ms, sample)


def exemplar_of(time_ms: int, content: bytes) -> dict[str, Any]:
    """An exemplar as ``Recent`` packs it: the value, then the labels."""
    value: F64 = np.frombuffer(content, np.float64, 1)
    return {"labels": dict(decode_labels(content[8:])), "value": float(value[0]), "timestamp_ms": time_ms}
