"""Samples of Prometheus series as columns: what remote write, scraping and rules put into the log.

A row of ``series_hash`` is one series of the request (``agent.telemetry.labels.hash_labels`` of its canonical
bytes); its float samples are the next ``sample_count`` rows of ``time_ms`` and ``value``, its native
histograms the next ``histogram_count`` rows of ``histogram_*``. A record may join several requests, so one
series may have several rows, and samples that are older than its last one, or there already.
Labels travel once: a series that the gateway has not defined lately is in ``define_hash``, its canonical bytes
at ``define_off``, ``define_len`` in ``raw``.
Histograms are the ``Histogram`` messages of remote write (``io.prometheus.write.v2``), exemplars carry
their labels as canonical bytes. Times are Unix milliseconds.

Definitions and the log: the gateway defines a series once a generation, which begins at the log position
``defined_since`` (one entry). Whoever keeps a record of the log keeps the log from its ``defined_since`` on,
and so has the labels of every series in it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from agent.telemetry.frames import F64, I32, I64, U8, U64
from agent.telemetry.samplepack import PACKED, pack, unpack

Columns = Mapping[str, np.ndarray[Any, Any]]

SAMPLES = "samples"  # the signal of a log record


@dataclass(frozen=True, slots=True)
class SampleBatch:
    """Read-only by convention. Rows are screened: what is here was accepted. ``exemplar_series`` and
    ``metadata_off`` rows are few; metadata are JSON objects ``{"metric", "type", "help", "unit"}``."""

    raw: U8
    defined_since: I64
    series_hash: U64
    sample_count: I32
    histogram_count: I32
    time_ms: I64
    value: F64
    define_hash: U64
    define_off: I64
    define_len: I64
    histogram_time_ms: I64
    histogram_off: I64
    histogram_len: I64
    exemplar_series: I32  # row of series_hash
    exemplar_time_ms: I64
    exemplar_value: F64
    exemplar_off: I64
    exemplar_len: I64
    metadata_off: I64
    metadata_len: I64

    def __len__(self) -> int:
        return len(self.time_ms) + len(self.histogram_time_ms)


def is_plain(arrays: Columns) -> bool:
    """Whether the columns of a record hold floats of known series only."""
    return not any(len(arrays.get(name, ())) for name in ("raw", "histogram_time_ms", "exemplar_series"))


def joined(batches: Sequence[SampleBatch]) -> SampleBatch:
    """One batch of several plain ones, in their order, whose definitions lie at the same position."""
    if len(batches) == 1:
        return batches[0]
    names = ("series_hash", *PACKED)
    columns = {name: np.concatenate([getattr(one, name) for one in batches]) for name in names}
    columns["series_hash"].flags.writeable = False  # as the log's own are: kernels are compiled for one type
    return replace(batches[0], **columns)


def sample_columns(batch: SampleBatch) -> dict[str, np.ndarray[Any, Any]]:
    """The arrays by name, as a log record keeps them: the large ones packed, the empty ones left out, for each costs a
    microsecond or two at both ends of the log."""
    columns = {name: getattr(batch, name) for name in _OTHERS if len(getattr(batch, name))}
    large = (batch.sample_count, batch.histogram_count, batch.time_ms, batch.value)
    return columns | pack(len(batch.series_hash), *large)


def from_sample_columns(arrays: Columns) -> SampleBatch:
    """The batch whose ``sample_columns`` were ``arrays``. Raises KeyError where one is missing that is not empty."""
    others = {name: arrays.get(name, none) for name, none in _OTHERS.items()}
    return SampleBatch(**others, **unpack(len(others["series_hash"]), arrays))


_TYPES = {"U8": np.uint8, "I32": np.int32, "I64": np.int64, "U64": np.uint64, "F64": np.float64}
# The columns that are not packed, each without a row; of the log's type, which may not be written to, so that kernels
# are compiled once.
_OTHERS = {
    f.name: np.frombuffer(b"", _TYPES[str(f.type)]) for f in fields(SampleBatch) if f.name not in PACKED
}
