from __future__ import annotations

import numpy as np
import pytest

from agent.detection.histogram import BUCKETS
from agent.detection.meshtotals import HOLD_NS
from agent.detection.meshwatch import BEHIND_NS, TRACED_NS, MeshWatch, Traced
from agent.detection.red import NO_BINS, RedBins, RedKey, RedKind

S = 10**9
T0 = 10_000 * S


def bins(*rows: tuple[str, int], kind: RedKind = RedKind.SERVED, operation: str = "http") -> RedBins:
    """A request of each service in the bin at so many seconds."""
    names = sorted({name for name, _ in rows})
    n = len(rows)
    return RedBins(
        keys=tuple(RedKey(name, "shop", "t", operation, kind) for name in names),
        series=np.asarray([names.index(name) for name, _ in rows], np.int32),
        bin_start_ns=np.asarray([T0 + at_s * S for _, at_s in rows], np.int64),
        count=np.ones(n, np.int64), errors=np.zeros(n, np.int64), sum_ns=np.zeros(n, np.int64),
        buckets=np.zeros((n, BUCKETS), np.int32),
    )  # fmt: skip


def told(found: RedBins) -> list[tuple[str, int]]:
    at_s = (found.bin_start_ns - T0) // S
    return [(found.keys[code].service, at) for code, at in zip(found.series, at_s.tolist(), strict=True)]


HOLD_S = TRACED_NS // S


@pytest.mark.parametrize(
    ("spans", "kept"),
    [
        (NO_BINS, [("cart", 0), ("cart", 1000), ("pay", 5)]),
        (bins(("cart", 0), operation="GET /"), [("cart", 1000), ("pay", 5)]),
        (bins(("cart", 0), ("cart", 990)), [("pay", 5)]),
        (bins(("cart", 1000 - HOLD_S), ("pay", 2000)), [("cart", 0), ("pay", 5)]),
        (bins(("cart", 0), kind=RedKind.CALLS), [("cart", 0), ("cart", 1000), ("pay", 5)]),
    ],
)
def test_spans_win_while_they_tell(spans: RedBins, kept: list[tuple[str, int]]) -> None:
    traced = Traced()
    traced.add(spans)
    assert told(traced.without(bins(("cart", 0), ("cart", 1000), ("pay", 5)))) == kept


def test_rows_of_all_streams_meet_and_wait_for_the_slowest() -> None:
    watch = MeshWatch()
    assert watch.take() is None
    for stream in (0, 1):
        watch.add(stream, NO_BINS, bins(("cart", stream * 5)))
    watch.come_to(0, T0 + 60 * S)
    watch.come_to(1, T0 + 45 * S)
    due = watch.take()
    assert due is not None
    assert (told(due[0]), due[1]) == ([("cart", 0), ("cart", 5)], T0 + 45 * S - HOLD_NS)
    watch.come_to(0, T0 + 46 * S + BEHIND_NS)
    due = watch.take()
    assert due is not None
    assert (len(due[0]), due[1]) == (0, T0 + 46 * S + BEHIND_NS - HOLD_NS)


def test_nothing_is_judged_before_a_stream_has_said_how_far_it_is() -> None:
    watch = MeshWatch()
    watch.add(0, NO_BINS, bins(("cart", 0)))
    assert watch.take() is None
    watch.come_to(0, T0 + 60 * S)
    due = watch.take()
    assert due is not None
    assert told(due[0]) == [("cart", 0)]


def test_what_a_restarted_stream_tells_again_counts_once() -> None:
    watch = MeshWatch()
    watch.add(0, NO_BINS, bins(("cart", 0), ("cart", 5)))
    watch.restarted(0)
    watch.add(0, NO_BINS, bins(("cart", 0), ("cart", 5), ("cart", 10)))
    watch.come_to(0, T0)
    due = watch.take()
    assert due is not None
    assert told(due[0]) == [("cart", 0), ("cart", 5), ("cart", 10)]


def test_spans_of_any_stream_win() -> None:
    watch = MeshWatch()
    watch.add(0, NO_BINS, bins(("cart", 0), ("pay", 0)))
    watch.add(1, bins(("cart", 0)), NO_BINS)
    watch.come_to(0, T0)
    due = watch.take()
    assert due is not None
    assert told(due[0]) == [("pay", 0)]
