from __future__ import annotations

import pytest
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.descriptor_pool import Default
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2 as _logs
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2 as _metrics
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as _trace

from agent.telemetry.otlp_schema import (
    BYTES,
    COUNTED64,
    FIXED32,
    FIXED64,
    MAX_FIELD,
    MESSAGES,
    PACKED64,
    PACKED_VARINT,
    VARINT,
)

REGISTERED = (_logs, _metrics, _trace)  # importing them registers the descriptors
F = FieldDescriptor
KINDS = {
    F.TYPE_STRING: BYTES, F.TYPE_BYTES: BYTES,
    F.TYPE_FIXED64: FIXED64, F.TYPE_SFIXED64: FIXED64, F.TYPE_DOUBLE: FIXED64,
    F.TYPE_FIXED32: FIXED32, F.TYPE_FLOAT: FIXED32,
    F.TYPE_INT32: VARINT, F.TYPE_INT64: VARINT, F.TYPE_UINT32: VARINT, F.TYPE_UINT64: VARINT,
    F.TYPE_SINT32: VARINT, F.TYPE_BOOL: VARINT, F.TYPE_ENUM: VARINT,
}  # fmt: skip
PACKED = {FIXED64: PACKED64, VARINT: PACKED_VARINT, BYTES: BYTES}


def kind_of(field: FieldDescriptor) -> int | str:
    if field.message_type is not None:
        return next(n for n, m in MESSAGES.items() if m.full_name == field.message_type.full_name)
    kind = KINDS[field.type]
    return PACKED[kind] if field.is_repeated else kind


@pytest.mark.parametrize("name", MESSAGES)
def test_table_says_what_the_descriptor_says(name: str) -> None:
    descriptor = Default().FindMessageTypeByName(MESSAGES[name].full_name)
    ours = {n: PACKED64 if kind == COUNTED64 else kind for n, kind in MESSAGES[name].fields.items()}
    assert ours == {field.number: kind_of(field) for field in descriptor.fields}
    assert max(ours) <= MAX_FIELD
