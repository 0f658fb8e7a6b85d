from __future__ import annotations

import math

import numpy as np
import pytest

from agent.promql.functions import native
from agent.promql.functions.native import Span, Voice
from agent.telemetry.native import CounterReset, FloatHistogram, parse_literal
from tests.unit.promql.functions.notes import Heard

MINUTE = 60_000


def samples(*texts: str) -> tuple[np.ndarray, np.ndarray]:
    """One a minute from minute 1 on."""
    cells = np.empty(len(texts), np.object_)
    cells[:] = [parse_literal(text) for text in texts]
    return np.arange(1, len(texts) + 1, dtype=np.int64) * MINUTE, cells


def voice() -> tuple[Voice, Heard]:
    heard = Heard()
    return Voice(heard, "m"), heard


def close(a: float, b: float) -> bool:
    return math.isclose(a, b, rel_tol=1e-12, abs_tol=1e-12)


def assert_gives(found: FloatHistogram | None, expected: str) -> None:
    assert found is not None
    assert found.almost_equals(parse_literal(expected), close), str(found)


def test_increase_reaches_to_the_borders_of_the_range() -> None:
    times, cells = samples("{{count:10 sum:5 buckets:[10]}}", "{{count:14 sum:9 buckets:[12 2]}}")
    found = native.rate(times, cells, Span(MINUTE // 2, 3 * MINUTE), voice()[0], per_second=False)
    # One minute seen, half a minute before it and a minute behind it are taken to be alike.
    assert_gives(found, "{{count:10 sum:10 buckets:[5 5]}}")
    assert found is not None
    assert found.hint is CounterReset.GAUGE


def test_rate_is_the_increase_a_second() -> None:
    times, cells = samples("{{count:60}}", "{{count:120}}")
    found = native.rate(times, cells, Span(MINUTE - 1, 2 * MINUTE), voice()[0], per_second=True)
    assert found is not None
    assert found.count == pytest.approx(1.0, rel=1e-4)


def test_a_counter_is_not_extrapolated_below_zero() -> None:
    times, cells = samples("{{count:1}}", "{{count:11}}")
    found = native.rate(times, cells, Span(0, 2 * MINUTE), voice()[0], per_second=False)
    assert found is not None
    assert found.count == pytest.approx(11)


def test_what_was_counted_before_a_reset_is_added() -> None:
    times, cells = samples(
        "{{count:4 buckets:[4]}}",
        "{{count:6 buckets:[6]}}",
        "{{count:2 buckets:[0 2]}}",
        "{{count:5 buckets:[0 5]}}",
    )
    found = native.rate(times, cells, Span(MINUTE - 1, 4 * MINUTE), voice()[0], per_second=False)
    assert found is not None
    assert found.count == pytest.approx(7, rel=1e-4)
    assert found.positive.count.tolist() == pytest.approx([2, 5], rel=1e-4)


def test_a_first_sample_before_a_reset_may_have_any_layout() -> None:
    times, cells = samples("{{schema:-53 count:9}}", "{{count:2}}", "{{count:5}}")
    reporter, heard = voice()
    assert native.rate(times, cells, Span(0, 3 * MINUTE), reporter, per_second=False) is not None
    assert not heard.warnings


@pytest.mark.parametrize(
    ("texts", "warning"),
    [
        (("{{count:1}}", "{{schema:-53 count:2}}"), None),
        (("{{count:1}}", "{{count:2}}", "{{schema:-53 count:3}}"), "exponential and custom"),
        (("{{count:1 counter_reset_hint:gauge}}", "{{count:2}}"), "not a counter"),
    ],
)
def test_warnings_of_rate(texts: tuple[str, ...], warning: str | None) -> None:
    reporter, heard = voice()
    native.rate(*samples(*texts), Span(0, 5 * MINUTE), reporter, per_second=True)
    assert [warning in text for text, _ in heard.warnings] == [True] if warning else not heard.warnings


def test_one_sample_has_no_rate() -> None:
    assert native.rate(*samples("{{count:1}}"), Span(0, MINUTE), voice()[0], per_second=True) is None


def test_delta_is_for_gauges() -> None:
    reporter, heard = voice()
    times, cells = samples("{{count:5}}", "{{count:3}}")
    assert_gives(native.delta(times, cells, Span(MINUTE, 2 * MINUTE), reporter), "{{count:-2}}")
    assert heard.warnings == [('this native histogram metric is not a gauge: "m"', 0)]


def test_the_last_two_samples() -> None:
    times, cells = samples("{{count:90}}", "{{count:5 buckets:[5]}}", "{{count:65 buckets:[5 60]}}")
    assert_gives(native.instant(times, cells, voice()[0], is_rate=True), "{{count:1 offset:1 buckets:[1]}}")
    assert_gives(
        native.instant(times[:2], cells[:2], voice()[0], is_rate=True),
        "{{count:0.08333333333333333 buckets:[0.08333333333333333]}}",
    )
    assert_gives(
        native.instant(times, cells, voice()[0], is_rate=False), "{{count:60 offset:1 buckets:[60]}}"
    )


def test_sums_and_means() -> None:
    texts = (
        "{{count:1e100 buckets:[1e100]}}",
        "{{count:3 buckets:[3]}}",
        "{{count:-1e100 buckets:[-1e100]}}",
    )
    cells = samples(*texts)[1]
    assert_gives(native.total(cells, voice()[0]), "{{count:3 buckets:[3]}}")
    assert_gives(native.mean(cells, voice()[0]), "{{count:1 buckets:[1]}}")
    assert native.total([], voice()[0]) is None


@pytest.mark.parametrize(
    ("texts", "warnings", "infos"),
    [
        (("{{count:1}}", "{{schema:-53 count:1}}"), [native.mixed_schemas("m")], []),
        (
            ("{{counter_reset_hint:reset}}", "{{counter_reset_hint:not_reset}}"),
            ["conflicting counter resets during histogram aggregation"],
            [],
        ),
        (
            ("{{schema:-53 custom_values:[1]}}", "{{schema:-53 custom_values:[2]}}"),
            [],
            ["mismatched custom buckets were reconciled during aggregation"],
        ),
    ],
)
def test_annotations_of_sums(texts: tuple[str, ...], warnings: list[str], infos: list[str]) -> None:
    reporter, heard = voice()
    native.total(samples(*texts)[1], reporter)
    assert [text for text, _ in heard.warnings] == warnings
    assert [text for text, _ in heard.infos] == infos
