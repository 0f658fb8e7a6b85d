"""Records of samples that are applied together do what each of them does alone, whatever is in them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from actors.stream.core import Stream
from agent.promql.values import Matcher
from agent.settings import StreamSettings
from agent.telemetry.samples import SAMPLES, Joiner, SampleBatch, sample_columns
from agent.windows import record
from agent.windows.log import LogReader, LogWriter
from tests.otlp import NOW_NS
from tests.promql.series import STALE
from tests.unit.windows.metrics.building import Samples, batch, series

NOW_MS = NOW_NS // 10**6
WATCHED = series("process_cpu_seconds_total", job="shop", instance="a:80")
MESH = series(
    "istio_requests_total", reporter="destination", destination_service_name="cart", response_code="200"
)
UP, UNKNOWN = series("up", job="shop", instance="b:80"), series("never_defined", job="shop")
CUT_MS = 50  # what is older was sealed before

POINT = st.tuples(
    st.integers(0, 200).map(lambda ms: NOW_MS + ms),
    st.sampled_from([0.0, 1.5, 7.0, STALE, -0.0]),
)
RECORD = st.dictionaries(
    st.sampled_from([WATCHED, MESH, UP, UNKNOWN]), st.lists(POINT, max_size=4), min_size=1
)


class Log:
    """``ends`` are the positions behind its records, of which the first one defines the series."""

    def __init__(self, folder: Path, records: Sequence[SampleBatch]) -> None:
        self.folder = folder
        writer = LogWriter(folder, 1 << 20)
        self.ends = [
            writer.append(record.encode(SAMPLES, "default", len(one), NOW_NS, _columns(one)))
            for one in records
        ]
        writer.close()


def _columns(plain: SampleBatch) -> dict[str, Any]:
    """As the gateway writes them: without labels where no series is defined."""
    return {k: column for k, column in sample_columns(plain).items() if len(plain.define_hash) or k != "raw"}


def outcome(log: Log, ends: Sequence[int]) -> tuple[Any, ...]:
    """What a stream holds and has left out when it is told of so much at a time. (What comes again goes to sources
    and detectors where something new is applied with it: that may differ.)"""
    stream = Stream(0, StreamSettings(), LogReader(log.folder))
    list(stream.follow(log.ends[0]))
    stream.tenants["default"].window.metrics.seal(NOW_MS + CUT_MS)
    for end in ends:
        list(stream.follow(end))
    found = stream.window("default").metrics.window.select([Matcher("__name__", "=~", ".+")], 0, 2 * NOW_MS)
    return (
        list(zip(found.labels.rows(), np.diff(found.offsets).tolist(), strict=True)),
        (found.time_ms.tolist(), found.value.tobytes()),
        stream.left_out,
    )


def both(folder: Path, records: Sequence[Samples]) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    """By one pass, and by a pass for each record."""
    defining = {one: [(NOW_MS, 0.0)] for one in (WATCHED, MESH, UP)}
    batches = [batch(defining), *(batch(one, define=False) for one in records)]
    logs = [Log(folder / name, batches) for name in ("together", "alone")]
    return outcome(logs[0], logs[0].ends[-1:]), outcome(logs[1], logs[1].ends[1:])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(st.lists(RECORD, min_size=2, max_size=6))
def test_it_makes_no_difference_how_much_is_applied_at_once(
    tmp_path_factory: pytest.TempPathFactory, records: list[Samples]
) -> None:
    together, alone = both(tmp_path_factory.mktemp("logs"), records)
    assert together == alone


def test_what_is_odd_in_a_run_is_left_out_and_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs: list[int] = []
    joined = Joiner.joined

    def noting(joiner: Joiner, records: Sequence[Any]) -> SampleBatch:
        runs.append(len(records))
        return joined(joiner, records)

    monkeypatch.setattr(Joiner, "joined", noting)
    at = [(NOW_MS + ms, float(ms)) for ms in range(0, 200, 10)]
    records: list[Samples] = [
        {WATCHED: at[10:12], UNKNOWN: at[:3], UP: []},
        {WATCHED: [at[11], at[6], (at[12][0], STALE)], UP: at[3:8]},
        {WATCHED: at[:2], UNKNOWN: []},
    ]
    together, alone = both(tmp_path, records)
    assert (together, runs) == (alone, [3])
    assert dict(together[0]) == {MESH: 1, WATCHED: 1 + 4, UP: 1 + 3}
    assert together[2] == {"unknown_series": 3, "too_old": 2 + 2}
