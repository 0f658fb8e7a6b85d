"""Sample batches written down as series and samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from agent.telemetry.labels import Labels, encode_labels, hash_labels, labels_of
from agent.telemetry.samples import SampleBatch

Samples = Mapping[Labels, Sequence[tuple[int, float]]]


def series(metric: str, **labels: str) -> Labels:
    return labels_of({"__name__": metric, **labels})


def batch(
    samples: Samples,
    histograms: Mapping[Labels, Sequence[tuple[int, bytes]]] | None = None,
    define: bool = True,
    defined_since: int = 0,
    exemplars: Sequence[tuple[Labels, int, float, Labels]] = (),
    metadata: Sequence[bytes] = (),
) -> SampleBatch:
    """A record of float samples and histograms; ``define`` tells whether it defines its series."""
    histograms = histograms or {}
    sets = list(dict.fromkeys([*samples, *histograms]))
    raw = _Raw()
    canonical = [raw.put(encode_labels(labels)) for labels in sets]
    floats = [pair for labels in sets for pair in samples.get(labels, ())]
    native = [(t, raw.put(content)) for labels in sets for t, content in histograms.get(labels, ())]
    extra = [raw.put(encode_labels(own)) for _, _, _, own in exemplars]
    meta = [raw.put(one) for one in metadata]
    hashes = np.asarray([hash_labels(encode_labels(labels)) for labels in sets], np.uint64)
    defined = canonical if define else []
    return SampleBatch(
        raw=raw.bytes(),
        defined_since=np.asarray([defined_since], np.int64),
        series_hash=hashes,
        sample_count=np.asarray([len(samples.get(labels, ())) for labels in sets], np.int32),
        histogram_count=np.asarray([len(histograms.get(labels, ())) for labels in sets], np.int32),
        time_ms=np.asarray([t for t, _ in floats], np.int64),
        value=np.asarray([v for _, v in floats], np.float64),
        define_hash=hashes[: len(defined)],
        define_off=np.asarray([off for off, _ in defined], np.int64),
        define_len=np.asarray([size for _, size in defined], np.int64),
        histogram_time_ms=np.asarray([t for t, _ in native], np.int64),
        histogram_off=np.asarray([place[0] for _, place in native], np.int64),
        histogram_len=np.asarray([place[1] for _, place in native], np.int64),
        exemplar_series=np.asarray([sets.index(labels) for labels, _, _, _ in exemplars], np.int32),
        exemplar_time_ms=np.asarray([t for _, t, _, _ in exemplars], np.int64),
        exemplar_value=np.asarray([v for _, _, v, _ in exemplars], np.float64),
        exemplar_off=np.asarray([off for off, _ in extra], np.int64),
        exemplar_len=np.asarray([size for _, size in extra], np.int64),
        metadata_off=np.asarray([off for off, _ in meta], np.int64),
        metadata_len=np.asarray([size for _, size in meta], np.int64),
    )


class _Raw:
    def __init__(self) -> None:
        self._content = bytearray()

    def put(self, content: bytes) -> tuple[int, int]:
        place = len(self._content), len(content)
        self._content += content
        return place

    def bytes(self) -> np.ndarray[tuple[int], np.dtype[np.uint8]]:
        return np.frombuffer(bytes(self._content), np.uint8)
