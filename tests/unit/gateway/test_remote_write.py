"""Remote write through the door: what is answered, and what lies in the logs afterwards."""

from __future__ import annotations

import io
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import cramjam
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from actors.gateway.committer import Committer
from actors.gateway.remote_write import add_remote_write
from actors.gateway.room import Room
from agent.settings import GatewaySettings
from agent.telemetry.labels import Labels, decode_labels, labels_of
from agent.telemetry.remote_write_client import WriteSeries, encode_write_request, encode_write_request_v2
from agent.telemetry.samples import from_sample_columns
from agent.windows.log import LogReader, LogWriter
from agent.windows.sampleintake import SampleIntake

STREAMS = 2
HEADERS = {"Content-Type": "application/x-protobuf", "Content-Encoding": "snappy"}
V2 = {"Content-Type": "application/x-protobuf;proto=io.prometheus.write.v2.Request"}
Held = dict[Labels, list[tuple[int, float]]]


class Disk(LogWriter):
    """A log that can be full."""

    full = False

    def append(self, buffers: object) -> int:
        if Disk.full:
            raise OSError(28, "No space left on device")
        return super().append(buffers)  # type: ignore[arg-type]


def _told(stream: int, position: int) -> None:
    pass


class Door:
    def __init__(self, folder: Path, rate: int = 0) -> None:
        self.settings = GatewaySettings(max_rows_per_source_per_s=rate)
        self.folder = folder
        self.refused: list[str] = []
        self.told: Mapping[str, str] = {}  # the headers of the last answer
        writers = [Disk(folder / str(i), 1 << 20) for i in range(STREAMS)]
        self.committer = Committer(writers, SampleIntake(self.settings, STREAMS), 1 << 26, _told)
        app = web.Application(client_max_size=self.settings.max_body_bytes)
        add_remote_write(app, self.settings, Room(1 << 26), self.committer.write, self.refused.append)
        self.server = TestServer(app)
        self.client = TestClient(self.server)

    async def post(self, body: bytes, headers: dict[str, str] | None = None) -> tuple[int, str]:
        async with self.client.post(
            "/api/v1/write", data=io.BytesIO(body), headers=HEADERS | (headers or {})
        ) as answer:
            self.told = answer.headers
            return answer.status, await answer.text()

    def held(self) -> Held:
        """What is in the logs, by labels; every series was defined at or after ``defined_since``."""
        held: Held = {}
        for stream in range(STREAMS):
            named: dict[int, tuple[Labels, int]] = {}
            for found in LogReader(self.folder / str(stream)).read(0, self.committer.positions[stream]):
                batch = from_sample_columns(found.columns)
                for key, off, size in zip(batch.define_hash, batch.define_off, batch.define_len, strict=True):
                    named[key] = decode_labels(batch.raw[off : off + size].tobytes()), found.position
                at = 0
                for key, n in zip(batch.series_hash, batch.sample_count.tolist(), strict=True):
                    labels, defined_at = named[key]
                    assert defined_at >= batch.defined_since[0]
                    rows = zip(
                        batch.time_ms[at : at + n].tolist(), batch.value[at : at + n].tolist(), strict=True
                    )
                    held.setdefault(labels, []).extend(rows)
                    at += n
        return held


@asynccontextmanager
async def opened(made: Door) -> AsyncIterator[Door]:
    made.committer.start()
    await made.server.start_server(auto_decompress=False)
    async with made.client:
        yield made
    await made.committer.stop()


@pytest.fixture
async def door(tmp_path: Path) -> AsyncIterator[Door]:
    async with opened(Door(tmp_path)) as made:
        yield made


class Clock:
    """Stands until it is moved."""

    def __init__(self) -> None:
        self.now_ns = time.time_ns()

    def time_ns(self) -> int:
        return self.now_ns


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr("time.time_ns", made.time_ns)
    return made


@pytest.fixture
async def slow_door(tmp_path: Path, clock: Clock) -> AsyncIterator[Door]:
    """Takes ten rows a second of a source."""
    async with opened(Door(tmp_path, rate=10)) as made:
        yield made


@pytest.fixture(autouse=True)
def _disk() -> Iterator[None]:
    yield
    Disk.full = False


def now_ms() -> int:
    return time.time_ns() // 10**6


def some(n: int, at_ms: int) -> Held:
    return {
        labels_of({"__name__": "up", "job": "j", "instance": f"i{i}"}): [
            (at_ms - 1000, 1.0),
            (at_ms, float(i)),
        ]
        for i in range(n)
    }


async def test_what_was_acknowledged_is_in_the_logs_of_its_streams(door: Door) -> None:
    series = some(50, now_ms())
    assert await door.post(encode_write_request(series.items())) == (204, "")
    assert door.held() == series
    assert all(position > 0 for position in door.committer.positions)


async def test_the_same_again_is_taken_and_another_value_is_refused(door: Door) -> None:
    at_ms = now_ms()
    labels = labels_of({"__name__": "up", "instance": "i"})
    for value, status in ((1.0, 204), (1.0, 204), (2.0, 400)):
        got, text = await door.post(encode_write_request([(labels, [(at_ms, value)])]))
        assert got == status
    assert text == (
        'duplicate sample for timestamp: series {__name__="up", instance="i"}, '
        f"time {at_ms} ms, value 2.0\n"
    )
    assert door.held() == {labels: [(at_ms, 1.0)]}


@pytest.mark.parametrize(
    ("headers", "body", "status", "words"),
    [
        ({"Content-Type": "text/plain"}, b"", 415, "use application/x-protobuf"),
        ({"Content-Type": "application/x-protobuf;proto=other"}, b"", 415, "proto=io.prometheus.write.v2.Request"),
        ({"Content-Encoding": "br"}, b"", 415, "use snappy or zstd"),
        ({}, b"\xff\xff\xff", 400, "the body is not snappy"),
        ({}, bytes(cramjam.snappy.compress_raw(b"\x0a\x7f")), 400, "a length leads beyond"),
        ({}, bytes(cramjam.snappy.compress_raw(b"\0" * (50 << 20))), 413, "gateway.max_decoded_bytes"),
        ({"Content-Encoding": "zstd"}, bytes(cramjam.zstd.compress(b"\0" * (50 << 20))), 413, "max_decoded_bytes"),
        ({"Content-Encoding": "zstd"}, b"no zstd", 400, "the body is not zstd"),
    ],
)  # fmt: skip
async def test_bad_bodies_are_refused(
    door: Door, headers: dict[str, str], body: bytes, status: int, words: str
) -> None:
    got, text = await door.post(body, headers)
    assert (got, words in text) == (status, True), text
    assert len(door.refused) == 1


async def test_what_a_full_disk_refused_can_be_sent_again_and_is_defined_again(door: Door) -> None:
    series = some(20, now_ms())
    body = encode_write_request(series.items())
    Disk.full = True
    status, text = await door.post(body)
    assert (status, "No space left on device" in text) == (503, True)
    Disk.full = False
    assert (await door.post(body))[0] == 204
    assert door.held() == series


def of_one_source(n: int, at_ms: int) -> Held:
    """Two samples a series, further apart than may be out of order."""
    return {
        labels_of({"__name__": f"m{k}", "job": "j"}): [(at_ms - 90_000, 1.0), (at_ms, float(k))]
        for k in range(n)
    }


async def test_what_is_left_for_the_rate_is_429_and_gets_in_with_the_same_body(
    slow_door: Door, clock: Clock
) -> None:
    series = of_one_source(310, now_ms())  # 20 rows more than there is room for at once
    body = encode_write_request(series.items())
    status, text = await slow_door.post(body)
    assert (status, slow_door.told["Retry-After"]) == (429, "2")
    assert "gateway.max_rows_per_source_per_s" in text
    clock.now_ns += 2 * 10**9
    assert await slow_door.post(body) == (204, "")
    assert slow_door.held() == series


async def test_something_left_is_429_whatever_else_is_wrong_and_the_rest_is_told_in_the_end(
    slow_door: Door, clock: Clock
) -> None:
    nameless = labels_of({"job": "k"}), [(now_ms(), 1.0)]
    body = encode_write_request([nameless, *of_one_source(301, now_ms()).items()])
    status, text = await slow_door.post(body)
    assert (status, "metric name" in text) == (429, True), text
    clock.now_ns += 10**9
    status, text = await slow_door.post(body)
    assert (status, "metric name" in text) == (400, True), text


async def test_version_2_hears_each_time_what_was_written_this_time(slow_door: Door, clock: Clock) -> None:
    series = of_one_source(310, now_ms()).items()
    body = encode_write_request_v2(WriteSeries(labels, tuple(points)) for labels, points in series)
    written = []
    for status in (429, 204):
        assert (await slow_door.post(body, V2))[0] == status
        written.append(slow_door.told["X-Prometheus-Remote-Write-Samples-Written"])
        clock.now_ns += 2 * 10**9
    assert written == ["600", "20"]


async def test_what_is_left_is_no_overload(slow_door: Door) -> None:
    assert (await slow_door.post(encode_write_request(of_one_source(310, now_ms()).items())))[0] == 429
    assert slow_door.refused == []
