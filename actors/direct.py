"""Calls past Ray to another process of this machine, for what must be quick: the fan-out of a query.

A call of Ray takes 1.5 ms and two event loops, and a result of more than 100 KB goes through the object store;
many a query is done in less. Here a caller's thread writes to a Unix socket, and a thread at the other end reads,
works and answers. A message is a pickle of protocol 5, with the arrays behind it as they lie in memory. The socket
lies in a folder that its user alone may enter, which is what makes it safe to unpickle what comes out of it.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import socket
import struct
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import structlog

from agent.errors import Malformed, Overloaded

MAX_BUFFERS = 1 << 16
SMALL_BYTES = 4096  # an array that is copied into the pickle rather than sent by itself
MAX_MESSAGE_BYTES = 1 << 34
_HEAD = struct.Struct("<I")
_LONGEST_ADDRESS = 100  # bytes; the system takes 107

Message = list[memoryview]


def request(name: str, *arguments: Any) -> Message:
    """A call of the function of that name, which any number of servers may be sent."""
    return _message((name, arguments))


class DirectServer:
    """Answers calls of some functions, each by its name, one thread a connection."""

    def __init__(self, path: Path, functions: Mapping[str, Callable[..., Any]]) -> None:
        """Takes the place of a server that had the path before."""
        self._functions = functions
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.parent.chmod(0o700)
        path.unlink(missing_ok=True)
        self._socket = socket.socket(socket.AF_UNIX)
        with unix_address(path) as address:
            self._socket.bind(address)
        self._socket.listen(64)
        threading.Thread(target=self._accept, name=f"direct {path.stem}", daemon=True).start()

    def close(self) -> None:
        """Take no more connections."""
        with contextlib.suppress(OSError):  # wakes the thread that accepts
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), name="direct", daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError, EOFError):  # the caller left
            while True:
                name, arguments = _receive(connection)
                _send(connection, _message(self._answer(name, arguments)))

    def _answer(self, name: str, arguments: tuple[Any, ...]) -> tuple[bool, Any]:
        try:
            return True, self._functions[name](*arguments)
        except Exception as error:  # the caller's to deal with
            return False, error


class DirectClient:
    """A server as its callers see it. Calls may come from many threads, each has a connection of its own."""

    def __init__(self, path: Path, name: str, patience_s: float = 300.0) -> None:
        """``name`` is what an error calls the server. It has ``patience_s`` for an answer."""
        self._path, self._name, self._patience_s = path, name, patience_s
        self._idle: deque[socket.socket] = deque()

    def call(self, name: str, *arguments: Any) -> Call:
        """Begin a call. Raises Overloaded where nobody listens."""
        return self.send(request(name, *arguments))

    def send(self, asked: Message) -> Call:
        """Begin a call that ``request`` made. Raises Overloaded where nobody listens."""
        return Call(self, asked)

    def connected(self, *, fresh: bool) -> socket.socket:
        """Raises Overloaded."""
        if fresh:  # the server that the others were connected to is gone
            self.close()
        with contextlib.suppress(IndexError):
            return self._idle.pop()
        made = socket.socket(socket.AF_UNIX)
        try:
            made.settimeout(self._patience_s)
            with unix_address(self._path) as address:
                made.connect(address)
        except OSError as error:
            made.close()
            raise self.away(error) from None
        return made

    def close(self) -> None:
        """Close the connections that no call has; a later call makes another."""
        with contextlib.suppress(IndexError):
            while True:
                self._idle.pop().close()

    def give_back(self, connection: socket.socket) -> None:
        self._idle.append(connection)

    def away(self, error: Exception) -> Overloaded:
        return Overloaded(f"{self._name} is away ({type(error).__name__}); it restarts by itself")


class Call:
    """A call that runs. What it asks for only reads, so it is asked again where its connection turns out dead."""

    def __init__(self, client: DirectClient, message: Message) -> None:
        self._client, self._message, self._answered = client, message, False
        self._connection = client.connected(fresh=False)
        try:
            _send(self._connection, message)
        except OSError:
            self._again()

    def result(self) -> Any:
        """Wait for the answer. Raises what the function raised, Overloaded where the server went away."""
        try:
            done, found = _receive(self._connection)
        except TimeoutError as error:
            self.leave()
            raise self._client.away(error) from None
        except (OSError, EOFError):
            self._again()
            try:
                done, found = _receive(self._connection)
            except (OSError, EOFError) as error:
                self.leave()
                raise self._client.away(error) from None
        self._answered = True
        self._client.give_back(self._connection)
        if not done:
            raise found
        return found

    def leave(self) -> None:
        """Not wait for the answer; nothing once it is there."""
        if not self._answered:
            self._connection.close()

    def _again(self) -> None:
        self._connection.close()
        self._connection = self._client.connected(fresh=True)
        try:
            _send(self._connection, self._message)
        except OSError as error:
            self._connection.close()
            raise self._client.away(error) from None


def _message(content: Any) -> Message:
    """The number of parts, their sizes, and they: the pickle, then its arrays."""
    arrays: list[memoryview] = []

    def aside(array: pickle.PickleBuffer) -> bool:
        raw = array.raw()
        if raw.nbytes > SMALL_BYTES:
            arrays.append(raw)
        return raw.nbytes <= SMALL_BYTES

    try:
        pickled = pickle.dumps(content, protocol=5, buffer_callback=aside)
    except Exception as error:  # an answer that cannot travel
        structlog.get_logger().exception("not to be sent")
        arrays, pickled = [], pickle.dumps((False, RuntimeError(f"not to be sent: {error!r}")), protocol=5)
    parts = [memoryview(pickled), *arrays]
    head = struct.pack(f"<I{len(parts)}Q", len(parts), *(part.nbytes for part in parts))
    return [memoryview(head), *parts]


def _send(connection: socket.socket, message: Message) -> None:
    left = [part for part in message if part.nbytes]
    while left:
        sent = connection.sendmsg(left[:512])
        while left and sent >= left[0].nbytes:
            sent -= left.pop(0).nbytes
        if sent:
            left[0] = left[0][sent:]


def _receive(connection: socket.socket) -> Any:
    """Raises EOFError where the other side has closed, Malformed for what is no message."""
    (count,) = _HEAD.unpack(_read(connection, _HEAD.size))
    if not 0 < count <= MAX_BUFFERS:
        raise Malformed("message", f"a message of {count} parts; at most {MAX_BUFFERS} are sent")
    sizes = struct.unpack(f"<{count}Q", _read(connection, 8 * count))
    if sum(sizes) > MAX_MESSAGE_BYTES:
        raise Malformed("message", f"a message of {sum(sizes)} bytes; at most {MAX_MESSAGE_BYTES} are sent")
    pickled, *arrays = (_read(connection, size) for size in sizes)
    return pickle.loads(pickled, buffers=arrays)  # noqa: S301  # only this user can have written it


def _read(connection: socket.socket, size: int) -> bytearray:
    out = bytearray(size)
    view, at = memoryview(out), 0
    while at < size:
        got = connection.recv_into(view[at:])
        if not got:
            raise EOFError("the connection is closed")
        at += got
    return out


@contextmanager
def unix_address(path: Path) -> Iterator[str]:
    """A socket's address is short, however deep its folder lies."""
    if len(os.fsencode(path)) <= _LONGEST_ADDRESS:
        yield str(path)
        return
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)
