"""How far a log is durable: told by the gateway to the log's stream, past Ray, at each commit.

A datagram of eight bytes on a Unix socket costs some microseconds where a call of Ray takes 1.5 ms on each side.
Positions are absolute, so one that is told late or twice does no harm, and who receives takes the highest. The
sender learns that nobody listens, or that many datagrams wait already, and tells it again later.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable
from pathlib import Path

from actors.direct import unix_address
from agent.errors import Overloaded

_POSITION = struct.Struct("<Q")


class PositionSender:
    """To the receivers at some paths, by their numbers."""

    def __init__(self, paths: list[Path]) -> None:
        self._paths = paths
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)

    def tell(self, number: int, position: int) -> None:
        """Raises ``Overloaded`` where it does not arrive."""
        try:
            with unix_address(self._paths[number]) as address:
                self._socket.sendto(_POSITION.pack(position), address)
        except OSError as error:
            raise Overloaded(
                f"{self._paths[number].stem} does not listen ({type(error).__name__}); it restarts by itself"
            ) from None

    def close(self) -> None:
        self._socket.close()


class PositionReceiver:
    """Calls ``take`` with the positions that arrive, in the event loop that it is made in."""

    def __init__(self, path: Path, take: Callable[[int], None]) -> None:
        """Takes the place of a receiver that had the path before."""
        self._take = take
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.parent.chmod(0o700)
        path.unlink(missing_ok=True)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        with unix_address(path) as address:
            self._socket.bind(address)
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._socket, self._read)

    def close(self) -> None:
        self._loop.remove_reader(self._socket)
        self._socket.close()

    def _read(self) -> None:
        highest = -1
        while True:
            try:
                datagram = self._socket.recv(_POSITION.size + 1)
            except BlockingIOError:
                break
            if len(datagram) == _POSITION.size:
                highest = max(highest, *_POSITION.unpack(datagram))
        if highest >= 0:
            self._take(highest)
