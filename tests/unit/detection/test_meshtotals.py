from __future__ import annotations

import math

import numpy as np
import pytest

from agent.detection.histogram import quantile_of
from agent.detection.mesh import MeshSeries, Part
from agent.detection.meshtotals import HOLD_NS, MeshAccumulator, spread
from agent.detection.red import OTHER_OPERATION, RedBins, RedKey, RedKind, RedSettings

S = 1_000_000_000
CART = RedKey("cart", "shop", "t", "http", RedKind.SERVED)


def observe(mesh: MeshAccumulator, *rows: tuple[int, int, float]) -> RedBins:
    series, time_s, value = zip(*rows, strict=True)
    mesh.observe(
        np.asarray(series, np.int64), np.asarray(time_s, np.int64) * S, np.asarray(value, np.float64)
    )
    return mesh.drain(3600 * S)


def test_increments_by_bin_with_resets() -> None:
    mesh = MeshAccumulator()
    ok, failed = (mesh.add_series(MeshSeries(CART, part)) for part in (Part.REQUESTS, Part.ERRORS))
    assert len(observe(mesh, (ok, 0, 100.0), (failed, 0, 3.0))) == 0
    bins = observe(mesh, (ok, 11, 4.0), (ok, 6, 110.0), (failed, 6, 5.0))
    assert bins.keys == (CART,)
    assert bins.bin_start_ns.tolist() == [5 * S, 10 * S]
    assert (bins.count.tolist(), bins.errors.tolist()) == ([12, 4], [2, 0])


def test_what_is_late_or_no_number_is_left_out() -> None:
    mesh = MeshAccumulator()
    ok = mesh.add_series(MeshSeries(CART, Part.REQUESTS))
    observe(mesh, (ok, 10, 1.0))
    assert len(observe(mesh, (ok, 10, 5.0), (ok, 9, 7.0), (ok, 12, math.nan))) == 0
    assert len(observe(mesh, (ok, 11, math.inf), (ok, 12, -math.inf))) == 0
    assert observe(mesh, (ok, 13, 2.0)).count.tolist() == [1]


def test_latency_from_buckets_and_sum() -> None:
    mesh = MeshAccumulator()
    bounds = (10.0, 100.0, math.inf)
    codes = [mesh.add_series(MeshSeries(CART, Part.BUCKET, bound)) for bound in bounds]
    total = mesh.add_series(MeshSeries(CART, Part.SUM))
    observe(mesh, *((code, 0, 0.0) for code in (*codes, total)))
    bins = observe(mesh, (codes[0], 5, 90.0), (codes[1], 5, 100.0), (codes[2], 5, 100.0), (total, 5, 750.0))
    assert bins.sum_ns.tolist() == [750_000_000]
    assert bins.buckets.sum() == 100
    p95_ns = quantile_of(bins.buckets[0].astype(np.float64), 100.0, 0.95)
    assert 30e6 < p95_ns < 80e6


def test_a_bucket_that_got_nothing_bounds_the_one_above() -> None:
    mesh = MeshAccumulator()
    codes = [mesh.add_series(MeshSeries(CART, Part.BUCKET, bound)) for bound in (50.0, 100.0)]
    observe(mesh, *((code, 0, 7.0) for code in codes))
    bins = observe(mesh, (codes[0], 5, 7.0), (codes[1], 5, 17.0))
    assert quantile_of(bins.buckets[0].astype(np.float64), 10.0, 0.01) * 1.13 >= 50e6


def test_a_full_table_says_so_and_its_series_are_left_out() -> None:
    mesh = MeshAccumulator(max_series=1)
    assert [mesh.add_series(MeshSeries(CART, Part.REQUESTS)) for _ in range(2)] == [0, -1]
    assert len(observe(mesh, (-1, 0, 1.0), (-1, 5, 9.0))) == 0


def test_many_series_keep_their_own_values() -> None:
    mesh = MeshAccumulator()
    codes = [mesh.add_series(MeshSeries(CART, Part.REQUESTS)) for _ in range(1000)]
    observe(mesh, *((code, 0, float(code)) for code in codes))
    assert observe(mesh, *((code, 5, code + 2.0) for code in codes)).count.tolist() == [2000]


@pytest.mark.parametrize(
    "cumulative",
    [
        {1.0: 3.0, math.inf: 3.0},
        {5.0: 1.0, 10.0: 7.0, 1e9: 9.0},
        {math.inf: 4.0},
        {1.0: 2.0, 2.0: 1.0, 3.0: 5.0},
    ],
)
def test_spreading_keeps_the_total(cumulative: dict[float, float]) -> None:
    assert spread(cumulative).sum() == max(cumulative.values())


def sample(mesh: MeshAccumulator, code: int, at_s: int, value: float) -> None:
    mesh.observe(np.asarray([code]), np.asarray([at_s * S]), np.asarray([value]))


def test_a_bin_is_handed_out_when_its_buckets_have_come() -> None:
    mesh = MeshAccumulator()
    codes = [mesh.add_series(MeshSeries(CART, Part.BUCKET, bound)) for bound in (10.0, math.inf)]
    for code in codes:
        sample(mesh, code, 0, 0.0)
    sample(mesh, codes[0], 6, 4.0)
    assert len(mesh.drain(10 * S + HOLD_NS - 1)) == 0
    sample(mesh, codes[1], 6, 5.0)
    assert mesh.drain(10 * S + HOLD_NS).buckets.sum() == 5


def test_silent_series_make_room() -> None:
    mesh = MeshAccumulator(max_series=2)
    old, new = (mesh.add_series(MeshSeries(CART, Part.REQUESTS)) for _ in range(2))
    sample(mesh, old, 1, 5.0)
    sample(mesh, new, 50, 5.0)
    assert mesh.forget(10 * S).tolist() == [-1, 0]
    assert mesh.add_series(MeshSeries(CART, Part.REQUESTS)) == 1
    sample(mesh, 0, 60, 8.0)
    assert mesh.drain(3600 * S).count.tolist() == [3]


def test_what_waits_outlives_its_series_and_its_key_goes_with_it() -> None:
    mesh = MeshAccumulator(RedSettings(max_operations=1))
    gone, other = RedKey("a", "", "t", "gone", RedKind.SERVED), RedKey("a", "", "t", "other", RedKind.SERVED)
    code = mesh.add_series(MeshSeries(gone, Part.REQUESTS))
    for at_s in (0, 5):
        sample(mesh, code, at_s, float(at_s))
    mesh.forget(3600 * S)
    assert mesh.drain(3600 * S).keys == (gone,)
    mesh.forget(3600 * S)
    code = mesh.add_series(MeshSeries(other, Part.REQUESTS))
    bins = observe(mesh, (code, 9, 9.0), (code, 15, 15.0))
    assert (bins.keys, bins.count.tolist()) == ((other,), [6])


def test_too_many_operations_are_counted_together() -> None:
    mesh = MeshAccumulator(RedSettings(max_operations=1))
    keys = [RedKey("cart", "shop", "t", name, RedKind.SERVED) for name in ("a", "b", "c")]
    codes = [mesh.add_series(MeshSeries(key, Part.REQUESTS)) for key in keys]
    bins = observe(mesh, *((code, at, float(at)) for code in codes for at in (0, 5)))
    assert {key.operation: int(bins.count[i]) for i, key in enumerate(bins.keys)} == {
        "a": 5,
        OTHER_OPERATION: 10,
    }


def test_forgetting_leaves_the_others_their_own_sums() -> None:
    mesh = MeshAccumulator(RedSettings(max_operations=2), max_series=4)
    keys = [RedKey("cart", "", "t", name, RedKind.SERVED) for name in ("a", "b", "c", "d")]
    codes = [mesh.add_series(MeshSeries(key, Part.REQUESTS)) for key in reversed(keys)]
    observe(mesh, *((code, 0 if code == 0 else 20, 0.0) for code in codes))
    moved = mesh.forget(10 * S)
    bins = observe(mesh, *((int(moved[code]), 25, float(code)) for code in codes[1:]))
    assert {key.operation: int(bins.count[bins.series == i][0]) for i, key in enumerate(bins.keys)} == {
        "c": 1, OTHER_OPERATION: 5,
    }  # fmt: skip


def test_much_that_waits_asks_for_a_drain() -> None:
    mesh = MeshAccumulator(RedSettings(max_pending_rows=2))
    code = mesh.add_series(MeshSeries(CART, Part.REQUESTS))
    for at_s in range(0, 25, 5):
        sample(mesh, code, at_s, float(at_s))
    assert mesh.crowded
    mesh.drain(3600 * S)
    assert not mesh.crowded
