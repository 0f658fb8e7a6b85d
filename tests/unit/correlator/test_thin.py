from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from actors.correlator.thin import thinned
from agent.telemetry.frames import NO_METRICS, Telemetry
from tests.unit.rootcause.frames import L, S, logs, spans

TRACES, SPANS_EACH = 2_000, 4


def stretch() -> Telemetry:
    rows = [S(t * 10 + i, 0, "cart", "GET /", 0, 9, trace=t) for t in range(1, TRACES + 1) for i in range(4)]
    lines = [L(5, t * 10, "cart", "added", trace=t) for t in range(1, TRACES + 1)]
    lines += [L(5, 0, "cart", "started", trace=0) for _ in range(7)]
    return Telemetry(0, 10, spans(rows), logs(lines), NO_METRICS)


WHOLE = stretch()


def test_what_fits_stays_as_it_is() -> None:
    assert thinned(WHOLE, TRACES * SPANS_EACH) is WHOLE


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_whole_traces_stay_with_their_lines(share: float) -> None:
    less = thinned(WHOLE, round(TRACES * SPANS_EACH * share))
    traces, sizes = np.unique(less.spans.trace_lo, return_counts=True)
    assert set(sizes) == {SPANS_EACH}
    assert len(traces) == pytest.approx(TRACES * share, abs=5 * np.sqrt(TRACES * share * (1 - share)))
    assert set(less.logs.trace_lo) == {0, *traces}
    assert (less.logs.trace_lo == 0).sum() == 7


def test_the_choice_follows_from_the_ids() -> None:
    backwards = np.arange(len(WHOLE.spans))[::-1]
    other = replace(WHOLE, spans=replace(WHOLE.spans, trace_lo=WHOLE.spans.trace_lo[backwards]))
    assert set(thinned(other, 900).spans.trace_lo) == set(thinned(WHOLE, 900).spans.trace_lo)
