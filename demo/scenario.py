"""One fault from healthy to answered: what the demo shows and the benchmark measures.

The layer is met at its front door alone: telemetry by OTLP from the shop's own processes, incidents and
answers from the REST API, as any user of it would.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Protocol

import aiohttp

from demo.shop.faults import fault
from demo.shop.view import Seen

QUESTION = "why is latency up?"
POLL_S = 0.5
# A person reads the page before asking; the evidence of a fault that has just begun grows meanwhile.
READ_S = 10.0
ASK_TRIES = 3


class Breakable(Protocol):
    """The part of the shop that a scenario needs."""

    async def inject(self, name: str) -> None: ...
    async def heal(self, name: str) -> None: ...
    def seen(self, last_s: float) -> Seen: ...


@dataclass(frozen=True, slots=True)
class Outcome:
    """``detected_s`` counts from the injection to the incident; None: none was raised. ``right`` says that
    the first cause named is the true one (for the fault ``none``: that nothing was raised or named)."""

    fault: str
    detected_s: float | None
    incident: dict[str, Any] | None
    answer: dict[str, Any]
    right: bool


OnTick = Callable[[float], Awaitable[None]]


class LayerClient:
    """The REST calls of a scenario."""

    def __init__(self, url: str) -> None:
        self._url = url.rstrip("/")
        self._http: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> LayerClient:
        self._http = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60))
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._http:
            await self._http.close()

    async def open_incidents(self) -> list[dict[str, Any]]:
        reply = await self._json("GET", "/api/v1/incidents?status=open")
        return list(reply["incidents"])

    async def incidents_since(self, since_s: float) -> list[dict[str, Any]]:
        reply = await self._json("GET", f"/api/v1/incidents?since={since_s}")
        return list(reply["incidents"])

    async def ask(self, question: str) -> dict[str, Any]:
        return await self._json("POST", "/api/v1/ask", {"question": question})

    async def status(self) -> dict[str, Any]:
        return await self._json("GET", "/api/v1/status")

    async def _json(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        if self._http is None:
            raise RuntimeError("use LayerClient inside `async with`")
        async with self._http.request(method, self._url + path, json=body) as response:
            reply: dict[str, Any] = await response.json()
            if response.status >= 400:
                raise RuntimeError(f"{method} {path}: {response.status} {reply}")
            return reply


async def wait(for_s: float, on_tick: OnTick) -> None:
    """Let time pass, telling how much."""
    began = time.monotonic()
    while (passed := time.monotonic() - began) < for_s:
        await on_tick(passed)
        await asyncio.sleep(POLL_S)


async def watch(layer: LayerClient, for_s: float, since_s: float, on_tick: OnTick) -> dict[str, Any] | None:
    """The first incident raised at or after ``since_s``; None when there is none within ``for_s``."""
    began = time.monotonic()
    while (passed := time.monotonic() - began) < for_s:
        await on_tick(passed)
        found = await layer.incidents_since(since_s)
        if found:
            return found[-1]
        await asyncio.sleep(POLL_S)
    return None


async def run_fault(
    name: str,
    shop: Breakable,
    layer: LayerClient,
    *,
    limit_s: float,
    on_tick: OnTick,
    on_incident: Callable[[dict[str, Any], float], None],
) -> Outcome:
    """Break something, wait for the incident, read it, ask why."""
    what = fault(name)
    injected_s = time.time()
    await shop.inject(name)
    incident = await watch(layer, limit_s, injected_s, on_tick)
    detected_s = time.time() - injected_s if incident else None
    if incident and detected_s is not None:
        on_incident(incident, detected_s)
        await asyncio.sleep(READ_S)
    answer = await layer.ask(QUESTION)
    for _ in range(ASK_TRIES - 1):
        if answer["verdict"] == "cause" or incident is None:
            break
        await asyncio.sleep(READ_S)
        answer = await layer.ask(QUESTION)
    causes = answer.get("causes") or []
    if name == "none":
        right = incident is None and answer["verdict"] == "nothing_unusual"
    else:
        right = incident is not None and bool(causes) and what.caused_by(causes[0]["service"])
    return Outcome(name, detected_s, incident, answer, right)
