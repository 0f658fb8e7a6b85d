"""Plain records that are put together are what each of them says, one behind the other."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numba import typeof

from agent.telemetry.labels import labels_of
from agent.telemetry.samples import Joiner, SampleBatch, from_sample_columns, sample_columns
from agent.windows import record
from tests.unit.windows.metrics.building import batch

SERIES = [labels_of({"__name__": "m", "n": str(i)}) for i in range(4)]
VALUES = st.one_of(st.floats(width=64), st.integers(0, 1000).map(float))
POINTS = st.lists(st.tuples(st.integers(-5, 2**40), VALUES), max_size=5)
RECORDS = st.lists(st.dictionaries(st.sampled_from(SERIES), POINTS, max_size=4), min_size=1, max_size=4)
LARGE = ("series_hash", "sample_count", "histogram_count", "time_ms", "value")


def logged(samples: Any) -> Any:
    """The columns of a plain record as the log gives them back."""
    plain = batch(samples, define=False)
    columns = {name: column for name, column in sample_columns(plain).items() if name != "raw"}
    written = b"".join(record.encode("samples", "default", len(plain), 0, columns))
    return record.decode(memoryview(written), 0, 0).columns


@given(st.lists(RECORDS, min_size=1, max_size=3))
def test_joined_records_are_those_records_in_their_order_whatever_was_joined_before(runs: Any) -> None:
    joiner = Joiner()
    for run in runs:
        columns = [logged(one) for one in run]
        found, apart = joiner.joined(columns), [from_sample_columns(one) for one in columns]
        for name in LARGE:
            wanted = np.concatenate([getattr(one, name) for one in apart])
            assert getattr(found, name).tobytes() == wanted.tobytes()


def test_columns_that_are_joined_have_the_types_of_those_that_are_not() -> None:
    """Else a kernel would be compiled once more, while it is waited for."""
    columns = logged({SERIES[0]: [(1, 1.0)]})
    one, two = from_sample_columns(columns), Joiner().joined([columns, columns])
    types: Any = [[typeof(getattr(of, field.name)) for field in fields(SampleBatch)] for of in (one, two)]  # type: ignore[no-untyped-call]
    assert types[0] == types[1]


def test_a_record_that_counts_other_rows_than_it_has_is_refused() -> None:
    columns = dict(logged({SERIES[0]: [(1, 1.0)], SERIES[1]: [(1, 1.0), (2, 2.0)]}))
    columns["series_hash"] = columns["series_hash"][:1]
    with pytest.raises(ValueError, match="broadcast"):
        Joiner().joined([columns])
