from __future__ import annotations

import pytest

from agent.telemetry.native import CounterReset, InvalidHistogram, parse_literal, parse_series


def test_every_part() -> None:
    h = parse_literal(
        "{{schema:1 sum:-3.5 count:22 z_bucket:1 z_bucket_w:0.001 offset:-2 buckets:[5 10 7] "
        "n_offset:3 n_buckets:[1] counter_reset_hint:gauge}}"
    )
    assert (h.schema, h.sum, h.count, h.zero_count, h.zero_threshold) == (1, -3.5, 22, 1, 0.001)
    assert h.positive.index.tolist() == [-2, -1, 0]
    assert h.positive.count.tolist() == [5, 10, 7]
    assert (h.negative.index.tolist(), h.negative.count.tolist()) == ([3], [1])
    assert h.hint is CounterReset.GAUGE


def test_nothing_is_required() -> None:
    h = parse_literal("{{}}")
    assert (h.schema, h.count, h.sum, len(h.positive), h.hint) == (0, 0, 0, 0, CounterReset.UNKNOWN)


def test_numbers_of_all_kinds() -> None:
    h = parse_literal("{{sum:NaN count:+Inf buckets:[1e3 0x10 -Inf] custom_values:[] }}")
    assert h.sum != h.sum
    assert (h.count, h.positive.count.tolist()) == (float("inf"), [1000, 16, -float("inf")])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{sum:1}", "written"),
        ("{{sum:x}}", "a number was expected"),
        ("{{sum:1 sum:2}}", "given twice"),
        ("{{smu:1}}", "bad histogram descriptor"),
        ("{{buckets:5}}", "a list such as"),
        ("{{offset:1.5}}", "whole number"),
        ("{{counter_reset_hint:maybe}}", "counter reset hint"),
        ("{{schema:9}}", "schema 9 is not spoken"),
        ("{{sum:1 ,count:2}}", "cannot read"),
    ],
)
def test_what_is_refused(text: str, message: str) -> None:
    with pytest.raises(InvalidHistogram, match=message):
        parse_literal(text)


@pytest.mark.parametrize(
    ("text", "counts"),
    [
        ("{{count:1}}", [1]),
        ("{{count:1}}x3", [1, 1, 1, 1]),
        ("{{count:1}}+{{count:2}}x3", [1, 3, 5, 7]),
        ("{{count:9}}-{{count:2}}x2", [9, 7, 5]),
        ("{{count:1}}+{{count:2}}x0", [1]),
    ],
)
def test_series(text: str, counts: list[float]) -> None:
    assert [h.count for h in parse_series(text)] == counts


@pytest.mark.parametrize("text", ["{{}}y3", "{{count:1}}x9999999", "{{schema:2}}+{{schema:1}}x2", "{{}"])
def test_series_that_are_refused(text: str) -> None:
    with pytest.raises(InvalidHistogram):
        parse_series(text)
