"""The catalogue's side of the cache: one connection, and no long grief where it is away.

There is no auto-instrumentation for a client of this size, so the spans are made here, as a library
would make them.
"""

from __future__ import annotations

import asyncio
import time

from opentelemetry import trace
from opentelemetry.instrumentation.utils import is_instrumentation_enabled
from opentelemetry.trace import INVALID_SPAN, Span, SpanKind, Status, StatusCode, use_span

ANSWER_WITHIN_S = 0.5
RETRY_AFTER_S = 2.0


class CacheAway(Exception):
    """The cache does not answer. ``first`` says that this is news: that a new attempt was made just now."""

    def __init__(self, message: str, first: bool) -> None:
        super().__init__(message)
        self.first = first


class CacheClient:
    """``address`` is host:port. After a failure nothing is tried for ``RETRY_AFTER_S``."""

    def __init__(self, address: str) -> None:
        self._host, _, port = address.rpartition(":")
        self._port = int(port)
        self._lock = asyncio.Lock()
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self._retry_at_s = 0.0
        self._tracer = trace.get_tracer("shop.cache")

    async def get(self, key: str) -> bytes | None:
        return await self._ask("get", b"get %s\r\n" % key.encode())

    async def set(self, key: str, value: bytes) -> None:
        await self._ask("set", b"set %s 0 0 %d\r\n%s\r\n" % (key.encode(), len(value), value))

    async def close(self) -> None:
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None

    async def _ask(self, operation: str, request: bytes) -> bytes | None:
        if time.monotonic() < self._retry_at_s:
            raise CacheAway(f"cache {self._host}:{self._port} is away", first=False)
        span = self._span(operation)
        with use_span(span, end_on_exit=True, record_exception=False, set_status_on_exception=False):
            try:
                async with self._lock, asyncio.timeout(ANSWER_WITHIN_S):
                    answer = await self._exchange(request)
            except (OSError, EOFError, TimeoutError) as error:
                raise await self._away(span, error) from error
        return answer

    async def _exchange(self, request: bytes) -> bytes | None:
        if self._streams is None:
            self._streams = await asyncio.open_connection("127.0.0.1", self._port)
        reader, writer = self._streams
        writer.write(request)
        line = await reader.readline()
        if not line:
            raise EOFError("connection closed")
        if not line.startswith(b"VALUE "):
            return None
        value = await reader.readexactly(int(line.split()[3]) + 2)
        await reader.readline()
        return value[:-2]

    async def _away(self, span: Span, error: Exception) -> CacheAway:
        self._retry_at_s = time.monotonic() + RETRY_AFTER_S
        await self.close()
        span.record_exception(error)
        span.set_status(Status(StatusCode.ERROR, type(error).__name__))
        return CacheAway(f"cache {self._host}:{self._port} unreachable: {type(error).__name__}", first=True)

    def _span(self, operation: str) -> Span:
        if not is_instrumentation_enabled():
            return INVALID_SPAN
        attributes: dict[str, str | int] = {
            "db.system.name": "memcached",
            "db.operation.name": operation,
            "server.address": self._host,
            "server.port": self._port,
        }
        return self._tracer.start_span(
            f"{operation} {self._host}", kind=SpanKind.CLIENT, attributes=attributes
        )
