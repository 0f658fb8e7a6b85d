from __future__ import annotations

import pytest

from agent.telemetry.batch import METRIC_GAUGE, METRIC_HISTOGRAM, METRIC_SUM
from agent.telemetry.unit_names import (
    Instrument,
    Strategy,
    attribute_text,
    label_name,
    metric_name,
    number_text,
    unit_word,
)

ESCAPED, PLAIN = Strategy.ESCAPED_WITH_SUFFIXES, Strategy.ESCAPED
UTF8_SUFFIXED, UTF8 = Strategy.UTF8_WITH_SUFFIXES, Strategy.UTF8


def gauge(name: str, unit: str = "") -> Instrument:
    return Instrument(name, unit, METRIC_GAUGE, monotonic=False)


def counter(name: str, unit: str = "") -> Instrument:
    return Instrument(name, unit, METRIC_SUM, monotonic=True)


@pytest.mark.parametrize(
    ("instrument", "strategy", "expected"),
    [
        (gauge("system.io", "By"), ESCAPED, "system_io_bytes"),
        (counter("system.io", "By"), ESCAPED, "system_io_bytes_total"),
        (counter("network_transmitted_bytes_total", "By"), ESCAPED, "network_transmitted_bytes_total"),
        (counter("network_total_bytes", "By"), ESCAPED, "network_bytes_total"),
        (gauge("broken.metric.speed", "km/h"), ESCAPED, "broken_metric_speed_km_per_hour"),
        (gauge("disk.rate", "By/s"), ESCAPED, "disk_rate_bytes_per_second"),
        (gauge("requests", "1/s"), ESCAPED, "requests_per_second"),
        (gauge("used.ratio.of", "1"), ESCAPED, "used_of_ratio"),
        (counter("items", "1"), ESCAPED, "items_total"),
        (gauge("cpu.load", "%"), ESCAPED, "cpu_load_percent"),
        (gauge("active", "{request}"), ESCAPED, "active"),
        (gauge("custom", "By/{custom}"), ESCAPED, "custom_bytes"),
        (gauge("custom", "unit@with#special/chars"), ESCAPED, "custom_unit_with_special_per_chars"),
        (gauge("a__b..c", "x__y"), ESCAPED, "a_b_c_x_y"),
        (gauge("ns:a"), ESCAPED, "ns:a"),
        (gauge("3.14 digits"), ESCAPED, "_3_14_digits"),
        (gauge("@#$%"), ESCAPED, ""),
        (gauge("response.time.seconds", "s"), ESCAPED, "response_time_seconds"),
        (Instrument("size", "KiBy", METRIC_HISTOGRAM, monotonic=False), ESCAPED, "size_kibibytes"),
        (counter("a@@b", "By"), PLAIN, "a_b"),
        (gauge("1a"), PLAIN, "_1a"),
        (counter("requêsts", "1/s"), UTF8_SUFFIXED, "requêsts_per_second_total"),
        (counter("cpu_seconds_total", "s"), UTF8_SUFFIXED, "cpu_seconds_total"),
        (gauge("cpu_usage_ratio", "1"), UTF8_SUFFIXED, "cpu_usage_ratio"),
        (counter("http.requests", "1"), UTF8, "http.requests"),
    ],
)
def test_metric_names(instrument: Instrument, strategy: Strategy, expected: str) -> None:
    assert metric_name(instrument, strategy) == expected


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("http.method", "http_method"),
        ("label:with:colons", "label_with_colons"),
        ("a..b", "a__b"),
        ("123label", "key_123label"),
        ("_private", "key_private"),
        ("__reserved", "__reserved"),
        ("label_字符", "label___"),
        ("ようこそ", ""),
        ("", ""),
    ],
)
def test_label_names(key: str, expected: str) -> None:
    assert label_name(key, ESCAPED) == expected


def test_labels_stay_as_they_are_without_escaping() -> None:
    assert label_name("http.method", UTF8) == "http.method"


@pytest.mark.parametrize(
    ("unit", "expected"),
    [("s", "seconds"), ("By/s", "bytes_per_second"), ("1", ""), ("{x}/s", "per_second"), ("a b", "a_b")],
)
def test_unit_words(unit: str, expected: str) -> None:
    assert unit_word(unit, ESCAPED) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [(1.0, "1"), (0.005, "0.005"), (1e21, "1" + "0" * 21), (1e-7, "0.0000001"), (float("inf"), "+Inf"),
     (-2.5, "-2.5"), (float("-inf"), "-Inf"), (float("nan"), "NaN")],
)  # fmt: skip
def test_bounds_have_no_exponent(value: float, expected: str) -> None:
    assert number_text(value) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("a", "a"), (None, ""), (True, "true"), (7, "7"), (1.0, "1"), (0.25, "0.25"), (1e21, "1e+21"),
        (1.5e-7, "1.5e-7"), (1e20, "1" + "0" * 20), (float("nan"), "NaN"),
        ([1, 2.0, "x", None], '[1,2,"x",null]'), ({"b": 1, "a": "<é>"}, '{"a":"\\u003cé\\u003e","b":1}'),
    ],
)  # fmt: skip
def test_attribute_values(value: object, expected: str) -> None:
    assert attribute_text(value) == expected
