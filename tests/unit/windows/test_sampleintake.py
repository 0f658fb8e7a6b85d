"""What the gateway makes of samples: which are taken, refused, defined, and where they go."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import cramjam
import numpy as np
import pytest

from agent.settings import GatewaySettings
from agent.telemetry.labels import Labels, decode_labels, hash_labels, labels_of
from agent.telemetry.remote_write import Packed, Version
from agent.telemetry.remote_write_client import WriteSeries, encode_write_request, encode_write_request_v2
from agent.telemetry.remote_write_labels import Fault
from agent.telemetry.samples import SampleBatch, from_sample_columns
from agent.windows import record
from agent.windows.refusals import Outcome
from agent.windows.sampleintake import GENERATION_BYTES, SampleIntake
from tests.unit.telemetry.remote_write_messages import Histogram, WriteRequest

NOW_MS = 1_700_000_000_000
STALE = np.uint64(0x7FF0000000000002)
Points = list[tuple[int, float]]


def intake(streams: int = 1, **settings: Any) -> SampleIntake:
    return SampleIntake(replace(GatewaySettings(), **settings), streams)


def take(
    made: SampleIntake, *bodies: Packed, positions: Iterable[int] = (0,), now_ms: int = NOW_MS
) -> tuple[dict[int, SampleBatch], tuple[Outcome, ...]]:
    """What is written to each stream, where that is one record each."""
    written, outcomes = take_all(made, *bodies, positions=positions, now_ms=now_ms)
    batches = dict(written)
    assert len(batches) == len(written)
    return batches, outcomes


def take_all(
    made: SampleIntake, *bodies: Packed, positions: Iterable[int] = (0,), now_ms: int = NOW_MS
) -> tuple[list[tuple[int, SampleBatch]], tuple[Outcome, ...]]:
    taken = made.take("t", bodies, now_ms * 10**6, list(positions))
    written = []
    for stream, buffers in taken.writes:
        raw = memoryview(b"".join(buffers))
        assert record.intact(raw, 0)
        written.append((stream, from_sample_columns(record.decode(raw, 0, 0).columns)))
    return written, taken.outcomes


def v1(*series: tuple[dict[str, str], Points]) -> Packed:
    return Packed(encode_write_request((labels_of(labels), points) for labels, points in series))


def raw_v1(labels: list[tuple[bytes, bytes]], points: Points = [(NOW_MS, 1.0)]) -> Packed:  # noqa: B006
    message = WriteRequest()
    row = message.timeseries.add()
    for name, text in labels:
        row.labels.add(name=name, value=text)
    for time_ms, value in points:
        row.samples.add(timestamp=time_ms, value=value)
    return Packed(bytes(cramjam.snappy.compress_raw(message.SerializeToString())))


def v2(*series: WriteSeries) -> Packed:
    return Packed(encode_write_request_v2(series), Version.V2)


def defined(batch: SampleBatch) -> dict[int, Labels]:
    return {
        int(key): decode_labels(batch.raw[off : off + size].tobytes())
        for key, off, size in zip(batch.define_hash, batch.define_off, batch.define_len, strict=True)
    }


def points_of(batch: SampleBatch) -> Points:
    return list(zip(batch.time_ms.tolist(), batch.value.tolist(), strict=True))


UP = {"__name__": "up", "job": "j"}


@pytest.mark.parametrize(
    ("before", "sample", "fault"),
    [
        ([], (NOW_MS, 1.0), None),
        ([(NOW_MS - 5, 1.0)], (NOW_MS, 1.0), None),
        ([(NOW_MS, 2.0)], (NOW_MS, 1.0), Fault.DUPLICATE_SAMPLE),
        ([(NOW_MS, 0.0)], (NOW_MS, -0.0), Fault.DUPLICATE_SAMPLE),
        ([(NOW_MS, 2.0)], (NOW_MS - 60_000, 1.0), None),
        ([(NOW_MS, 2.0)], (NOW_MS - 60_001, 1.0), Fault.OUT_OF_ORDER),
        ([], (NOW_MS + 120_000, 1.0), None),
        ([], (NOW_MS + 120_001, 1.0), Fault.IN_THE_FUTURE),
        ([], (NOW_MS - 3_600_000, 1.0), None),
        ([], (NOW_MS - 3_600_001, 1.0), Fault.TOO_OLD),
        ([], (-62_135_596_800_000, 1.0), Fault.TOO_OLD),
        ([], (32_503_680_000_000, 1.0), Fault.IN_THE_FUTURE),
        ([], (-(1 << 63), 1.0), Fault.TOO_OLD),
    ],
)
def test_samples_are_judged_as_prometheus_does(
    before: Points, sample: tuple[int, float], fault: Fault | None
) -> None:
    made = intake(max_past_s=3600.0)
    take(made, v1((UP, before)))
    batches, (outcome,) = take(made, v1((UP, [sample])))
    if fault is None:
        assert points_of(batches[0]) == [sample]
        assert (outcome.samples, outcome.refused, outcome.message) == (1, {}, "")
    else:
        assert not batches
        assert (outcome.samples, outcome.refused) == (0, {fault: 1})
        assert f"time {sample[0]} ms" in outcome.message


def test_the_same_again_is_taken_silently_and_not_written() -> None:
    made = intake()
    assert points_of(take(made, v1((UP, [(NOW_MS, 1.0)] * 3)))[0][0]) == [(NOW_MS, 1.0)]
    batches, (outcome,) = take(made, v1((UP, [(NOW_MS, 1.0)])))
    assert (batches, outcome.samples, outcome.equal) == ({}, 1, 1)


def test_a_stale_marker_keeps_its_bits() -> None:
    stale = float(STALE.view(np.float64))
    batches, _ = take(intake(), v1((UP, [(NOW_MS, stale)])))
    assert batches[0].value.view(np.uint64).tolist() == [int(STALE)]


@pytest.mark.parametrize(
    ("labels", "fault"),
    [
        ([(b"job", b"j")], Fault.NO_METRIC_NAME),
        ([(b"__name__", b"")], Fault.NO_METRIC_NAME),
        ([], Fault.NO_METRIC_NAME),
        ([(b"__name__", b"a"), (b"b", b"1"), (b"b", b"1")], Fault.DUPLICATE_LABEL),
        ([(b"b", b"1"), (b"__name__", b"a"), (b"b", b"2")], Fault.DUPLICATE_LABEL),
        ([(b"__name__", b"a"), (b"", b"1")], Fault.EMPTY_LABEL_NAME),
        ([(b"__name__", b"a\xff")], Fault.NOT_UTF8),
        ([(b"__name__", b"a"), (b"b", b"\xed\xa0\x80")], Fault.NOT_UTF8),
        ([(b"__name__", b"a"), (b"\xc0\x80", b"b")], Fault.NOT_UTF8),
        ([(b"__name__", b"a"), (b"b", b"v" * (10 << 20))], Fault.LABEL_VALUE_TOO_LONG),
        ([(b"__name__", b"a"), (b"n" * 2000, b"v")], Fault.LABEL_NAME_TOO_LONG),
        ([(b"__name__", b"a"), *((b"l%d" % i, b"v") for i in range(200))], Fault.TOO_MANY_LABELS),
    ],
)
def test_bad_labels_are_refused_and_the_rest_is_taken(
    labels: list[tuple[bytes, bytes]], fault: Fault
) -> None:
    batches, outcomes = take(intake(), raw_v1(labels), v1((UP, [(NOW_MS, 1.0)])))
    assert outcomes[0].refused == {fault: 1}
    assert len(outcomes[0].message) < 1000
    assert outcomes[1].samples == 1
    assert list(defined(batches[0]).values()) == [labels_of(UP)]


@pytest.mark.parametrize(
    "labels",
    [
        [(b"job", b"j"), (b"__name__", b"up")],
        [(b"__name__", b"up"), (b"empty", b""), (b"job", b"j")],
    ],
    ids=["unsorted", "empty value"],
)
def test_other_forms_of_the_same_labels_are_the_same_series(labels: list[tuple[bytes, bytes]]) -> None:
    made = intake()
    batches, _ = take(made, raw_v1(labels, [(NOW_MS, 1.0)]), v1((UP, [(NOW_MS, 1.0)])))
    assert list(defined(batches[0]).values()) == [labels_of(UP)]
    assert points_of(batches[0]) == [(NOW_MS, 1.0)]
    batches, _ = take(made, raw_v1(labels, [(NOW_MS + 1, 2.0)]))
    assert not len(batches[0].define_hash)
    assert batches[0].series_hash.tolist() == [
        hash_labels(b"\x0a\x0e\x0a\x08__name__\x12\x02up\x0a\x08\x0a\x03job\x12\x01j")
    ]


def test_a_series_is_defined_once_a_generation_and_again_after_forgetting() -> None:
    made = intake()
    steps = [
        (0, True),
        (GENERATION_BYTES, False),
        (GENERATION_BYTES + 1, True),
        (GENERATION_BYTES + 2, False),
    ]
    since = []
    for i, (position, defines) in enumerate(steps):
        batches, _ = take(made, v1((UP, [(NOW_MS + i, 1.0)])), positions=[position])
        assert bool(len(batches[0].define_hash)) is defines
        since += batches[0].defined_since.tolist()
    assert since == [0, 0, GENERATION_BYTES + 1, GENERATION_BYTES + 1]
    made.forget()
    batches, _ = take(made, v1((UP, [(NOW_MS + 3, 2.0)])), positions=[GENERATION_BYTES + 9])
    assert defined(batches[0])
    assert batches[0].defined_since.tolist() == [GENERATION_BYTES + 9]


def test_an_unsorted_series_is_defined_in_its_canonical_form_in_every_generation() -> None:
    made = intake()
    for i in range(3):
        body = raw_v1([(b"job", b"j"), (b"__name__", b"up")], [(NOW_MS + i, 1.0)])
        batches, _ = take(made, body, positions=[i * (GENERATION_BYTES + 1)])
        assert list(defined(batches[0]).values()) == [labels_of(UP)]


def test_the_series_of_a_target_lie_in_one_stream_and_targets_use_all() -> None:
    made = intake(streams=4)
    series = [
        ({"__name__": f"m{k}", "job": "j", "instance": f"i{i}"}, [(NOW_MS, 1.0)])
        for k in range(5)
        for i in range(40)
    ]
    batches, _ = take(made, v1(*series), positions=[0] * 4)
    owners: dict[str, set[int]] = {}
    for stream, batch in batches.items():
        for labels in defined(batch).values():
            owners.setdefault(dict(labels)["instance"], set()).add(stream)
    assert len(owners) == 40
    assert all(len(streams) == 1 for streams in owners.values())
    assert set(batches) == {0, 1, 2, 3}
    assert sum(len(batch) for batch in batches.values()) == 200


def test_limits_of_series_are_told_and_idle_series_make_room() -> None:
    made = intake(max_series=3, max_series_per_source=2)
    many = [({"__name__": f"m{k}", "job": "j"}, [(NOW_MS, 1.0)]) for k in range(3)]
    assert take(made, v1(*many))[1][0].refused == {Fault.TOO_MANY_SERIES_OF_SOURCE: 1}
    other = [({"__name__": f"m{k}", "job": "k"}, [(NOW_MS, 1.0)]) for k in range(2)]
    assert take(made, v1(*other))[1][0].refused == {Fault.TOO_MANY_SERIES: 1}
    later = NOW_MS + 3 * 3_600_000
    new = ({"__name__": "new", "job": "k"}, [(later, 1.0)])
    assert take(made, v1(new), now_ms=later)[1][0].refused == {}
    assert made.series == 1


def test_a_hundred_thousand_series_are_told_apart() -> None:
    made = intake(streams=2)
    for round_ in range(2):
        for begin in range(0, 100_000, 25_000):
            rows = [
                ({"__name__": "m", "i": str(i)}, [(NOW_MS + round_, float(i))])
                for i in range(begin, begin + 25_000)
            ]
            batches, (outcome,) = take(made, v1(*rows), positions=[0, 0])
            assert outcome.samples == 25_000
            assert sum(len(batch.define_hash) for batch in batches.values()) == (0 if round_ else 25_000)
    assert made.series == 100_000


def histogram(**changed: Any) -> bytes:
    """Three observations in two buckets, one of them zero."""
    content = {
        "count_int": 4, "sum": 3.0, "schema": 1, "zero_count_int": 1, "timestamp": NOW_MS,
        "positive_spans": [{"offset": 0, "length": 2}], "positive_deltas": [1, 1],
    } | changed  # fmt: skip
    return bytes(Histogram(**content).SerializeToString())


@pytest.mark.parametrize(
    ("changed", "fault"),
    [
        ({}, None),
        ({"count_int": 0, "count_float": 4.5, "positive_deltas": [], "positive_counts": [1.5, 2]}, None),
        ({"sum": float("nan"), "count_int": 9}, None),
        ({"sum": float("nan"), "count_int": 3}, Fault.HISTOGRAM_COUNT_NOT_BIG_ENOUGH),
        ({"count_int": 5}, Fault.HISTOGRAM_COUNT_MISMATCH),
        ({"schema": 9}, Fault.HISTOGRAM_SCHEMA),
        ({"positive_deltas": [1, -2]}, Fault.HISTOGRAM_NEGATIVE_BUCKET),
        ({"positive_deltas": [1]}, Fault.HISTOGRAM_SPANS),
        ({"positive_spans": [{"length": 1}, {"offset": -1, "length": 1}]}, Fault.HISTOGRAM_SPAN_OFFSET),
        ({"custom_values": [1.0]}, Fault.HISTOGRAM_BOUNDS),
        ({"schema": -53, "zero_count_int": 0, "count_int": 3, "custom_values": [1.0]}, None),
        ({"schema": -53, "zero_count_int": 0, "count_int": 3, "custom_values": [2.0, 1.0]}, Fault.HISTOGRAM_BOUNDS),
        ({"schema": -53, "zero_count_int": 0, "count_int": 3}, Fault.HISTOGRAM_BOUNDS),
        ({"schema": -53, "custom_values": [1.0]}, Fault.HISTOGRAM_SCHEMA),
    ],
)  # fmt: skip
def test_native_histograms_are_checked_and_travel_as_they_are(
    changed: dict[str, Any], fault: Fault | None
) -> None:
    message = histogram(**changed)
    batches, (outcome,) = take(intake(), v2(WriteSeries(labels_of(UP), histograms=(message,))))
    if fault is not None:
        assert outcome.refused == {fault: 1}
        return
    batch = batches[0]
    assert (outcome.histograms, batch.histogram_count.tolist()) == (1, [1])
    assert batch.histogram_time_ms.tolist() == [NOW_MS]
    off, size = int(batch.histogram_off[0]), int(batch.histogram_len[0])
    assert batch.raw[off : off + size].tobytes() == message


def test_histograms_are_judged_against_floats_and_histograms_of_their_series() -> None:
    made, labels = intake(), labels_of(UP)
    assert take(made, v2(WriteSeries(labels, histograms=(histogram(),))))[1][0].histograms == 1
    again, (outcome,) = take(made, v2(WriteSeries(labels, histograms=(histogram(),))))
    assert (len(again.get(0, ())), outcome.histograms, outcome.refused) == (0, 1, {})
    other = histogram(sum=4.0)
    assert take(made, v2(WriteSeries(labels, histograms=(other,))))[1][0].refused == {
        Fault.DUPLICATE_SAMPLE: 1
    }
    assert take(made, v1((UP, [(NOW_MS, 1.0)])))[1][0].refused == {Fault.DUPLICATE_SAMPLE: 1}
    assert take(made, v1((UP, [(NOW_MS + 1, 1.0)])))[1][0].samples == 1


def test_exemplars_go_with_their_series_and_bad_ones_cost_nothing_else() -> None:
    good = (labels_of({"trace_id": "ab", "a": "b"}), 0.5, NOW_MS)
    long = (labels_of({"trace_id": "x" * 1000}), 0.5, NOW_MS)
    other = {"__name__": "other"}
    body = v2(
        WriteSeries(labels_of(other), ((NOW_MS, 2.0),)),
        WriteSeries(labels_of(UP), ((NOW_MS, 1.0),), exemplars=(good, long)),
    )
    batches, (outcome,) = take(intake(), body)
    batch = batches[0]
    assert (outcome.samples, outcome.exemplars, outcome.message) == (2, 1, "")
    assert outcome.refused == {Fault.BAD_EXEMPLAR: 1}
    row, off, size = int(batch.exemplar_series[0]), int(batch.exemplar_off[0]), int(batch.exemplar_len[0])
    assert defined(batch)[int(batch.series_hash[row])] == labels_of(UP)
    assert decode_labels(batch.raw[off : off + size].tobytes()) == good[0]
    assert (batch.exemplar_value.tolist(), batch.exemplar_time_ms.tolist()) == ([0.5], [NOW_MS])


def test_exemplars_and_histograms_of_version_1() -> None:
    message = WriteRequest()
    row = message.timeseries.add()
    row.labels.add(name=b"__name__", value=b"h")
    row.histograms.add().ParseFromString(histogram())
    one = row.exemplars.add(value=0.25, timestamp=NOW_MS)
    one.labels.add(name=b"trace_id", value=b"ab")
    batches, (outcome,) = take(
        intake(), Packed(bytes(cramjam.snappy.compress_raw(message.SerializeToString())))
    )
    assert (outcome.histograms, outcome.exemplars, outcome.refused) == (1, 1, {})
    off, size = int(batches[0].exemplar_off[0]), int(batches[0].exemplar_len[0])
    assert decode_labels(batches[0].raw[off : off + size].tobytes()) == (("trace_id", "ab"),)


def metadata_of(batches: dict[int, SampleBatch]) -> list[dict[str, str]]:
    return [
        json.loads(batch.raw[off : off + size].tobytes())
        for batch in batches.values()
        for off, size in zip(batch.metadata_off, batch.metadata_len, strict=True)
    ]


def test_metadata_are_written_once_whichever_version_brings_them() -> None:
    made = intake(streams=2)
    message = WriteRequest()
    message.metadata.add(type=1, metric_family_name="up", help="Whether.", unit="")
    alone = Packed(bytes(cramjam.snappy.compress_raw(message.SerializeToString())))
    expected = [{"metric": "up", "type": "counter", "help": "Whether.", "unit": ""}]
    assert metadata_of(take(made, alone, positions=[0, 0])[0]) == expected
    series = WriteSeries(labels_of(UP), ((NOW_MS, 1.0),), type="counter", help="Whether.")
    assert metadata_of(take(made, v2(series, series), positions=[0, 0])[0]) == []
    changed = replace(series, help="Whether it is.")
    assert metadata_of(take(made, v2(changed), positions=[0, 0])[0]) == [
        expected[0] | {"help": "Whether it is."}
    ]
