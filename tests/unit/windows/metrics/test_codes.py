"""What a column says of some ids."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from agent.windows.metrics.codes import all_have, some_have

COLUMN = np.asarray([7, 7, 3, -1], np.int32)


@pytest.mark.parametrize(
    ("ids", "every", "some"),
    [([0, 1], True, True), ([0, 2], False, True), ([2, 3], False, False), ([0, -1, -2], True, True), ([-1], True, False)],
)  # fmt: skip
def test_ids_that_are_negative_count_for_nothing(ids: Sequence[int], every: bool, some: bool) -> None:
    series = np.asarray(ids, np.int32)
    assert (all_have(COLUMN, series, np.int32(7)), some_have(COLUMN, series, np.int32(7))) == (every, some)
