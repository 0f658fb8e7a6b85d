from __future__ import annotations

import numpy as np
import pytest

from agent.telemetry.batch import (
    REJECT_SENTENCES,
    Batch,
    Reject,
    Signal,
    SpanBatch,
    columns,
    drop_rejected,
    from_columns,
    signal_of,
    take_blocks,
)
from agent.telemetry.otlp_attributes import point_labels, resource_attributes
from agent.telemetry.otlp_logs import decode_logs
from agent.telemetry.otlp_metrics import decode_metrics
from agent.telemetry.otlp_spans import decode_spans
from tests.unit.telemetry.requests import (
    attributes,
    gauge,
    histogram,
    log_record,
    logs_body,
    metrics_body,
    number,
    span,
    trace_body,
)


def three_blocks() -> SpanBatch:
    return decode_spans(
        trace_body([span(name="a")], [span(name="bb"), span(name="")], [span(name="ccc"), span(name="dddd")])
    )


def names(batch: SpanBatch) -> list[bytes]:
    ends = batch.name_off + batch.name_len
    return [batch.raw[a:b].tobytes() for a, b in zip(batch.name_off, ends, strict=True)]


def services(batch: SpanBatch) -> list[str]:
    places = zip(batch.resource_off.tolist(), batch.resource_len.tolist(), strict=True)
    return [resource_attributes(batch.raw, off, size)["service.name"] for off, size in places]


def test_take_blocks_moves_every_offset() -> None:
    part = take_blocks(three_blocks(), np.array([0, 2]))
    assert names(part) == [b"a", b"ccc", b"dddd"]
    assert services(part) == ["svc-0", "svc-2"]
    assert part.block.tolist() == [0, 1, 1]
    assert len(part.raw) == part.block_len.sum()


def test_take_blocks_ignores_order_and_repeats() -> None:
    assert names(take_blocks(three_blocks(), np.array([2, 1, 2]))) == [b"bb", b"", b"ccc", b"dddd"]


def test_take_all_blocks_is_the_batch_itself() -> None:
    batch = three_blocks()
    assert take_blocks(batch, np.arange(3)) is batch


def test_take_no_block_is_empty() -> None:
    part = take_blocks(three_blocks(), np.zeros(0, np.int64))
    assert (len(part), len(part.raw), len(part.block_off)) == (0, 0, 0)


def test_take_blocks_of_logs_and_metrics() -> None:
    logs = decode_logs(logs_body([log_record()], [log_record(body={"string_value": "two"})]))
    part = take_blocks(logs, np.array([1]))
    assert part.raw[part.body_off[0] :][: part.body_len[0]].tobytes() == b"two"
    metrics = decode_metrics(metrics_body([gauge(number())], [histogram(attributes=attributes({"k": "v"}))]))
    taken = take_blocks(metrics, np.array([1]))
    assert point_labels(taken, 2) == (("k", "v"), ("le", "0.1"))


def test_block_without_a_resource_keeps_none() -> None:
    body = b"\x0a\x02\x12\x00" + trace_body([span()])
    assert take_blocks(decode_spans(body), np.array([0])).resource_len.tolist() == [0]


def test_drop_rejected_counts_by_reason() -> None:
    batch = decode_spans(trace_body([span(), span(trace_id=b""), span(span_id=b""), span(trace_id=b"1")]))
    kept, counts = drop_rejected(batch)
    assert len(kept) == 1
    assert counts == {Reject.BAD_TRACE_ID: 2, Reject.BAD_SPAN_ID: 1}


def test_drop_rejected_counts_data_points_not_samples() -> None:
    batch = decode_metrics(
        metrics_body([histogram(time_unix_nano=0), gauge(number()), histogram(time_unix_nano=0)])
    )
    kept, counts = drop_rejected(batch)
    assert len(kept) == 1
    assert counts == {Reject.NO_TIME: 2}


def test_drop_rejected_of_a_good_batch_is_the_batch_itself() -> None:
    batch = three_blocks()
    assert drop_rejected(batch) == (batch, {})


@pytest.mark.parametrize("signal", Signal)
def test_columns_and_back_share_memory(signal: Signal) -> None:
    batches: dict[Signal, Batch] = {
        Signal.SPANS: three_blocks(),
        Signal.LOGS: decode_logs(logs_body([log_record()])),
        Signal.METRICS: decode_metrics(metrics_body([gauge(number())])),
    }
    batch = batches[signal]
    again = from_columns(signal, columns(batch))
    assert signal_of(again) is signal
    assert all(getattr(again, name) is column for name, column in columns(batch).items())


def test_every_reject_has_a_sentence() -> None:
    assert set(REJECT_SENTENCES) == set(Reject)
