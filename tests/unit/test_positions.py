"""Positions of logs arrive, wherever the receiver was meanwhile."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from actors.positions import PositionReceiver, PositionSender
from agent.errors import Overloaded


async def test_the_highest_position_arrives(tmp_path: Path) -> None:
    taken: list[int] = []
    receiver = PositionReceiver(tmp_path / "run" / "stream-0.log", taken.append)
    sender = PositionSender([tmp_path / "absent.log", tmp_path / "run" / "stream-0.log"])
    for position in (5, 1 << 40, 7):
        sender.tell(1, position)
    await asyncio.sleep(0.01)
    assert taken == [1 << 40]
    with pytest.raises(Overloaded, match="absent does not listen"):
        sender.tell(0, 1)
    receiver.close()
    with pytest.raises(Overloaded, match="stream-0"):
        sender.tell(1, 8)
    sender.close()


async def test_a_receiver_that_comes_back_is_reached_at_its_old_path(tmp_path: Path) -> None:
    folder = tmp_path / ("a" * 120) / "run"  # longer than a socket's address may be
    sender = PositionSender([folder / "stream-0.log"])
    taken: list[int] = []
    for position in (1, 2):
        receiver = PositionReceiver(folder / "stream-0.log", taken.append)
        sender.tell(0, position)
        await asyncio.sleep(0.01)
        receiver.close()
    assert taken == [1, 2]
    sender.close()


async def test_a_full_queue_is_told_to_the_sender(tmp_path: Path) -> None:
    taken: list[int] = []
    receiver = PositionReceiver(tmp_path / "stream-0.log", taken.append)
    sender = PositionSender([tmp_path / "stream-0.log"])
    for position in range(1000):  # nobody reads meanwhile
        try:
            sender.tell(0, position)
        except Overloaded:
            break
    assert 0 < position < 999
    await asyncio.sleep(0.01)
    assert len(taken) == 1
    sender.tell(0, 1000)
    await asyncio.sleep(0.01)
    assert taken[-1] == 1000
    receiver.close()
    sender.close()
