"""Remote write's messages made by the protobuf package, as a second opinion on the kernels."""

from __future__ import annotations

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

_T = descriptor_pb2.FieldDescriptorProto
_KINDS = {
    "string": _T.TYPE_STRING, "bytes": _T.TYPE_BYTES, "double": _T.TYPE_DOUBLE, "int64": _T.TYPE_INT64,
    "uint32": _T.TYPE_UINT32, "uint64": _T.TYPE_UINT64, "sint32": _T.TYPE_SINT32, "sint64": _T.TYPE_SINT64,
}  # fmt: skip
_HISTOGRAM = (
    "count_int:1:uint64 count_float:2:double sum:3:double schema:4:sint32 zero_threshold:5:double "
    "zero_count_int:6:uint64 zero_count_float:7:double negative_spans:8:*BucketSpan negative_deltas:9:*sint64 "
    "negative_counts:10:*double positive_spans:11:*BucketSpan positive_deltas:12:*sint64 "
    "positive_counts:13:*double reset_hint:14:uint32 timestamp:15:int64 custom_values:16:*double"
)
_MESSAGES = {
    "Label": "name:1:bytes value:2:bytes",
    "Sample": "value:1:double timestamp:2:int64",
    "BucketSpan": "offset:1:sint32 length:2:uint32",
    "Histogram": _HISTOGRAM,
    "Exemplar": "labels:1:*Label value:2:double timestamp:3:int64",
    "TimeSeries": "labels:1:*Label samples:2:*Sample exemplars:3:*Exemplar histograms:4:*Histogram",
    "MetricMetadata": "type:1:uint32 metric_family_name:2:string help:4:string unit:5:string",
    "WriteRequest": "timeseries:1:*TimeSeries metadata:3:*MetricMetadata",
    "Exemplar2": "labels_refs:1:*uint32 value:2:double timestamp:3:int64",
    "Metadata2": "type:1:uint32 help_ref:3:uint32 unit_ref:4:uint32",
    "TimeSeries2": "labels_refs:1:*uint32 samples:2:*Sample histograms:3:*Histogram exemplars:4:*Exemplar2 "
    "metadata:5:Metadata2 created_timestamp:6:int64",
    "Request": "symbols:4:*string timeseries:5:*TimeSeries2",
}


def _classes() -> dict[str, Any]:
    file = descriptor_pb2.FileDescriptorProto(name="remote_write_test.proto", package="rw", syntax="proto3")
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for field in fields.split():
            field_name, number, kind = field.split(":")
            plain = kind.lstrip("*")
            added = message.field.add(
                name=field_name,
                number=int(number),
                label=_T.LABEL_REPEATED if kind != plain else _T.LABEL_OPTIONAL,
                type=_KINDS.get(plain, _T.TYPE_MESSAGE),
            )
            if plain not in _KINDS:
                added.type_name = f".rw.{plain}"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"rw.{name}")) for name in _MESSAGES
    }


MESSAGES = _classes()
WriteRequest, Request, Histogram = MESSAGES["WriteRequest"], MESSAGES["Request"], MESSAGES["Histogram"]
