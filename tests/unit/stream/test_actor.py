"""The actor's class, without Ray: starting, paging, windows made anew."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from actors.direct import DirectClient
from actors.gateway.intake import Intake
from actors.places import log_folder, query_socket
from actors.stream import actor, journal
from actors.stream.actor import SourceStream
from actors.stream.core import Stream
from agent.errors import Overloaded
from agent.promql.values import Matcher
from agent.settings import GatewaySettings, GeneralSettings, Settings, StreamSettings
from agent.telemetry.batch import Signal
from agent.telemetry.metric_policy import MetricPolicy, MetricRule
from agent.telemetry.remote_write import Packed
from agent.telemetry.remote_write_client import encode_write_request
from agent.windows.log import LogWriter
from agent.windows.sampleintake import SampleIntake
from tests.otlp import NOW_NS, several, traces
from tests.unit.windows.metrics.building import series

S = 10**9


class Running:
    """A stream actor's class and the door before it."""

    def __init__(self, folder: Path, **streams: Any) -> None:
        self.settings = Settings(
            general=GeneralSettings(data_dir=str(folder)), streams=StreamSettings(count=1, **streams)
        )
        self.intake = Intake(GatewaySettings(max_future_s=10**6), 1)
        self.writer = LogWriter(log_folder(self.settings, 0), 1 << 20)
        self.stream = SourceStream(self.settings, 0)

    def write(self, services: list[str], at_s: int) -> None:
        at_ns = NOW_NS + at_s * S
        body = several([traces(name, [1 + at_s * 100 + i], at_ns) for i, name in enumerate(services)])
        for _, buffers in self.intake.accept(Signal.SPANS, body, "default", at_ns).writes:
            self.writer.append(buffers)

    async def send(self, services: list[str], at_s: int) -> None:
        self.write(services, at_s)
        await self.stream.advance(self.writer.position)


class Aggregator:
    """Says that ``http_*`` is not kept."""

    async def metric_policy(self, version: int) -> MetricPolicy | None:
        return MetricPolicy([MetricRule("http_*", enabled=False)], 1) if version == 0 else None


@pytest.fixture(autouse=True)
def beside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(actor, "connect", lambda settings: SimpleNamespace(aggregator=Aggregator()))


async def test_which_metrics_are_kept_is_asked_of_the_aggregator(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop, used = asyncio.get_running_loop(), asyncio.Queue[MetricPolicy]()
    monkeypatch.setattr(Stream, "use", lambda _, policy: loop.call_soon_threadsafe(used.put_nowait, policy))
    await Running(tmp_path).stream.start()
    async with asyncio.timeout(10):
        assert (await used.get()).version == 1


async def samples_seen(running: Running) -> int:
    """As the aggregator asks, past Ray."""
    matchers = [Matcher("__name__", "=", "m")]
    client = DirectClient(query_socket(running.settings, 0), "stream-0")
    try:
        found = await asyncio.to_thread(
            lambda: client.call("select", "default", matchers, 0, NOW_NS // 10**6).result()
        )
        return len(found.time_ms)
    finally:
        client.close()


async def test_a_query_sees_every_sample_that_was_synced_before_it(tmp_path: Path) -> None:
    running = Running(tmp_path)
    await running.stream.start()
    written = SampleIntake(GatewaySettings(max_future_s=10**6), 1)
    for i in range(3):
        sample = (NOW_NS // 10**6 - 10 + i, 1.0)
        body = Packed(encode_write_request([(series("m", job="j"), [sample])]))
        for _, buffers in written.take("default", [body], NOW_NS, [running.writer.position]).writes:
            running.writer.append(buffers)
        assert await samples_seen(running) == i
        running.writer.sync()  # nobody tells the stream
        assert await samples_seen(running) == i + 1


async def test_a_query_is_refused_when_the_log_cannot_be_applied_in_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = Running(tmp_path)
    await running.stream.start()
    running.write(["cart"], 1)
    running.writer.sync()
    with monkeypatch.context() as patched:
        patched.setattr(actor, "READ_YOUR_WRITES_S", 0.01)
        async with running.stream._applying:  # as while a window is made anew
            with pytest.raises(Overloaded, match="bytes of log behind"):
                await samples_seen(running)
    assert await samples_seen(running) == 0


async def test_what_is_due_is_sealed_and_thinned(tmp_path: Path) -> None:
    running = Running(tmp_path)
    await running.stream.start()
    done: list[str] = []

    class Feed:
        def seal(self, cut_ms: int) -> None:
            done.append(f"seal {cut_ms}")
            raise OSError("no space")

        def thin(self) -> None:
            done.append("thin")

    feed: Any = Feed()
    running.stream._stream.seals = lambda: [(feed, 7)]  # type: ignore[method-assign]
    running.stream._stream.thins = lambda: [feed]  # type: ignore[method-assign]
    await running.send(["cart"], 0)
    tidying = running.stream._tidying
    assert tidying is not None
    async with asyncio.timeout(10):
        while len(done) < 2:
            await asyncio.sleep(0)
    tidying.cancel()
    assert done == ["seal 7", "thin"]


async def test_nothing_is_handed_out_before_the_log_is_applied(tmp_path: Path) -> None:
    running = Running(tmp_path)
    running.write(["cart"], 0)
    with pytest.raises(Overloaded, match="is starting"):
        await running.stream.increments(0, 0)
    await running.stream.start()
    found = await running.stream.increments(0, 0)
    assert [int(item.red.count.sum()) for item in found.items] == [1]


async def test_increments_come_in_pages_and_all_of_them_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = Running(tmp_path)
    await running.stream.start()
    for at_s in range(5):
        await running.send(["cart"], at_s)
        await running.stream.increments(0, 0)
    after = journal.Journal.after
    monkeypatch.setattr(journal.Journal, "after", lambda self, cursor: after(self, cursor, 2500))
    epoch, cursor, pages = 0, 0, []
    while (found := await running.stream.increments(epoch, cursor)).items:
        epoch, cursor = found.epoch, found.cursor
        pages.append(sum(int(item.red.count.sum()) for item in found.items))
    assert sum(pages) == 5
    assert len(pages) > 1


async def test_a_full_window_is_made_anew_while_it_runs(tmp_path: Path) -> None:
    running = Running(tmp_path, max_sources=2, window_s=60.0)
    await running.stream.start()
    await running.send(["alive", "gone"], 0)
    for at_s in range(10, 160, 10):
        await running.send(["alive", "new"], at_s)
    assert {source.service for source in await running.stream.sources("default")} == {"alive", "new"}
    health = await running.stream.health()
    assert health.figures["rebuilds_total"] == 1
    assert health.refused["source_limit"] > 0


async def test_what_cannot_be_shown_live_is_applied_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = Running(tmp_path)
    await running.stream.start()

    def broken(*_: object) -> None:
        raise ValueError("odd row")

    monkeypatch.setattr(running.stream._live, "wanted", lambda *_: True)
    monkeypatch.setattr(running.stream._live, "publish", broken)
    await running.send(["cart"], 0)
    assert (await running.stream.health()).figures["spans_total"] == 1
