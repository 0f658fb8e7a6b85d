"""The express lane writes what the general way would have written, and leaves no trace of a body that is refused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import cramjam
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.telemetry.remote_write import Packed
from agent.windows.expresslane import MOST_BYTES
from agent.windows.refusals import Outcome
from agent.windows.sampleintake import GENERATION_BYTES, SampleIntake
from tests.unit.telemetry.remote_write_messages import WriteRequest
from tests.unit.windows.test_sampleintake import NOW_MS, UP, Points, histogram, intake, take_all, v1

NO_MATTER = 100_000_000  # rows a second; where they are limited everything goes the general way
STREAMS = 2

points = st.lists(
    st.tuples(
        st.integers(-1, 6).map(lambda i: NOW_MS + 1000 * i) | st.integers(0, 1 << 42),
        st.sampled_from([0.0, -0.0, 1.0, 1.5, float("nan"), float("inf"), 0.1]) | st.floats(width=64),
    ),
    max_size=4,
)


def general(**settings: Any) -> SampleIntake:
    return intake(STREAMS, max_rows_per_source_per_s=NO_MATTER, **settings)


def sent(made: SampleIntake, *bodies: Packed, position: int = 0) -> tuple[Any, list[tuple[str, Outcome]]]:
    """What came of bodies: of each stream its rows and definitions; the outcomes, each with what refused it whole."""
    written, outcomes = take_all(made, *bodies, positions=[position] * STREAMS)
    rows: list[list[Any]] = [[] for _ in range(STREAMS)]
    for stream, batch in written:
        keys = batch.series_hash.repeat(batch.sample_count).tolist()
        rows[stream] += zip(keys, batch.time_ms.tolist(), batch.value.view(np.uint64).tolist(), strict=True)
        rows[stream] += [(key, *batch.defined_since.tolist()) for key in batch.define_hash.tolist()]
        rows[stream] += batch.histogram_time_ms.tolist() + batch.exemplar_time_ms.tolist()
    return rows, [(one.error.message if one.error else "", replace(one, error=None)) for one in outcomes]


def request(*made: tuple[int, Points]) -> Any:
    message = WriteRequest()
    for number, samples in made:
        row = message.timeseries.add()
        row.labels.add(name=b"__name__", value=b"m")
        row.labels.add(name=b"instance", value=b"%d" % (number % 7))
        row.labels.add(name=b"n", value=b"%d" % number * (1 + number % 3))
        for time_ms, value in samples:
            row.samples.add(timestamp=time_ms, value=value)
    return message


def packed(message: Any) -> Packed:
    return Packed(bytes(cramjam.snappy.compress_raw(message.SerializeToString())))


@st.composite
def bodies(draw: st.DrawFn) -> Packed:
    """The usual order, others, with series left out, new, repeated, of other kinds, or damaged."""
    usual = draw(st.booleans())
    numbers = range(6) if usual else draw(st.lists(st.integers(0, 8), max_size=8))
    message = request(*((number, draw(points)) for number in numbers))
    kind = draw(
        st.sampled_from(["usual", "usual", "histogram", "exemplar", "unsorted", "damaged", "unpackable"])
    )
    if kind == "unpackable":
        return Packed(b"\x05\xff")
    if message.timeseries and kind not in ("usual", "damaged"):
        row = message.timeseries[draw(st.integers(0, len(message.timeseries) - 1))]
        if kind == "histogram":
            row.histograms.add().ParseFromString(histogram(timestamp=NOW_MS + 1000 * draw(st.integers(0, 6))))
        elif kind == "exemplar":
            row.exemplars.add(value=0.25, timestamp=NOW_MS).labels.add(name=b"trace_id", value=b"ab")
        else:
            row.labels.add(name=b"__name__", value=row.labels.pop(0).value)
    raw = bytearray(message.SerializeToString())
    if kind == "damaged":
        at = draw(st.integers(0, len(raw)))
        raw[at : at + draw(st.integers(0, 3))] = draw(st.binary(max_size=3))
    return Packed(bytes(cramjam.snappy.compress_raw(bytes(raw))))


@given(st.lists(st.lists(bodies(), min_size=1, max_size=4), min_size=1, max_size=6), st.booleans())
def test_it_writes_what_the_general_way_writes(groups: list[list[Packed]], generations: bool) -> None:
    lane, other = intake(STREAMS), general()
    for number, group in enumerate(groups):
        position = number * (GENERATION_BYTES // 2 + 1) if generations else 0
        assert sent(lane, *group, position=position) == sent(other, *group, position=position)


def usual(step: int, series: range = range(50)) -> Packed:
    return packed(request(*((i, [(NOW_MS + step, float(step + i))]) for i in series)))


def test_usual_bodies_are_not_scanned() -> None:
    made = intake(STREAMS)
    for step in range(4):
        made.take("t", [usual(10 * step), usual(10 * step + 5)], NOW_MS * 10**6, [0, 0])
        assert len(made._scan.hashes) == (0 if step else 100)


def test_from_the_first_unusual_series_on_all_go_the_general_way() -> None:
    made, other = intake(STREAMS), general()
    new = packed(request((0, [(NOW_MS + 1, 1.0)]), (99, [(NOW_MS + 1, 1.0)]), (1, [(NOW_MS + 1, 1.0)])))
    for door in (made, other):
        sent(door, usual(0))
    assert sent(made, new, usual(2)) == sent(other, new, usual(2))
    assert len(made._scan.hashes) == 52


@pytest.mark.parametrize("cut", [1, 10, 400])
def test_nothing_is_left_of_a_body_that_is_refused(cut: int) -> None:
    made, other = intake(STREAMS), general()
    whole = bytes(cramjam.snappy.decompress_raw(usual(1).body))
    torn = Packed(bytes(cramjam.snappy.compress_raw(whole[:-cut])))
    for door in (made, other):
        sent(door, usual(0))
    before = made._tenants["t"].table.rows.copy()
    made.take("t", [torn], (NOW_MS + 3_600_000) * 10**6, [0] * STREAMS)
    assert (made._tenants["t"].table.rows == before).all()
    rows, ((refusal, _), (_, taken)) = found = sent(made, torn, usual(1))
    assert refusal
    assert (taken.samples, taken.equal, sum(map(len, rows))) == (50, 0, 50)
    assert found == sent(other, torn, usual(1))


def test_a_body_that_cannot_be_unpacked_takes_nothing_of_the_one_before_with_it() -> None:
    made, other = intake(STREAMS), general()
    for door in (made, other):
        sent(door, usual(0))
    rows, outcomes = found = sent(made, usual(1), Packed(b"\x05\xff"), usual(2))
    assert [one.samples for _, one in outcomes] == [50, 0, 50]
    assert sum(map(len, rows)) == 100
    assert found == sent(other, usual(1), Packed(b"\x05\xff"), usual(2))


def test_more_samples_than_there_is_room_for_at_first() -> None:
    made, other = intake(STREAMS), general()
    many = packed(request(*((i, [(NOW_MS + k, float(k)) for k in range(400)]) for i in range(50))))
    for door in (made, other):
        sent(door, usual(-1))
    assert sent(made, usual(0), many, many) == sent(other, usual(0), many, many)


def test_what_a_very_large_group_needed_is_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agent.windows.expresslane.KEPT_ROWS", 1 << 15)
    made = intake(STREAMS)
    sent(made, usual(-1))
    many = packed(request(*((i, [(NOW_MS + k, float(k)) for k in range(400)]) for i in range(50))))
    sent(made, many, many)
    assert len(made._lane._columns.control) > STREAMS << 15
    sent(made, usual(500))
    assert len(made._lane._columns.control) <= STREAMS << 15


def test_a_series_without_samples_is_no_row() -> None:
    made = intake(STREAMS)
    sent(made, v1((UP, [(NOW_MS, 1.0)])))
    rows, ((_, outcome),) = sent(made, v1((UP, [])))
    assert (rows, outcome.samples) == ([[], []], 0)


def test_a_body_that_is_very_large_goes_the_general_way() -> None:
    made = intake(STREAMS)
    sent(made, usual(0))
    large = request(*((i, [(NOW_MS + 1, 1.0)]) for i in range(50)))
    large.timeseries[0].labels[2].value = b"x" * MOST_BYTES
    found = sent(made, packed(large), usual(2))
    assert [one.samples for _, one in found[1]] == [49, 50]  # one label is too long
    assert len(made._scan.hashes) == 100
