from __future__ import annotations

import math
import random

import pytest

from agent.telemetry.native import CounterReset, FloatHistogram, IncompatibleSchemas, parse_literal
from agent.telemetry.native_kahan import KahanMean, KahanSum, kahan_add
from tests.unit.telemetry.native_samples import observed


def summed(*texts: str) -> KahanSum:
    return _folded(KahanSum, [parse_literal(text) for text in texts])


def _folded(kind: type[KahanSum], samples: list[FloatHistogram]) -> KahanSum:
    state = kind(samples[0])
    for sample in samples[1:]:
        state.add(sample)
    return state


def literal(number: str) -> FloatHistogram:
    return parse_literal(
        f"{{{{count:{number} sum:{number} z_bucket:{number} buckets:[{number}] n_buckets:[{number}]}}}}"
    )


def test_what_rounding_lost_comes_back() -> None:
    state = _folded(KahanSum, [literal(number) for number in ("5", "1e100", "2", "-1e100")])
    assert state.result().equals(literal("7"))


def test_a_mean_keeps_what_rounding_lost() -> None:
    state = _folded(KahanMean, [literal(number) for number in ("5", "1e100", "2", "-1e100")])
    assert state.result().equals(literal("1.75"))


def test_a_mean_does_not_overflow() -> None:
    state = _folded(KahanMean, [literal("1.5e308")] * 4)
    assert state.result().almost_equals(literal("1.5e308"), lambda a, b: math.isclose(a, b, rel_tol=1e-12))


def test_as_the_plain_sum_whatever_the_layouts() -> None:
    rng = random.Random(7)
    samples = [
        observed(
            [round(rng.uniform(-50, 50), 2) for _ in range(20)],
            rng.randint(-4, 8),
            rng.choice([0.01, 0.6, 2.0]),
        )
        for _ in range(40)
    ]
    plain = samples[0]
    for sample in samples[1:]:
        plain = plain.add(sample).histogram
    compensated = _folded(KahanSum, samples).result()
    assert compensated.almost_equals(plain, lambda a, b: math.isclose(a, b, rel_tol=1e-12, abs_tol=1e-9))


def test_compensation_survives_a_coarser_schema_and_other_bounds() -> None:
    fine = ["{{schema:1 buckets:[1e100 1 5]}}", "{{schema:1 buckets:[2 3 5]}}", "{{schema:0 buckets:[0 1]}}"]
    assert summed(*fine, "{{schema:0 buckets:[-1e100]}}").result().equals(parse_literal("{{buckets:[2 15]}}"))
    custom = (
        "{{schema:-53 buckets:[1e100 1] custom_values:[1 2]}}",
        "{{schema:-53 buckets:[3 4] custom_values:[1 2]}}",
    )
    state = summed(*custom, "{{schema:-53 buckets:[-1e100] custom_values:[2]}}")
    assert state.reconciled
    assert state.result().equals(parse_literal("{{schema:-53 buckets:[8] custom_values:[2]}}"))


def test_a_collision_of_hints_is_told_even_over_others() -> None:
    hints = ("reset", "unknown", "not_reset")
    state = summed(*(f"{{{{count:1 counter_reset_hint:{hint}}}}}" for hint in hints))
    assert state.collision
    assert state.result().hint is CounterReset.UNKNOWN


def test_a_failed_addition_changes_nothing() -> None:
    state = summed("{{count:1}}")
    with pytest.raises(IncompatibleSchemas):
        state.add(parse_literal("{{schema:-53 count:1}}"))
    assert state.result().equals(parse_literal("{{count:1}}"))


def test_the_compensation_has_the_layout_of_the_total() -> None:
    a, b = (
        parse_literal("{{z_bucket_w:0.1 buckets:[1 2] n_buckets:[1]}}"),
        parse_literal("{{schema:-1 z_bucket_w:1 buckets:[1]}}"),
    )
    total, lost, _ = kahan_add(a, None, b)
    assert lost.positive.index.tolist() == total.positive.index.tolist()
    assert (lost.schema, lost.zero_threshold) == (total.schema, total.zero_threshold)
