"""Attributes of single messages, read when somebody asks. Plain Python: never called for every row.

The messages come out of a batch, so they are known to be well formed (``wire.check``). Texts that are
not UTF-8 are decoded with U+FFFD in place of what is wrong; where a key comes twice the last value holds.
"""

from __future__ import annotations

import base64
import struct
from collections.abc import Iterator
from typing import Any

import orjson

from agent.telemetry.batch import (
    ANY_ARRAY,
    ANY_BOOL,
    ANY_BYTES,
    ANY_DOUBLE,
    ANY_INT,
    ANY_KVLIST,
    ANY_STRING,
    COMPONENT_PART,
    METRIC_HISTOGRAM,
    METRIC_SUMMARY,
    MetricBatch,
)
from agent.telemetry.frames import U8
from agent.telemetry.varint import read_varint

# A value as JSON has it: text, number, truth, None, list or dict; bytes are base64.
Value = Any

_ATTRIBUTES_FIELD = (7, 7, 9, 1, 7)
_BOUNDS, _QUANTILES = 7, 6
_U64, _F64, _U32 = struct.Struct("<Q"), struct.Struct("<d"), struct.Struct("<I")


def message_fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """``(field number, content)`` of a message: an unsigned integer, or the bytes of a nested one."""
    pos = 0
    while pos < len(message):
        tag, pos = read_varint(message, pos)
        match tag & 7:
            case 0:
                value, pos = read_varint(message, pos)
                yield tag >> 3, value
            case 1:
                yield tag >> 3, _U64.unpack_from(message, pos)[0]
                pos += 8
            case 5:
                yield tag >> 3, _U32.unpack_from(message, pos)[0]
                pos += 4
            case _:
                size, pos = read_varint(message, pos)
                yield tag >> 3, message[pos : pos + size]
                pos += size


def content_of(message: bytes, field: int) -> list[bytes]:
    """The contents of a repeated text, bytes or message field, in order."""
    return [
        found for number, found in message_fields(message) if number == field and isinstance(found, bytes)
    ]


def attributes(contents: list[bytes]) -> dict[str, Value]:
    """KeyValue messages as a dictionary."""
    return dict(_key_value(content) for content in contents)


def any_value(message: bytes) -> Value:
    """An AnyValue; None where it holds nothing."""
    result: Value = None
    for kind, content in message_fields(message):
        if isinstance(content, int):
            if kind == ANY_BOOL:
                result = content != 0
            elif kind == ANY_INT:
                result = content - (1 << 64) if content >> 63 else content
            elif kind == ANY_DOUBLE:
                result = double(content)
        elif kind == ANY_STRING:
            result = text(content)
        elif kind == ANY_ARRAY:
            result = [any_value(item) for item in content_of(content, 1)]
        elif kind == ANY_KVLIST:
            result = attributes(content_of(content, 1))
        elif kind == ANY_BYTES:
            result = base64.b64encode(content).decode()
    return result


def stringified(value: Value) -> str:
    """A value as a label has it: lists and maps as JSON, truth as ``true`` or ``false``."""
    if isinstance(value, str):
        return value
    if isinstance(value, float):
        return repr(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return "" if value is None else orjson.dumps(value).decode()


def resource_attributes(raw: U8, off: int, length: int) -> dict[str, str]:
    """The attributes of the Resource message at ``raw[off : off + length]``."""
    found = attributes(content_of(raw[off : off + length].tobytes(), 1))
    return {key: stringified(value) for key, value in found.items()}


def point_labels(batch: MetricBatch, row: int) -> tuple[tuple[str, str], ...]:
    """The labels of a sample, sorted: the attributes of its data point, and ``le`` for the bucket of a
    histogram, ``quantile`` for a quantile of a summary. Attributes of these names give way."""
    off, length = int(batch.point_off[row]), int(batch.point_len[row])
    point = batch.raw[off : off + length].tobytes()
    kind, part = int(batch.kind[row]), int(batch.component[row]) - COMPONENT_PART
    found = attributes(content_of(point, _ATTRIBUTES_FIELD[kind]))
    labels = {key: stringified(value) for key, value in found.items()}
    if kind == METRIC_HISTOGRAM and part >= 0:
        labels["le"] = _bound(point, part)
    elif kind == METRIC_SUMMARY and part >= 0:
        quantile = dict(message_fields(content_of(point, _QUANTILES)[part])).get(1, 0)
        labels["quantile"] = repr(double(quantile)) if isinstance(quantile, int) else "0.0"
    return tuple(sorted(labels.items()))


def text(content: bytes) -> str:
    return content.decode("utf-8", "replace")


def double(bits: int) -> float:
    value: float = _F64.unpack(_U64.pack(bits))[0]
    return value


def _bound(point: bytes, part: int) -> str:
    bounds: list[float] = []
    for number, content in message_fields(point):
        if number == _BOUNDS:
            packed = content if isinstance(content, bytes) else _U64.pack(content)
            bounds += [bound for (bound,) in _F64.iter_unpack(packed)]
    return repr(bounds[part]) if part < len(bounds) and bounds[part] != float("inf") else "+Inf"


def _key_value(message: bytes) -> tuple[str, Value]:
    key, value = "", None
    for number, content in message_fields(message):
        if isinstance(content, bytes):
            if number == 1:
                key = text(content)
            elif number == 2:
                value = any_value(content)
    return key, value
