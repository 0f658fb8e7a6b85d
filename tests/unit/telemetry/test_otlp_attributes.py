from __future__ import annotations

import numpy as np
import pytest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValueList
from opentelemetry.proto.resource.v1.resource_pb2 import Resource

from agent.telemetry.otlp_attributes import any_value, point_labels, resource_attributes, stringified
from agent.telemetry.otlp_metrics import decode_metrics
from tests.unit.telemetry.requests import (
    attribute,
    attributes,
    counter,
    gauge,
    histogram,
    metrics_body,
    number,
    summary,
)

NESTED = AnyValue(
    kvlist_value=KeyValueList(
        values=[attribute("a", 1), attribute("b", True)],
    )
)


@pytest.mark.parametrize(
    ("value", "plain", "label"),
    [
        (AnyValue(), None, ""),
        (AnyValue(string_value="x"), "x", "x"),
        (AnyValue(bool_value=True), True, "true"),
        (AnyValue(bool_value=False), False, "false"),
        (AnyValue(int_value=-5), -5, "-5"),
        (AnyValue(int_value=2**63 - 1), 2**63 - 1, str(2**63 - 1)),
        (AnyValue(double_value=0.25), 0.25, "0.25"),
        (AnyValue(bytes_value=b"\0\xff"), "AP8=", "AP8="),
        (AnyValue(array_value=ArrayValue(values=[AnyValue(int_value=1), AnyValue()])), [1, None], "[1,null]"),
        (NESTED, {"a": 1, "b": True}, '{"a":1,"b":true}'),
    ],
)
def test_any_value(value: AnyValue, plain: object, label: str) -> None:
    found = any_value(value.SerializeToString())
    assert found == plain
    assert stringified(found) == label


def raw_of(message: bytes) -> np.ndarray[tuple[int], np.dtype[np.uint8]]:
    return np.frombuffer(message, np.uint8)


def test_resource_attributes() -> None:
    message = Resource(attributes=attributes({"service.name": "cart", "port": 80})).SerializeToString()
    raw = raw_of(b"..." + message + b"...")
    assert resource_attributes(raw, 3, len(message)) == {"service.name": "cart", "port": "80"}


def test_no_resource_has_no_attributes() -> None:
    assert resource_attributes(raw_of(b"abc"), 0, 0) == {}


def test_texts_that_are_not_utf8_are_replaced() -> None:
    message = b"\x0a\x09\x0a\x02k\xff\x12\x03\x0a\x01\xfe"
    assert resource_attributes(raw_of(message), 0, len(message)) == {"k�": "�"}


def test_last_of_equal_keys_holds() -> None:
    message = Resource(attributes=[attribute("k", "1"), attribute("k", "2")]).SerializeToString()
    assert resource_attributes(raw_of(message), 0, len(message)) == {"k": "2"}


def test_point_labels_are_sorted() -> None:
    batch = decode_metrics(metrics_body([counter(number(attributes=attributes({"z": "1", "a": 2})))]))
    assert point_labels(batch, 0) == (("a", "2"), ("z", "1"))


def test_buckets_and_quantiles_have_their_label() -> None:
    labels = attributes({"le": "mine"})
    batch = decode_metrics(metrics_body([histogram(attributes=labels), summary({0.0: 1.0, 0.99: 2.0})]))
    found = [dict(point_labels(batch, row)) for row in range(len(batch))]
    assert [each.get("le") for each in found[:5]] == ["mine", "mine", "0.1", "5.0", "+Inf"]
    assert [each.get("quantile") for each in found[5:]] == [None, None, "0.0", "0.99"]


def test_gauge_keeps_its_le() -> None:
    batch = decode_metrics(metrics_body([gauge(number(attributes=attributes({"le": "mine"})))]))
    assert point_labels(batch, 0) == (("le", "mine"),)
