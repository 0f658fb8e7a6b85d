"""OTLP over HTTP as a client that loses nothing: what the gateway cannot take now is sent again when it says so."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

import aiohttp

from chatops.terminal.client import Refused, Unreachable

IN_FLIGHT = 8
TRY_FOR_S = 120.0  # a restarting gateway is back in seconds
PAUSE_S = 1.0
PATHS = {"spans": "/v1/traces", "traces": "/v1/traces", "logs": "/v1/logs", "metrics": "/v1/metrics"}


class Sender:
    """``signal`` is spans, logs or metrics."""

    def __init__(self, session: aiohttp.ClientSession, url: str, tenant: str, token: str = "") -> None:
        self._session, self._url = session, url.rstrip("/")
        self._headers = {"Content-Type": "application/x-protobuf", "X-Scope-OrgID": tenant}
        if token:
            self._headers["Authorization"] = f"Bearer {token}"
        self._slots = asyncio.Semaphore(IN_FLIGHT)
        self.sent_bytes = 0

    async def send(self, requests: Iterable[tuple[str, bytes]]) -> None:
        """Returns when all are acknowledged; they may arrive in any order."""
        try:
            async with asyncio.TaskGroup() as group:
                for signal, body in requests:
                    group.create_task(self._send(PATHS[signal], body))
        except ExceptionGroup as errors:
            raise errors.exceptions[0] from None  # the others are of the same step, and mostly the same

    async def _send(self, path: str, body: bytes) -> None:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + TRY_FOR_S
        async with self._slots:
            while True:
                pause_s, why = await self._once(path, body)
                if pause_s is None:
                    self.sent_bytes += len(body)
                    return
                if loop.time() + pause_s > deadline:
                    raise Unreachable(self._url, f"the gateway takes nothing: {why}")
                await asyncio.sleep(pause_s)

    async def _once(self, path: str, body: bytes) -> tuple[float | None, str]:
        """How long to wait before the next try, and why; ``None`` where it was taken."""
        try:
            async with self._session.post(self._url + path, data=body, headers=self._headers) as response:
                if response.status < 300:
                    return None, ""
                said = (await response.read())[:500].decode("utf-8", "replace")
                if response.status in (429, 502, 503, 504):
                    return _pause_s(response.headers.get("Retry-After")), said
                raise Refused(
                    response.status, "otlp", f"the gateway refuses {path} with {response.status}: {said}"
                )
        except (aiohttp.ClientError, TimeoutError) as error:
            return PAUSE_S, repr(error)


def _pause_s(retry_after: str | None) -> float:
    try:
        return max(0.05, float(retry_after or PAUSE_S))
    except ValueError:  # a date
        return PAUSE_S
