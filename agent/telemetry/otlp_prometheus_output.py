"""What few rows of a batch bring beside plain samples (definitions, native histograms, ``target_info``,
exemplars, metadata), collected one by one and put together with the columns of the many."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson

from agent.telemetry.frames import U64
from agent.telemetry.labels import encode_labels
from agent.telemetry.otlp_prometheus_exemplars import NS_PER_MS, Exemplar
from agent.telemetry.otlp_prometheus_labels import Family
from agent.telemetry.otlp_prometheus_table import Emitted
from agent.telemetry.samples import SampleBatch


class Output:
    """Series are codes; ``keys`` of ``batch`` has their hashes."""

    def __init__(self) -> None:
        self._raw = bytearray()
        self._defined: list[tuple[int, int, int]] = []  # hash, off, length
        self._histograms: list[tuple[int, int, int, int]] = []  # series, time, off, length
        self._targets: list[tuple[int, int]] = []  # series, time
        self._exemplars: list[tuple[int, int, int, int]] = []  # row, time, off, length
        self._exemplar_values: list[float] = []
        self._metadata: list[tuple[int, int]] = []  # off, length

    def define(self, series_hash: int, canonical: bytes) -> None:
        self._defined.append((series_hash, *self._put(canonical)))

    def describe(self, family: Family) -> None:
        shown = {"metric": family.name, "type": family.kind, "help": family.help, "unit": family.unit}
        self._metadata.append(self._put(orjson.dumps(shown)))

    def histogram(self, series: int, time_ms: int, message: bytes) -> int:
        """The place of the histogram among all of the batch."""
        self._histograms.append((series, time_ms, *self._put(message)))
        return len(self._histograms) - 1

    def target(self, series: int, times_ms: Sequence[int]) -> None:
        self._targets += [(series, time_ms) for time_ms in times_ms]

    def exemplar(self, row: int, exemplar: Exemplar) -> None:
        self._exemplars.append((row, exemplar.time_ms, *self._put(encode_labels(exemplar.labels))))
        self._exemplar_values.append(exemplar.value)

    def batch(self, found: Emitted, keys: U64, position: int) -> SampleBatch:
        """One row of ``series_hash`` a sample: the plain ones, then native histograms, then targets."""
        histograms, targets = _columns(self._histograms, 4), _columns(self._targets, 2)
        metadata, exemplars = _columns(self._metadata, 2), _columns(self._exemplars, 4)
        defined = _columns(self._defined, 3, np.uint64)
        count = len(found.row), len(self._histograms), len(self._targets)
        is_histogram = np.repeat(np.asarray([0, 1, 0], np.int32), count)
        return SampleBatch(
            raw=np.frombuffer(bytes(self._raw), np.uint8),
            defined_since=np.asarray([position], np.int64),
            series_hash=keys[np.concatenate([found.series, histograms[0], targets[0]])],
            sample_count=1 - is_histogram,
            histogram_count=is_histogram,
            time_ms=np.concatenate([found.time_ns // NS_PER_MS, targets[1]]),
            value=np.concatenate([found.value, np.ones(len(targets[1]))]),
            define_hash=defined[0],
            define_off=defined[1].astype(np.int64),
            define_len=defined[2].astype(np.int64),
            histogram_time_ms=histograms[1],
            histogram_off=histograms[2],
            histogram_len=histograms[3],
            exemplar_series=exemplars[0].astype(np.int32),
            exemplar_time_ms=exemplars[1],
            exemplar_value=np.asarray(self._exemplar_values, np.float64),
            exemplar_off=exemplars[2],
            exemplar_len=exemplars[3],
            metadata_off=metadata[0],
            metadata_len=metadata[1],
        )

    def _put(self, content: bytes) -> tuple[int, int]:
        off = len(self._raw)
        self._raw += content
        return off, len(content)


def _columns(rows: Sequence[tuple[int, ...]], width: int, dtype: type = np.int64) -> npt.NDArray[Any]:
    """The columns of a list of rows."""
    return np.ascontiguousarray(np.asarray(rows, dtype).reshape(-1, width).T)
