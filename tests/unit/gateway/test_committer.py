"""Group commit."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from actors.gateway.committer import Committer
from agent.errors import Overloaded
from agent.settings import GatewaySettings
from agent.telemetry.labels import labels_of
from agent.telemetry.remote_write import Packed
from agent.telemetry.remote_write_client import encode_write_request
from agent.windows import record
from agent.windows.log import LogReader, LogWriter
from agent.windows.refusals import Outcome
from agent.windows.sampleintake import SampleIntake


class Told:
    """Remembers what the streams were told; can be away."""

    def __init__(self) -> None:
        self.positions: dict[int, int] = {}
        self.away: Exception | None = None

    def __call__(self, stream: int, position: int) -> None:
        if self.away:
            raise self.away
        self.positions[stream] = position


def entry(size: int = 10) -> list[bytes | memoryview]:
    return record.encode("spans", "default", 1, 0, {"raw": np.zeros(size, np.uint8)})


@asynccontextmanager
async def committer(folder: Path, told: Told, max_pending_bytes: int = 1 << 20) -> AsyncIterator[Committer]:
    writers = [LogWriter(folder / str(i), 1 << 20) for i in range(2)]
    made = Committer(writers, SampleIntake(GatewaySettings(), 2), max_pending_bytes, told)
    made.start()
    try:
        yield made
    finally:
        await made.stop()


async def until(condition: object) -> None:
    async with asyncio.timeout(5):
        while not condition():  # type: ignore[operator]
            await asyncio.sleep(0.005)


async def test_many_requests_share_few_commits_and_all_are_in_the_log(tmp_path: Path) -> None:
    told = Told()
    async with committer(tmp_path, told) as made:
        await asyncio.gather(*(made.commit([(i % 2, entry())]) for i in range(200)))
        assert made.commits < 50
        assert made.pending_bytes == 0
        await until(lambda: told.positions == dict(enumerate(made.positions)))
    rows = [len(list(LogReader(tmp_path / str(i)).read(0, told.positions[i]))) for i in range(2)]
    assert rows == [100, 100]


async def test_a_group_is_acknowledged_when_every_log_is_synced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with committer(tmp_path, Told()) as made:
        both = threading.Barrier(2, timeout=5)  # broken if one sync waits for the other
        monkeypatch.setattr(LogWriter, "sync", lambda _: both.wait() and None)
        await made.commit([(0, entry()), (1, entry())])
        assert made.commits == 1


@pytest.mark.parametrize("refusing", [0, 1])
async def test_a_group_is_refused_when_one_of_its_logs_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refusing: int
) -> None:
    sync = LogWriter.sync

    def refuse(writer: LogWriter) -> None:
        if writer._folder.name == str(refusing):
            raise OSError(28, "No space left on device")
        sync(writer)

    async with committer(tmp_path, Told()) as made:
        monkeypatch.setattr(LogWriter, "sync", refuse)
        with pytest.raises(Overloaded, match="No space"):
            await made.commit([(0, entry()), (1, entry())])


@pytest.mark.parametrize("error", [Overloaded("away"), RuntimeError("odd")], ids=["away", "odd"])
async def test_a_stream_that_could_not_be_told_is_told_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    monkeypatch.setattr("actors.gateway.committer.RETRY_TELL_S", 0.0)
    told = Told()
    told.away = error
    async with committer(tmp_path, told) as made:
        await made.commit([(0, entry())])
        await asyncio.sleep(0)
        told.away = None
        await until(lambda: told.positions.get(0) == made.positions[0])


async def test_too_much_waiting_is_refused_and_says_when_to_come_back(tmp_path: Path) -> None:
    async with committer(tmp_path, Told(), max_pending_bytes=1000) as made:
        large, refused = await asyncio.gather(
            made.commit([(0, entry(5000))]), made.commit([(0, entry(10))]), return_exceptions=True
        )
        assert large is None  # there is always room for one
        assert isinstance(refused, Overloaded)
        assert refused.retry_after_s > 0
        await made.commit([(0, entry(10))])


@pytest.mark.parametrize(
    "error", [OSError(28, "No space left"), ValueError("No space left")], ids=["disk", "odd"]
)
async def test_a_log_that_refuses_is_an_error_for_the_sender_and_not_for_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def refuse(*_: object) -> int:
        raise error

    async with committer(tmp_path, Told()) as made:
        with monkeypatch.context() as broken:
            broken.setattr(LogWriter, "append", refuse)
            with pytest.raises(Overloaded, match="No space left"):
                await made.commit([(0, entry())])
        await made.commit([(0, entry())])


def body(instance: str) -> Packed:
    series = labels_of({"__name__": "up", "job": "j", "instance": instance})
    return Packed(encode_write_request([(series, [(time.time_ns() // 10**6, 1.0)])]))


async def test_samples_of_a_group_that_the_disk_refused_are_not_taken_for_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: LogWriter) -> None:
        raise OSError(28, "No space left on device")

    told = Told()
    async with committer(tmp_path, told) as made:
        again = body("i")
        with monkeypatch.context() as patched:
            patched.setattr(LogWriter, "sync", refuse)
            with pytest.raises(Overloaded, match="No space"):
                await made.write("default", again)
        outcome = await made.write("default", again)
        assert (outcome.samples, outcome.equal) == (1, 0)


async def test_one_request_that_cannot_be_worked_on_does_not_take_others_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good, poison = body("good"), body("poison")
    take = SampleIntake.take

    def checked(bodies: Iterable[Packed]) -> Iterator[Packed]:
        for one in bodies:
            if one is poison:
                raise ValueError("odd")
            yield one

    def picky(self: SampleIntake, tenant: str, bodies: Iterable[Packed], *rest: Any) -> Any:
        return take(self, tenant, checked(bodies), *rest)

    monkeypatch.setattr(SampleIntake, "take", picky)
    async with committer(tmp_path, Told()) as made:
        answers = await asyncio.gather(
            *(made.write("default", one) for one in (good, poison, good)),
            made.commit([(0, entry())]),
            return_exceptions=True,
        )
    assert [isinstance(answer, Overloaded) for answer in answers] == [False, True, False, False]
    assert [answer.samples for answer in answers if isinstance(answer, Outcome)] == [1, 1]


async def test_requests_of_several_tenants_and_of_otlp_share_a_commit(tmp_path: Path) -> None:
    told = Told()
    async with committer(tmp_path, told) as made:
        outcomes = await asyncio.gather(
            made.write("a", body("one")),
            made.commit([(0, entry())]),
            made.write("b", body("one")),
            made.write("a", body("two")),
        )
        await until(lambda: told.positions == dict(enumerate(made.positions)))
        assert made.commits <= 2  # the first may have gone alone
    assert [one.samples for one in outcomes if one] == [1, 1, 1]
    records = [one for i in range(2) for one in LogReader(tmp_path / str(i)).read(0, told.positions[i])]
    assert sorted(one.meta.tenant for one in records if one.meta.signal == "samples") in (
        ["a", "a", "b"],
        ["a", "b"],
    )
