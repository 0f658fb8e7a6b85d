"""Lines from standard input as an event loop wants them: a wait for one can be cancelled.

``input`` in a thread cannot be: Ctrl-C would end the program only after the next Enter.
"""

from __future__ import annotations

import asyncio
import os

READ_BYTES = 65536


class Lines:
    """The lines of a file descriptor: a terminal, a pipe, or a file. It is read only while somebody waits."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._held = b""
        self._ended = False

    async def next(self) -> str | None:
        """The next line without its end; None when there is none any more, or the descriptor is closed."""
        while b"\n" not in self._held and not self._ended:
            more = await self._read()
            self._ended = not more
            self._held += more
        if self._ended and not self._held:
            return None
        line, _, self._held = self._held.partition(b"\n")
        return line.decode("utf-8", "replace").rstrip("\r")

    async def _read(self) -> bytes:
        loop = asyncio.get_running_loop()
        ready = asyncio.Event()
        try:
            loop.add_reader(self._descriptor, ready.set)
        except PermissionError:  # a file or /dev/null, of which epoll knows nothing: it never lets one wait
            return self._read_now()
        except OSError:
            return b""
        try:
            await ready.wait()
        finally:
            loop.remove_reader(self._descriptor)
        return self._read_now()

    def _read_now(self) -> bytes:
        try:
            return os.read(self._descriptor, READ_BYTES)
        except OSError:  # closed, or the terminal is gone
            return b""
