import pickle

import numpy as np
import pytest

from agent.detection.red import OTHER_OPERATION, RedAccumulator, RedBins, RedKind, RedSettings, concat_bins
from agent.telemetry.frames import (
    KIND_CLIENT,
    KIND_CONSUMER,
    KIND_INTERNAL,
    KIND_PRODUCER,
    KIND_SERVER,
    KIND_UNSPECIFIED,
    SYSTEM_DB,
    SYSTEM_GEN_AI,
    SYSTEM_HTTP,
    SYSTEM_MESSAGING,
)
from tests.unit.detection.builders import T0, S, Sp, frame


def drained(*spans: Sp, settings: RedSettings | None = None) -> RedBins:
    red = RedAccumulator(settings)
    red.observe(frame(*spans))
    return red.drain()


@pytest.mark.parametrize(
    ("kind", "system", "expected"),
    [
        pytest.param(KIND_SERVER, 0, RedKind.SERVED, id="server"),
        pytest.param(KIND_CONSUMER, SYSTEM_MESSAGING, RedKind.SERVED, id="consumer"),
        pytest.param(KIND_CLIENT, SYSTEM_HTTP, RedKind.CALLS, id="http client"),
        pytest.param(KIND_CLIENT, SYSTEM_DB, RedKind.CALLS, id="database client"),
        pytest.param(KIND_CLIENT, SYSTEM_GEN_AI, RedKind.CALLS, id="model client"),
        pytest.param(KIND_CLIENT, 0, RedKind.CALLS, id="client of nothing known"),
        pytest.param(KIND_INTERNAL, 0, None, id="internal"),
        pytest.param(KIND_PRODUCER, SYSTEM_MESSAGING, None, id="producer"),
        pytest.param(KIND_UNSPECIFIED, 0, RedKind.SERVED, id="kinds are never sent"),
    ],
)
def test_which_spans_count(kind: int, system: int, expected: RedKind | None) -> None:
    bins = drained(Sp("a", "x", 1.0, kind=kind, system=system))
    assert [k.kind for k in bins.keys] == ([expected] if expected else [])


def test_kindless_spans_of_a_service_with_kinds_do_not_count() -> None:
    red = RedAccumulator()
    red.observe(frame(Sp("a", "x", 1.0)))
    red.observe(frame(Sp("a", "y", 1.2, kind=KIND_UNSPECIFIED), names=["x", "y"]))
    assert [k.operation for k in red.drain().keys] == ["x"]


def test_a_span_counts_in_the_bin_of_its_end() -> None:
    bins = drained(Sp("a", "x", 12.0, took_s=11.0))
    assert bins.bin_start_ns.tolist() == [T0 + 10 * S]
    assert bins.sum_ns.tolist() == [11 * S]


def test_sums_of_a_bin() -> None:
    bins = drained(Sp("a", "x", 1.0, 0.1, failed=True), Sp("a", "x", 2.0, 0.3), Sp("b", "x", 2.0))
    assert bins.count.tolist() == [2, 1]
    assert bins.errors.tolist() == [1, 0]
    assert bins.buckets.sum(axis=1).tolist() == [2, 1]


def test_late_spans_come_as_another_increment() -> None:
    red = RedAccumulator()
    spans = frame(Sp("a", "x", 1.0))
    for _ in range(2):
        red.observe(spans)
        assert red.drain().count.tolist() == [1]
    assert len(red.drain()) == 0


def test_too_many_operations_go_to_other() -> None:
    spans = [Sp("a", f"/{i}", 1.0) for i in range(10)]
    bins = drained(*spans, settings=RedSettings(max_operations=3))
    assert [k.operation for k in bins.keys] == ["/0", "/1", "/2", OTHER_OPERATION]
    assert int(bins.count.sum()) == 10


def test_no_room_is_counted() -> None:
    red = RedAccumulator(RedSettings(max_pending_rows=64))
    red.observe(frame(*(Sp("a", "x", 5.0 * i) for i in range(100))))
    assert red.spans_refused == 36
    assert int(red.drain().count.sum()) == 64


def test_instances_of_a_service_share_a_series() -> None:
    bins = drained(Sp("a", "x", 1.0), Sp("a", "x", 1.1))
    assert len(bins.keys) == 1


def test_foreign_tables_are_refused() -> None:
    red = RedAccumulator()
    red.observe(frame(Sp("a", "x", 1.0), services=["a", "b"]))
    with pytest.raises(ValueError, match="whose tables only grow"):
        red.observe(frame(Sp("b", "x", 1.0)))


def test_concat_merges_equal_keys() -> None:
    both = concat_bins([drained(Sp("a", "x", 1.0)), drained(Sp("b", "x", 1.0), Sp("a", "x", 7.0))])
    assert sorted(k.service for k in both.keys) == ["a", "b"]
    assert int(both.count.sum()) == 3


def test_pickles_in_the_middle() -> None:
    red = RedAccumulator()
    red.observe(frame(Sp("a", "x", 1.0)))
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(red)).drain().count, [1])
