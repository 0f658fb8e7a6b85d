"""The shop's cache: a process that speaks the part of memcached's text protocol that the shop needs.

``get <key>``, ``set <key> <flags> <exptime> <bytes>``, ``delete <key>``, ``flush_all``, ``quit``. The
least recently used entry goes first. Like the real one, it sends no telemetry of its own.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict

from demo.shop.child import announce, no_orders, run_until_stopped

ENTRIES = 5_000
VALUE_BYTES = 1 << 20


class Store:
    """``entries`` values at most; ``answer`` is the whole protocol, a line (and a value) at a time."""

    def __init__(self, entries: int = ENTRIES) -> None:
        self._entries = entries
        self._values: OrderedDict[bytes, bytes] = OrderedDict()

    def answer(self, words: list[bytes], value: bytes = b"") -> bytes:
        match words:
            case [b"get", key]:
                return self._get(key)
            case [b"set", key, _, _, _]:
                self._set(key, value)
                return b"STORED\r\n"
            case [b"delete", key]:
                return b"NOT_FOUND\r\n" if self._values.pop(key, None) is None else b"DELETED\r\n"
            case [b"flush_all"]:
                self._values.clear()
                return b"OK\r\n"
            case _:
                return b"ERROR\r\n"

    def _get(self, key: bytes) -> bytes:
        value = self._values.get(key)
        if value is None:
            return b"END\r\n"
        self._values.move_to_end(key)
        return b"VALUE %s 0 %d\r\n%s\r\nEND\r\n" % (key, len(value), value)

    def _set(self, key: bytes, value: bytes) -> None:
        self._values[key] = value
        self._values.move_to_end(key)
        while len(self._values) > self._entries:
            self._values.popitem(last=False)


def value_length(words: list[bytes]) -> int | None:
    """How many bytes of value follow a line: None where none do, -1 where the line is not to be trusted."""
    if words[:1] != [b"set"]:
        return None
    if len(words) == 5 and words[4].isdigit() and int(words[4]) <= VALUE_BYTES:
        return int(words[4])
    return -1


async def _serve_client(store: Store, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while line := await reader.readline():
            words = line.split()
            if words == [b"quit"]:
                return
            length = value_length(words)
            if length == -1:
                writer.write(b"CLIENT_ERROR bad data chunk\r\n")
                return
            value = b"" if length is None else (await reader.readexactly(length + 2))[:-2]
            writer.write(store.answer(words, value))
            await writer.drain()
    except (ConnectionError, asyncio.IncompleteReadError, ValueError):
        return
    finally:
        writer.close()


async def _run(port: int) -> None:
    store = Store()
    server = await asyncio.start_server(
        lambda r, w: _serve_client(store, r, w), "127.0.0.1", port, reuse_port=True
    )
    announce(ready=True, port=port)
    await run_until_stopped(no_orders)
    server.close()


def run_cache(port: int) -> None:
    asyncio.run(_run(port))
