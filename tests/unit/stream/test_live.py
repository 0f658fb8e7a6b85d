"""The live feed of a stream."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import orjson
import pytest

from actors.ports import LiveBatch
from actors.stream import live
from actors.stream.live import LiveFeed, hex_ids
from agent.telemetry.batch import Signal
from tests.otlp import NOW_NS, gauge, logs, several, traces
from tests.unit.stream.feeding import Fed


async def fetched(feed: LiveFeed, cursor: int = 0) -> LiveBatch:
    return await feed.fetch("default", 7, cursor, 0.0, now_s=0.0)


def publish(feed: LiveFeed, fed: Fed, signal: Signal, body: bytes) -> None:
    for window, applied in fed.send(signal, body):
        feed.publish(window, applied)


async def test_frames_hold_the_rows_of_one_service_as_columns(tmp_path: Path) -> None:
    feed, fed = LiveFeed(7), Fed(tmp_path)
    publish(feed, fed, Signal.SPANS, several([traces("cart", [1, 2], NOW_NS), traces("front", [3], NOW_NS)]))
    found = await fetched(feed)
    assert [(f.service, f.rows) for f in found.frames] == [("cart", 2), ("front", 1)]
    message = orjson.loads(found.frames[0].payload)
    assert message["type"] == "spans"
    assert message["columns"]["span_id"] == ["0000000000000001", "0000000000000002"]
    assert message["columns"]["duration_ms"] == [5.0, 5.0]


async def test_log_frames_are_split_by_level(tmp_path: Path) -> None:
    feed, fed = LiveFeed(7), Fed(tmp_path)
    publish(feed, fed, Signal.LOGS, logs("cart", ["fine"], NOW_NS, severity=9))
    publish(feed, fed, Signal.LOGS, logs("cart", ["broken é"], NOW_NS + 1, severity=18))
    found = await fetched(feed)
    assert [f.severity for f in found.frames] == [9, 17]
    assert orjson.loads(found.frames[1].payload)["columns"]["body"] == ["broken é"]


async def test_nan_is_null_in_json(tmp_path: Path) -> None:
    feed, fed = LiveFeed(7), Fed(tmp_path)
    publish(feed, fed, Signal.METRICS, gauge("cart", "m", [float("nan"), 1.5], NOW_NS))
    found = await fetched(feed)
    assert orjson.loads(found.frames[0].payload)["columns"]["value"] == [None, 1.5]


async def test_a_late_reader_is_told_how_much_it_missed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "BUFFER_BYTES", 2000)
    feed, fed = LiveFeed(7), Fed(tmp_path)
    for i in range(20):
        publish(feed, fed, Signal.SPANS, traces("cart", [i + 1], NOW_NS))
    found = await fetched(feed)
    assert found.missed["spans"] + sum(f.rows for f in found.frames) == 20
    assert found.missed["spans"] > 0
    assert (await fetched(feed, found.cursor)).missed == {}


async def test_a_new_reader_begins_with_what_comes_from_now_on(tmp_path: Path) -> None:
    feed, fed = LiveFeed(7), Fed(tmp_path)
    publish(feed, fed, Signal.SPANS, traces("cart", [1], NOW_NS))
    first = await feed.fetch("default", 0, 0, 0.0, now_s=0.0)
    assert first.frames == ()
    assert first.epoch == 7


def test_nobody_listens_until_somebody_fetches() -> None:
    assert not LiveFeed(7).wanted("default", 100.0)


def test_ids_are_hexadecimal_and_none_is_empty() -> None:
    assert hex_ids(np.asarray([0, 255], np.uint64)) == ["", "00000000000000ff"]
