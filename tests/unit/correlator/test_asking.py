from __future__ import annotations

import pytest

from actors.correlator.asking import Asking, Marks
from agent.detection.red import RedBins
from agent.errors import NotFound, Overloaded
from agent.telemetry.frames import NO_LOGS, NO_METRICS, NO_SPANS, Telemetry
from tests.unit.detection.builders import bin_of, key


class Gateway:
    async def positions(self) -> list[int]:
        return [3, 5]


class Stream:
    """``away``: how often it does not answer before it does; ``asked``: positions it was asked for."""

    def __init__(self, mark_ns: int, away: int = 0) -> None:
        self.mark_ns, self.away = mark_ns, away
        self.asked: list[int] = []

    async def watermarks(self, position: int) -> dict[str, int]:
        self._answer(position)
        return {"t1": self.mark_ns}

    async def telemetry(self, tenant: str, start_ns: int, end_ns: int, position: int) -> Telemetry | None:
        self._answer(position)
        return Telemetry(start_ns, end_ns, NO_SPANS, NO_LOGS, NO_METRICS) if tenant == "t1" else None

    async def mesh(self, tenant: str, service: str | None, start_ns: int, end_ns: int) -> list[RedBins]:
        self._answer(-1)
        return [bin_of(start_ns, (key("cart", tenant=tenant), [0.1], 0))]

    def _answer(self, position: int) -> None:
        self.asked.append(position)
        self.away -= 1
        if self.away >= 0:
            raise Overloaded("stream-1 is away")


def asking(*streams: Stream, patience_s: float = 0.0) -> Asking:
    return Asking(Gateway(), streams, patience_s)


async def test_the_mark_is_the_latest_of_all_streams() -> None:
    one, two = Stream(7), Stream(9)
    assert await asking(one, two).mark("t1", [3, 5]) == 9
    assert (one.asked, two.asked) == ([3], [5])


async def test_a_tenant_that_sent_nothing() -> None:
    with pytest.raises(NotFound, match="has sent nothing"):
        await asking(Stream(7)).mark("t2", [3])
    assert await asking(Stream(7)).telemetry("t2", 0, 9, [3]) is None


async def test_a_part_is_no_answer() -> None:
    streams = asking(Stream(7), Stream(9, away=99))
    with pytest.raises(Overloaded, match="the rest is no answer: stream-1 is away"):
        await streams.mark("t1", [3, 5])
    with pytest.raises(Overloaded, match="the rest is no answer: stream-1 is away"):
        await streams.telemetry("t1", 0, 9, [3, 5])


async def test_what_meshes_tell_is_added_up() -> None:
    found = await asking(Stream(7), Stream(9)).mesh("t1", 0, 9)
    assert ([one.tenant for one in found.keys], found.count.tolist()) == (["t1"], [1, 1])


async def test_a_stream_that_comes_back_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("actors.correlator.asking.RETRY_S", 0.0)
    streams = asking(Stream(7), Stream(9, away=2), patience_s=5.0)
    assert await streams.telemetry("t1", 0, 9, [3, 5]) is not None


async def test_event_time_goes_on_with_the_streams_that_are_there() -> None:
    streams = asking(Stream(7), Stream(9, away=1))
    assert await streams.marks([3, 5]) == Marks({"t1": 7}, away=(1,))
    assert await streams.marks([3, 5]) == Marks({"t1": 9})


async def test_an_error_of_ours_is_not_taken_for_absence() -> None:
    broken = Stream(7)
    broken.watermarks = None  # type: ignore[assignment,method-assign]
    with pytest.raises(TypeError):
        await asking(broken).marks([3])
