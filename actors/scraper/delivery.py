"""From the scraper to the gateway: a bounded queue of write requests, several sent as one.

Order is kept. What the gateway cannot take now (503, 429, or it is away) waits and is sent again; beyond
``max_bytes`` the oldest goes and is counted. What it refuses for its content is counted and not sent again.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Awaitable, Callable

import aiohttp
import cramjam
import structlog

from agent.secret import Secret

log = structlog.get_logger("scraper")

WRITE_PATH = "/api/v1/write"
BATCH_BYTES = 2 << 20
ATTEMPT_S = 30.0
FIRST_WAIT_S, LONGEST_WAIT_S = 0.1, 5.0
HEADERS = {
    "Content-Type": "application/x-protobuf",
    "Content-Encoding": "snappy",
    "X-Prometheus-Remote-Write-Version": "0.1.0",
}

# Where the gateway serves HTTP now; raises ``ObservabilityError`` or ``OSError`` while it is away.
Address = Callable[[], Awaitable[str]]


class Delivery:
    """``counts``: ``sent_bodies``, ``refused_bodies``, ``dropped_bodies``, ``dropped_samples``, ``retries``."""

    def __init__(self, address: Address, token: Secret, max_bytes: int) -> None:
        self._address, self._max_bytes = address, max_bytes
        self._headers = HEADERS | ({"Authorization": f"Bearer {token.reveal()}"} if token else {})
        self._queue: deque[tuple[bytes, int]] = deque()
        self._url = ""
        self._wake, self._idle = asyncio.Event(), asyncio.Event()
        self._idle.set()
        self.queued_bytes = 0
        self.counts: Counter[str] = Counter()

    def put(self, body: bytes, samples: int) -> None:
        """Queue an uncompressed write request."""
        if not body:
            return
        self._queue.append((body, samples))
        self.queued_bytes += len(body)
        while self.queued_bytes > self._max_bytes and len(self._queue) > 1:
            gone, lost = self._queue.popleft()
            self.queued_bytes -= len(gone)
            self.counts["dropped_bodies"] += 1
            self.counts["dropped_samples"] += lost
        self._idle.clear()
        self._wake.set()

    async def drained(self) -> None:
        """Returns when everything that was queued has been answered or dropped."""
        await self._idle.wait()

    async def run(self) -> None:
        async with aiohttp.ClientSession(headers=self._headers) as session:
            while True:
                await self._wake.wait()
                bodies = self._take()
                if bodies:
                    await self._deliver(session, cramjam.snappy.compress_raw(b"".join(bodies)), len(bodies))
                if not self._queue:
                    self._wake.clear()
                    self._idle.set()

    def _take(self) -> list[bytes]:
        bodies: list[bytes] = []
        size = 0
        while self._queue and (not bodies or size + len(self._queue[0][0]) <= BATCH_BYTES):
            body, _ = self._queue.popleft()
            bodies.append(body)
            size += len(body)
        self.queued_bytes -= size
        return bodies

    async def _deliver(self, session: aiohttp.ClientSession, packed: object, bodies: int) -> None:
        wait_s = FIRST_WAIT_S
        while True:
            retry_s = await self._attempt(session, bytes(packed), bodies)  # type: ignore[call-overload]
            if retry_s is None:
                return
            self.counts["retries"] += 1
            await asyncio.sleep(max(wait_s, retry_s))
            wait_s = min(LONGEST_WAIT_S, 2 * wait_s)

    async def _attempt(self, session: aiohttp.ClientSession, body: bytes, bodies: int) -> float | None:
        """None when it is done, else after how many seconds to try again."""
        try:
            self._url = self._url or await self._address()
            limit = aiohttp.ClientTimeout(total=ATTEMPT_S)
            async with session.post(self._url + WRITE_PATH, data=body, timeout=limit) as response:
                if response.status in (429, 503):
                    return _seconds(response.headers.get("Retry-After", ""))
                if response.status >= 500:
                    return 0.0
                said = await response.text() if response.status >= 300 else ""
                self._answered(response.status, said, bodies)
        except Exception as error:
            log.info("the gateway cannot be reached", reason=f"{type(error).__name__}: {error}")
            self._url = ""  # it may come back at another port
            return 0.0
        return None

    def _answered(self, status: int, said: str, bodies: int) -> None:
        if status < 300:
            self.counts["sent_bodies"] += bodies
            return
        self.counts["refused_bodies"] += bodies
        log.warning("the gateway refused samples", status=status, said=said[:300])


def _seconds(text: str) -> float:
    return min(float(text), LONGEST_WAIT_S) if text.isascii() and text.isdigit() else 0.0
