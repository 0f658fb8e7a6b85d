"""What the gateway may have in hand at once, and where the work on a body runs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import ParamSpec, TypeVar

from agent.errors import Overloaded

INLINE_BYTES = 256 << 10  # a larger body is worked on in a thread, so that others are not held up

P = ParamSpec("P")
T = TypeVar("T")


class Starting(Overloaded):
    """The logs are not open yet."""


class RateLimited(Overloaded):
    """A source sends more than it may. Its rows are counted by who raises this, not as overload."""


class Room:
    """Bytes of request bodies in hand, at most ``max_bytes``."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self.used_bytes = 0

    @contextmanager
    def hold(self, size_bytes: int) -> Iterator[None]:
        """Raises ``Overloaded`` when there is no room; an empty room takes any one body."""
        if self.used_bytes and self.used_bytes + size_bytes > self._max_bytes:
            raise Overloaded("too many bodies are in hand; come back in a second")
        self.used_bytes += size_bytes
        try:
            yield
        finally:
            self.used_bytes -= size_bytes


async def work(size_bytes: int, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """``function`` of a body of ``size_bytes``: here when that is short work, else in a thread."""
    if size_bytes <= INLINE_BYTES:
        return function(*args, **kwargs)
    return await asyncio.to_thread(function, *args, **kwargs)
