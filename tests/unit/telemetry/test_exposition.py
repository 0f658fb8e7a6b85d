"""The text format 0.0.4."""

from __future__ import annotations

from decimal import Decimal

import pytest

from agent.telemetry.exposition import comment, parse_text, series_labels
from agent.telemetry.openmetrics_model import BadExposition, MetricType


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a", {"__name__": "a"}),
        ("a{}", {"__name__": "a"}),
        ('a {b="c" , d = "e",}', {"__name__": "a", "b": "c", "d": "e"}),
        ('a{b="c\\"\\\\\\n\\d"}', {"__name__": "a", "b": 'c"\\\n\\d'}),
        ('{"a.b","c d"="}"}', {"__name__": "a.b", "c d": "}"}),
        ('a{b=""}', {"__name__": "a", "b": ""}),
    ],
)
def test_series(text: str, expected: dict[str, str]) -> None:
    assert series_labels(text) == expected


@pytest.mark.parametrize(
    "text", ["", "{}", 'a{b="c"', 'a{b="c",b="d"}', 'a{"x","b"}', "a{b=c}", 'a{b="c"}x', "a{,}"]
)
def test_series_that_are_none(text: str) -> None:
    with pytest.raises(ValueError, match=r"expected|twice|after"):
        series_labels(text)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("# HELP a b \\n c", ("HELP", "a", "b \n c")),
        ("#\tTYPE  a   counter ", ("TYPE", "a", "counter")),
        ('# HELP "a.b" c', ("HELP", "a.b", "c")),
        ("# just words here", None),
        ("#", None),
    ],
)
def test_comments(line: str, expected: tuple[str, str, str] | None) -> None:
    assert comment(line) == expected


def test_families() -> None:
    body = (
        b"# just a comment\n\n  # TYPE a histogram\n# HELP a b\\nc\n"
        b'a_bucket{le="+Inf"} 2\na_sum 3\na_count\t2\nb 1.5 -3982045\n c{d="e"}  NaN\n'
    )
    first, second, third = parse_text(body)
    assert (first.name, first.type, first.help) == ("a", MetricType.HISTOGRAM, "b\nc")
    assert [sample.name for sample in first.samples] == ["a_bucket", "a_sum", "a_count"]
    assert second.samples[0].time_s == Decimal("-3982.045")
    assert third.type is MetricType.UNKNOWN


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"a\n", "value"),
        (b"a 1 1.5\n", "milliseconds"),
        (b"a 1\na 2\n", "twice"),
        (b"# TYPE a thing\n", "type: got"),
        (b"# TYPE a gauge\n# TYPE a gauge\n", "second TYPE"),
        (b"a 1\n# TYPE a gauge\n", "after its samples"),
        (b'a{b="\xff"} 1\n', "UTF-8"),
    ],
)
def test_refused(body: bytes, reason: str) -> None:
    with pytest.raises(BadExposition, match=reason):
        parse_text(body)
