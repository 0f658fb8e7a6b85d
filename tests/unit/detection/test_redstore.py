import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from agent.detection.redstore import RedStore, RedStoreSettings
from tests.unit.detection.builders import T0, S, bin_of, key


def filled(store: RedStore | None = None, bins: int = 24) -> RedStore:
    store = store or RedStore()
    for i in range(bins):
        store.add(
            bin_of(
                5 * i, (key("a", "x"), [0.1] * 10, 1), (key("a", "y"), [0.4] * 10, 0), (key("b"), [1.0], 1)
            )
        )
    return store


def test_rate_errors_and_latency_of_an_operation() -> None:
    series = filled().query("a", "x", T0, T0 + 60 * S, 30)
    assert series.rate.tolist() == [2.0, 2.0]
    assert series.error_ratio.tolist() == [0.1, 0.1]
    assert series.p50_ns == pytest.approx([0.1 * S] * 2, rel=0.13)


def test_a_service_is_all_its_operations() -> None:
    series = filled().query("a", None, T0, T0 + 60 * S, 60)
    assert series.count.tolist() == [240]
    assert series.p95_ns == pytest.approx([0.4 * S], rel=0.13)


def test_no_service_is_all_services() -> None:
    assert filled().query(None, None, T0, T0 + 60 * S, 60).count.tolist() == [252]


def test_nothing_seen_is_not_a_number() -> None:
    series = filled().query("a", None, T0 + 3600 * S, T0 + 3630 * S, 30)
    assert series.rate.tolist() == [0.0]
    assert np.isnan(series.error_ratio).all()
    assert np.isnan(series.p99_ns).all()


def test_increments_of_one_bin_add_up() -> None:
    store = filled(filled(), 1)
    assert store.query("b", None, T0, T0 + 5 * S, 5).count.tolist() == [2]


@pytest.mark.parametrize(("start_s", "end_s", "step_s"), [(0, 0, 5), (10, 5, 5), (0, 10, 0)])
def test_an_impossible_range_is_refused(start_s: int, end_s: int, step_s: float) -> None:
    with pytest.raises(ValueError, match="the end must lie after the start"):
        RedStore().query(None, None, T0 + start_s * S, T0 + end_s * S, step_s)


def test_old_bins_go_by_age() -> None:
    store = filled(RedStore(RedStoreSettings(keep_s=60)), 120)
    assert store.query("a", "x", T0, T0 + 60 * S, 60).count.tolist() == [0]
    assert store.query("a", "x", T0 + 540 * S, T0 + 600 * S, 60).count.tolist() == [120]


def test_memory_is_bounded_when_names_flood() -> None:
    store = RedStore(RedStoreSettings(max_bytes=100_000))
    for i in range(2000):
        store.add(bin_of(5 * i, *((key("a", f"/{i}/{j}"), [0.1], 0) for j in range(5))))
    assert store.bytes < 110_000
    assert len(store.keys()) < 2000
    assert store.query("a", None, T0 + 9940 * S, T0 + 10_000 * S, 60).count.tolist() == [60]


def test_asking_while_another_thread_adds_is_safe() -> None:
    store = RedStore(RedStoreSettings(max_bytes=50_000))

    def add() -> None:
        for i in range(400):
            store.add(bin_of(5 * i, (key("a", f"op{i}"), [0.1], 0)))

    with ThreadPoolExecutor(1) as pool:
        adding = pool.submit(add)
        while not adding.done():
            store.query("a", None, T0, T0 + 2000 * S, 60)
            store.keys()
        adding.result()
    assert store.keys()


def test_a_store_pickles() -> None:
    again = pickle.loads(pickle.dumps(filled()))
    filled(again, 1)
    assert again.query("b", None, T0, T0 + 5 * S, 5).count.tolist() == [2]


def test_increments_come_back_as_they_were_added() -> None:
    store = filled(bins=3)
    bins = store.bins("a", T0 + 5 * S, T0 + 15 * S)
    assert {one.service for one in bins.keys} == {"a"}
    assert sorted(bins.bin_start_ns.tolist()) == [T0 + at * S for at in (5, 5, 10, 10)]
    again = RedStore()
    again.add(store.bins(None, T0, T0 + 60 * S))
    for service in ("a", "b"):
        before, after = (one.query(service, None, T0, T0 + 60 * S, 5) for one in (store, again))
        assert before.count.tolist() == after.count.tolist()
        assert before.p95_ns.tolist() == pytest.approx(after.p95_ns.tolist(), nan_ok=True)


def test_no_increments_of_an_unknown_service() -> None:
    assert len(filled().bins("nobody", T0, T0 + 60 * S)) == 0
    assert len(RedStore().bins(None, T0, T0 + 60 * S)) == 0
