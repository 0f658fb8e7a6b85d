"""Group commit."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
import pytest

from actors.gateway.committer import Committer
from agent.errors import Overloaded
from agent.windows import record
from agent.windows.log import LogReader, LogWriter


class Told:
    """Remembers what the streams were told; can be away."""

    def __init__(self) -> None:
        self.positions: dict[int, int] = {}
        self.away: Exception | None = None

    async def __call__(self, stream: int, position: int) -> None:
        if self.away:
            raise self.away
        self.positions[stream] = position


def entry(size: int = 10) -> list[bytes | memoryview]:
    return record.encode("spans", "default", 1, 0, {"raw": np.zeros(size, np.uint8)})


@asynccontextmanager
async def committer(folder: Path, told: Told, max_pending_bytes: int = 1 << 20) -> AsyncIterator[Committer]:
    made = Committer([LogWriter(folder / str(i), 1 << 20) for i in range(2)], max_pending_bytes, told)
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
        with pytest.raises(Overloaded) as refusal:
            await made.commit([(0, entry(5000))])
        assert refusal.value.retry_after_s > 0
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


async def test_chained_records_behind_one_that_fails_are_refused_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with committer(tmp_path, Told()) as made:
        release = threading.Event()

        def refuse(self: LogWriter) -> None:
            release.wait(5)
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as patched:
            patched.setattr(LogWriter, "sync", refuse)
            first = made.submit([(0, entry())], chained=True)
            await asyncio.sleep(0.01)  # it is on its way
            behind, free = made.submit([], chained=True), made.submit([(1, entry())], chained=False)
            release.set()
            for refused in (first, behind):
                with pytest.raises(Overloaded, match="No space"):
                    await refused
        assert made.failures == 1
        with contextlib.suppress(Overloaded):
            await free
        await made.submit([], chained=True)
