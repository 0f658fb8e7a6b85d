from __future__ import annotations

import pytest

from actors.aggregator.prometheus.problems import ApiError
from actors.aggregator.prometheus.reading import (
    MAX_TIME_MS,
    MIN_TIME_MS,
    parse_duration_ns,
    parse_grid,
    parse_int,
    parse_time_ms,
    unescape_label,
)


@pytest.mark.parametrize(
    ("text", "time_ms"),
    [
        ("0", 0), ("1435781430.781", 1_435_781_430_781), ("1.0006", 1001), ("-1.5", -1500), ("1e3", 1_000_000),
        ("2015-07-01T20:10:30.781Z", 1_435_781_430_781), ("2015-07-01T20:10:30.7819Z", 1_435_781_430_781),
        ("2015-07-01T22:10:30+02:00", 1_435_781_430_000), ("0001-01-01T00:00:00Z", -62_135_596_800_000),
        ("3000-01-01T00:00:00Z", 32_503_680_000_000), ("-292273086-05-16T16:47:06Z", MIN_TIME_MS),
        ("292277025-08-18T07:12:54.999999999Z", MAX_TIME_MS), ("9223309901257974", MAX_TIME_MS - 999),
    ],
)  # fmt: skip
def test_times(text: str, time_ms: int) -> None:
    assert parse_time_ms(text) == time_ms


@pytest.mark.parametrize(
    "text",
    [
        "",
        "now",
        "NaN",
        "Inf",
        "1e30",
        "1_000",
        " 1",
        "2015-07-01",
        "2015-13-01T00:00:00Z",
        "2015-07-01T00:00:00",
    ],
)
def test_no_times(text: str) -> None:
    with pytest.raises(ValueError, match="to a valid timestamp"):
        parse_time_ms(text)


@pytest.mark.parametrize(
    ("text", "nanoseconds"),
    [
        ("15", 15e9),
        ("0.5", 5e8),
        ("15s", 15e9),
        ("1h30m", 5400e9),
        ("1d", 86400e9),
        ("1y2w", 379 * 86400e9),
        ("5ms", 5e6),
        ("0", 0),
        ("-1", -1e9),
    ],
)
def test_durations(text: str, nanoseconds: float) -> None:
    assert parse_duration_ns(text) == nanoseconds


@pytest.mark.parametrize("text", ["", "1x", "1m1h", "s", "-5m", "1.5h", "1e30", "99999y"])
def test_no_durations(text: str) -> None:
    with pytest.raises(ValueError, match="to a valid duration"):
        parse_duration_ns(text)


def test_a_step_below_a_millisecond_is_refused() -> None:
    with pytest.raises(ApiError, match="zero or negative"):
        parse_grid("0", "1", "0.0001")


def test_the_widest_range_is_counted_in_whole_numbers() -> None:
    with pytest.raises(ApiError, match="11,000 points"):
        parse_grid(str(MIN_TIME_MS // 1000), str(MAX_TIME_MS // 1000), "100y")


@pytest.mark.parametrize("text", ["1.5", "", "x", "9" * 40, "१"])
def test_no_whole_numbers(text: str) -> None:
    with pytest.raises(ValueError, match=r"strconv\.Atoi"):
        parse_int(text)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("job", "job"), ("U__http_2e_method", "http.method"), ("U__a__b", "a_b"), ("U___7b__7d_", "{}"),
        ("U___1f600_", "\U0001f600"), ("U__a_zz_", "U__a_zz_"), ("U__a_", "U__a_"), ("U__d800_d800_", "U__d800_d800_"),
        ("U__", ""), ("a.b", "a.b"),
    ],
)  # fmt: skip
def test_label_names_of_paths(text: str, name: str) -> None:
    assert unescape_label(text) == name
