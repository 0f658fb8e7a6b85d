"""What waits for one WebSocket client: bounded in bytes; when it is full the oldest goes and is counted.

One task puts and one takes, both on the same event loop. A payload is shared by all outboxes that hold
it, so a slow reader costs references, not copies.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque

import msgspec

ENTRY_BYTES = 120  # what an entry costs beside its payload


class Outbox:
    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._entries: deque[tuple[bytes, str, int]] = deque()
        self._bytes = 0
        self._missed: Counter[str] = Counter()
        self._news = asyncio.Event()
        self.missed_total = 0

    def put(self, payload: bytes, signal: str = "", rows: int = 0) -> None:
        """``rows`` of ``signal`` are what the reader misses if this is dropped."""
        self._entries.append((payload, signal, rows))
        self._bytes += len(payload) + ENTRY_BYTES
        while self._bytes > self._max_bytes:
            old, old_signal, old_rows = self._entries.popleft()
            self._bytes -= len(old) + ENTRY_BYTES
            self.miss(old_signal, old_rows)
        self._news.set()

    def miss(self, signal: str, rows: int) -> None:
        """Count rows that the reader will not get."""
        if rows:
            self._missed[signal] += rows
            self.missed_total += rows
            self._news.set()

    def take(self) -> bytes | None:
        """The next message: first what was missed, because it lies before all that still waits."""
        if self._missed:
            message = {"type": "missed", "rows": dict(self._missed)}
            self._missed.clear()
            return msgspec.json.encode(message)
        if not self._entries:
            self._news.clear()
            return None
        payload, _, _ = self._entries.popleft()
        self._bytes -= len(payload) + ENTRY_BYTES
        return payload

    async def wait(self) -> None:
        await self._news.wait()

    @property
    def waiting_bytes(self) -> int:
        return self._bytes
