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
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from agent.telemetry.frames import F64, I32, I64, U8, U64
from agent.telemetry.samplepack import PACKED, pack, samples_of, unpack, unpack_floats

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


class Joiner:
    """Puts plain records together in buffers that stay, in place of arrays for every record and others for them
    all. Not thread-safe."""

    def __init__(self) -> None:
        self._held: dict[str, np.ndarray[Any, Any]] = {
            "series_hash": np.empty(0, np.uint64),
            "sample_count": np.empty(0, np.int32),
            "histogram_count": np.empty(0, np.int32),
            "time_ms": np.empty(0, np.int64),
            "value": np.empty(0, np.float64),
        }

    def joined(self, records: Sequence[Columns]) -> SampleBatch:
        """One batch of the columns of plain records whose definitions lie at the same position, in their order. The
        next call writes over it. Raises KeyError, ValueError where a record is not what it should be."""
        hashes = [one.get("series_hash", _OTHERS["series_hash"]) for one in records]
        rows = [len(one) for one in hashes]
        samples = [samples_of(count, one) for count, one in zip(rows, records, strict=True)]
        large = self._room(sum(rows), sum(samples))
        np.concatenate(hashes, out=large["series_hash"])
        counts, time_ms, value = large["sample_count"], large["time_ms"], large["value"]
        row = at = 0
        for one, count, size in zip(records, rows, samples, strict=True):
            unpack_floats(one, counts[row : row + count], time_ms[at : at + size], value[at : at + size])
            row, at = row + count, at + size
        large["series_hash"].flags.writeable = False  # as the log's own: kernels are compiled for one type
        others = {name: records[0].get(name, none) for name, none in _OTHERS.items() if name not in large}
        return SampleBatch(**others, **large)

    def _room(self, rows: int, samples: int) -> dict[str, np.ndarray[Any, Any]]:
        """The beginnings of the buffers, as long as is wanted."""
        found = {}
        for name, held in self._held.items():
            size = samples if name in ("time_ms", "value") else rows
            if len(held) < size:  # zeros, since plain records have no histograms to count
                held = self._held[name] = np.zeros(max(size, 2 * len(held)), held.dtype)
            found[name] = held[:size]
        return found
