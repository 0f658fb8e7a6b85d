from __future__ import annotations

import json
import math
from collections.abc import Iterator

import pytest

from agent.telemetry.labels import labels_of
from chatops.terminal.sparks import number, sparkline
from chatops.terminal.times import parse_at_s, parse_span_s
from tests.unit.aggregator.fakes import NOW_S
from tests.unit.aggregator.prometheus.memory import MemoryBackend, MemoryStorage
from tests.unit.chatops.terminal.conftest import Served, command

AT = ("--at", str(NOW_S))


@pytest.fixture
def layer() -> Iterator[Served]:
    jobs = {"cart": 1.0, "front\x1b[2J": -2.0}
    series = {
        labels_of({"__name__": "temperature", "job": job}): [
            ((NOW_S - 600 + i * 15) * 1000, slope * i) for i in range(41)
        ]
        for job, slope in jobs.items()
    }
    served = Served(MemoryBackend(MemoryStorage(series)))
    yield served
    served.stop()


def test_a_table(layer: Served) -> None:
    result = command("query", "temperature", *AT, "--url", layer.url)
    assert result.exit_code == 0
    header, first, second, *rest = result.output.splitlines()
    assert header.split() == ["metric", "job", "value"]
    assert first.split() == ["temperature", "cart", "40"]
    assert second.split()[-1] == "-80"
    assert "2 series at 2023-11-14 22:13:20 UTC" in rest[0]


def test_what_others_wrote_does_not_move_the_cursor(layer: Served) -> None:
    assert "\x1b[2J" not in command("query", "temperature", *AT, "--url", layer.url).output


def test_a_range_is_a_sparkline(layer: Served) -> None:
    result = command(
        "query", 'temperature{job="cart"}', *AT, "--range", "10m", "--step", "1m", "--url", layer.url
    )
    row = result.output.splitlines()[1].split()
    assert row == ["temperature", "cart", "▁▁▂▃▄▅▅▆▇██", "0", "40", "40"]


def test_a_scalar(layer: Served) -> None:
    assert command("query", "1+1", "--url", layer.url).output == "2\n"


def test_json(layer: Served) -> None:
    result = command("query", "sum(temperature)", *AT, "--json", "--url", layer.url)
    assert json.loads(result.stdout)["data"]["result"][0]["value"] == [NOW_S, "-40"]


def test_no_series_says_where_the_data_are(layer: Served) -> None:
    result = command("query", "temperature", "--url", layer.url)
    assert result.exit_code == 0
    assert "no series" in result.output
    assert f"try --at {NOW_S}" in result.output


def test_an_error_points_at_its_place(layer: Served) -> None:
    result = command("query", "sum(temperature{job=", "--url", layer.url)
    assert result.exit_code == 1
    _, line, mark = result.stderr.rstrip("\n").split("\n")
    assert line == "  sum(temperature{job="
    assert mark.strip() == "^"


@pytest.mark.parametrize(
    "words",
    [
        ["up", "--at", "soon"],
        ["up", "--step", "15s"],
        ["up", "--range", "-1h"],
        ["up", "--range", "1h", "--step", "x"],
        [],
    ],
)
def test_usage_errors(words: list[str]) -> None:
    assert command("query", *words).exit_code == 2


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("", 1000.0),
        ("now", 1000.0),
        ("now-15m", 100.0),
        ("now + 1h30m", 6400.0),
        ("123.5", 123.5),
        ("1970-01-01T00:01:00Z", 60.0),
    ],
)
def test_times(text: str, seconds: float) -> None:
    assert parse_at_s(text, 1000.0) == seconds


@pytest.mark.parametrize(("text", "seconds"), [("15s", 15.0), ("1h30m", 5400.0), ("500ms", 0.5), ("2", 2.0)])
def test_spans(text: str, seconds: float) -> None:
    assert parse_span_s(text) == seconds


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (12.0, "12"),
        (1234.5678, "1234.6"),
        (12345.678, "12346"),
        (1e-9, "1.000e-09"),
        (1e20, "1.000e+20"),
        (math.nan, "NaN"),
        (-math.inf, "-Inf"),
    ],
)
def test_numbers(value: float, text: str) -> None:
    assert number(value) == text


def test_gaps_stay_empty_in_a_sparkline() -> None:
    assert sparkline([(0.0, 1.0), (1.0, 2.0), (3.0, 1.0)], 0.0, 3.0, 4) == "▁█ ▁"
