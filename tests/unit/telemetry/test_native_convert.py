from __future__ import annotations

import numpy as np
import pytest

from agent.telemetry.native import InvalidHistogram, Totals, from_explicit, from_exponential, parse_literal

NONE = (0, np.empty(0))


def test_bucket_numbers_move_by_one() -> None:
    h = from_exponential(1, (-2, np.array([5, 0, 7])), (3, np.array([1])), Totals(15, 4.5, 2, 0.01))
    assert h.equals(
        parse_literal(
            "{{schema:1 count:15 sum:4.5 z_bucket:2 z_bucket_w:0.01 offset:-1 buckets:[5 0 7] n_offset:4 n_buckets:[1]}}"
        )
    )


def test_finer_scales_are_merged_down() -> None:
    h = from_exponential(10, (-1, np.array([1, 2, 3, 4, 5, 6])), NONE, Totals(21, 0))
    assert (h.schema, h.positive.index.tolist(), h.positive.count.tolist()) == (8, [0, 1, 2], [1, 14, 6])
    assert h.zero_threshold == 1e-128


def test_coarser_scales_are_refused() -> None:
    with pytest.raises(InvalidHistogram, match="scale must be >= -4, was -5"):
        from_exponential(-5, NONE, NONE, Totals(0, 0))


@pytest.mark.parametrize("bounds", [[1.0, 2.0], [1.0, 2.0, np.inf]])
def test_explicit_bounds_become_custom_values(bounds: list[float]) -> None:
    counts = np.array([5.0, 0.0, 7.0, 0.0][: len(bounds) + 1])
    h = from_explicit(np.array(bounds), counts, 20.0)
    assert h.equals(parse_literal("{{schema:-53 sum:20 count:12 buckets:[5 0 7] custom_values:[1 2]}}"))


def test_counts_that_do_not_fit_the_bounds() -> None:
    with pytest.raises(InvalidHistogram, match="2 bounds make 3 buckets, got 2 counts"):
        from_explicit(np.array([1.0, 2.0]), np.array([1.0, 1.0]), 0.0)
