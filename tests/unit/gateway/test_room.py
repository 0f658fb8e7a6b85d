"""What may be in hand at once."""

from __future__ import annotations

import threading

import pytest

from actors.gateway.room import INLINE_BYTES, Room, work
from agent.errors import Overloaded


def test_what_does_not_fit_is_refused_until_there_is_room() -> None:
    room = Room(100)
    with room.hold(60):
        with pytest.raises(Overloaded), room.hold(41):
            pass
        with room.hold(40):
            assert room.used_bytes == 100
    assert room.used_bytes == 0


def test_an_empty_room_takes_any_one_body() -> None:
    room = Room(100)
    with room.hold(1000):
        assert room.used_bytes == 1000


@pytest.mark.parametrize(("size_bytes", "here"), [(INLINE_BYTES, True), (INLINE_BYTES + 1, False)])
async def test_only_small_bodies_are_worked_on_in_the_event_loop(size_bytes: int, here: bool) -> None:
    assert (await work(size_bytes, threading.current_thread) is threading.current_thread()) == here
