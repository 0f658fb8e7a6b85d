"""Write requests read back by the protobuf package, beside the code under test.

The messages are described here in the terms of the ``prometheus`` package's ``remote.proto`` and
``types.proto`` (remote write 1.0)."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from agent.telemetry.labels import Labels

DOUBLE, INT64, UINT64, STRING, MESSAGE, ENUM_NUMBER, SINT32, UINT32, SINT64 = 1, 3, 4, 9, 11, 5, 17, 13, 18
# message: {field: (number, type, repeated, message type)}
SCHEMA: dict[str, dict[str, tuple[int, int, bool, str]]] = {
    "Label": {"name": (1, STRING, False, ""), "value": (2, STRING, False, "")},
    "Sample": {"value": (1, DOUBLE, False, ""), "timestamp": (2, INT64, False, "")},
    "Exemplar": {
        "labels": (1, MESSAGE, True, "Label"),
        "value": (2, DOUBLE, False, ""),
        "timestamp": (3, INT64, False, ""),
    },
    "BucketSpan": {"offset": (1, SINT32, False, ""), "length": (2, UINT32, False, "")},
    "Histogram": {
        "count_int": (1, UINT64, False, ""),
        "count_float": (2, DOUBLE, False, ""),
        "sum": (3, DOUBLE, False, ""),
        "schema": (4, SINT32, False, ""),
        "zero_threshold": (5, DOUBLE, False, ""),
        "zero_count_int": (6, UINT64, False, ""),
        "negative_spans": (8, MESSAGE, True, "BucketSpan"),
        "negative_deltas": (9, SINT64, True, ""),
        "positive_spans": (11, MESSAGE, True, "BucketSpan"),
        "positive_deltas": (12, SINT64, True, ""),
        "timestamp": (15, INT64, False, ""),
    },
    "TimeSeries": {
        "labels": (1, MESSAGE, True, "Label"),
        "samples": (2, MESSAGE, True, "Sample"),
        "exemplars": (3, MESSAGE, True, "Exemplar"),
        "histograms": (4, MESSAGE, True, "Histogram"),
    },
    "MetricMetadata": {
        "type": (1, ENUM_NUMBER, False, ""),
        "metric_family_name": (2, STRING, False, ""),
        "help": (4, STRING, False, ""),
        "unit": (5, STRING, False, ""),
    },
    "WriteRequest": {
        "timeseries": (1, MESSAGE, True, "TimeSeries"),
        "metadata": (3, MESSAGE, True, "MetricMetadata"),
    },
}


@dataclass(frozen=True, slots=True)
class Request:
    samples: list[tuple[Labels, int, float]] = field(default_factory=list)
    exemplars: list[tuple[Labels, Labels, float, int]] = field(default_factory=list)
    metadata: dict[str, tuple[int, str, str]] = field(default_factory=dict)
    histograms: list[tuple[Labels, Any]] = field(default_factory=list)

    def named(self, name: str) -> list[tuple[dict[str, str], int, float]]:
        found = [(dict(labels), time_ms, value) for labels, time_ms, value in self.samples]
        return [row for row in found if row[0]["__name__"] == name]


@cache
def message(name: str) -> Any:
    """The class of a message."""
    file = descriptor_pb2.FileDescriptorProto(name="write_request.proto", package="t", syntax="proto3")
    for title, parts in SCHEMA.items():
        described = file.message_type.add(name=title)
        for field_name, (number, kind, repeated, of) in parts.items():
            added = described.field.add(name=field_name, number=number, type=kind, label=3 if repeated else 1)
            if of:
                added.type_name = f".t.{of}"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"t.{name}"))


def read_request(body: bytes) -> Request:
    read = Request()
    request = message("WriteRequest").FromString(body)
    for series in request.timeseries:
        labels = tuple((label.name, label.value) for label in series.labels)
        assert labels == tuple(sorted(labels)), "labels go out sorted"
        read.samples.extend((labels, sample.timestamp, sample.value) for sample in series.samples)
        for one in series.exemplars:
            own = tuple((label.name, label.value) for label in one.labels)
            read.exemplars.append((labels, own, one.value, one.timestamp))
        read.histograms.extend((labels, one) for one in series.histograms)
    for one in request.metadata:
        read.metadata[one.metric_family_name] = (one.type, one.help, one.unit)
    return read


def is_stale(value: float) -> bool:
    return struct.pack("<d", value) == struct.pack("<Q", 0x7FF0000000000002)
