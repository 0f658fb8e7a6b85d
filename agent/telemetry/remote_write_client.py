"""The client's side of remote write: what the scraper and the recording rules hand to the gateway."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import cramjam
import numpy as np

from agent.telemetry.labels import Labels, encode_labels
from agent.telemetry.varint import varint

Sample = tuple[int, float]  # Unix milliseconds, value
Exemplar = tuple[Labels, float, int]  # its labels, value, Unix milliseconds

# By their number in Metadata.type.
TYPES = ("unknown", "counter", "gauge", "histogram", "gaugehistogram", "summary", "info", "stateset")


@dataclass(frozen=True, slots=True)
class WriteSeries:
    """A series as remote write 2.0 has it. ``histograms`` are Histogram messages; ``type`` is one of TYPES,
    and with ``help`` and ``unit`` describes the metric."""

    labels: Labels
    samples: tuple[Sample, ...] = ()
    histograms: tuple[bytes, ...] = ()
    exemplars: tuple[Exemplar, ...] = ()
    type: str = "unknown"
    help: str = ""
    unit: str = ""


def encode_write_request(series: Iterable[tuple[Labels, Iterable[Sample]]]) -> bytes:
    """A remote write 1.0 body, packed with snappy."""
    out = bytearray()
    for labels, samples in series:
        out += _field(0x0A, encode_labels(labels) + b"".join(_sample(0x12, *one) for one in samples))
    return bytes(cramjam.snappy.compress_raw(bytes(out)))


def encode_write_request_v2(series: Iterable[WriteSeries]) -> bytes:
    """A remote write 2.0 body, packed with snappy."""
    symbols: dict[str, int] = {"": 0}
    out = bytearray()
    for one in series:
        content = bytearray(_field(0x0A, _refs(one.labels, symbols)))
        content += b"".join(_sample(0x12, *sample) for sample in one.samples)
        content += b"".join(_field(0x1A, histogram) for histogram in one.histograms)
        for labels, value, time_ms in one.exemplars:
            content += _field(0x22, _field(0x0A, _refs(labels, symbols)) + _value_and_time(value, time_ms))
        metadata = b"\x08" + varint(TYPES.index(one.type))
        metadata += b"\x18" + varint(symbols.setdefault(one.help, len(symbols)))
        metadata += b"\x20" + varint(symbols.setdefault(one.unit, len(symbols)))
        out += _field(0x2A, bytes(content) + _field(0x2A, metadata))
    table = b"".join(_field(0x22, symbol.encode("utf-8", "surrogateescape")) for symbol in symbols)
    return bytes(cramjam.snappy.compress_raw(table + bytes(out)))


def _refs(labels: Labels, symbols: dict[str, int]) -> bytes:
    return b"".join(varint(symbols.setdefault(text, len(symbols))) for pair in labels for text in pair)


def _sample(tag: int, time_ms: int, value: float) -> bytes:
    return _field(tag, _value_and_time(value, time_ms, 0x09))


def _value_and_time(value: float, time_ms: int, tag: int = 0x11) -> bytes:
    """A double and an int64: fields 1 and 2 of a Sample, 2 and 3 of an Exemplar."""
    return bytes((tag,)) + np.float64(value).tobytes() + bytes((tag + 7,)) + varint(time_ms)


def _field(tag: int, content: bytes) -> bytes:
    return bytes((tag,)) + varint(len(content)) + content
