"""One fault from healthy to answered: what the demo shows and the benchmark measures.

The layer is met at its front door alone: telemetry by OTLP from the shop's own processes, incidents and
answers from the REST API, as any user of it would.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import aiohttp

from agent.errors import ObservabilityError
from demo.shop.faults import fault
from demo.shop.view import Seen

QUESTION = "why is latency up?"
POLL_S = 0.5
# A person reads the page before asking; the evidence of a fault that has just begun grows meanwhile.
READ_S = 10.0
ASK_TRIES = 3
# An actor that is restarted is back within seconds; the API says 503 meanwhile.
RETRY_FOR_S = 10.0
RETRY_PAUSE_S = 0.5
TOO_MANY, SERVER_ERROR = 429, 500


class LayerFailed(ObservabilityError):
    """The layer's API did not answer, or answered with an error; ``passing`` where it may be better soon."""

    def __init__(self, message: str, *, passing: bool) -> None:
        super().__init__(message)
        self.passing = passing


class Breakable(Protocol):
    """The part of the shop that a scenario needs."""

    async def inject(self, name: str) -> None: ...
    async def heal(self, name: str) -> None: ...
    def seen(self, last_s: float) -> Seen: ...


class Api(Protocol):
    """The part of the layer that a scenario needs."""

    async def incidents_since(self, since_s: float) -> list[dict[str, Any]]: ...
    async def open_incidents(self) -> list[dict[str, Any]]: ...
    async def ask(self, question: str) -> dict[str, Any]: ...


@dataclass(frozen=True, slots=True)
class Outcome:
    """``detected_s`` counts from the injection to the incident; None: none was raised. ``right``: see
    ``is_right``. ``false_alarms`` are the incidents that were raised before anything was broken."""

    fault: str
    detected_s: float | None
    incident: dict[str, Any] | None
    answer: dict[str, Any]
    right: bool
    false_alarms: tuple[dict[str, Any], ...] = ()


def is_right(name: str, *, raised: bool, false_alarm: bool, answer: Mapping[str, Any]) -> bool:
    """That an incident was raised and the first cause named is the true one; for the fault ``none``, that
    nothing was raised at any time and nothing is named. A false alarm decides there alone."""
    if name == "none":
        return not raised and not false_alarm and answer["verdict"] == "nothing_unusual"
    causes = answer.get("causes") or []
    return raised and bool(causes) and fault(name).caused_by(causes[0]["service"])


OnTick = Callable[[float], Awaitable[None]]


class LayerClient:
    """The REST calls of a scenario. What fails for the moment is tried again for ``RETRY_FOR_S``; then, and
    where trying again is of no use, they raise ``LayerFailed``."""

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
        deadline = time.monotonic() + RETRY_FOR_S
        while True:
            try:
                return await self._once(self._http, method, path, body)
            except LayerFailed as failed:
                if not failed.passing or time.monotonic() >= deadline:
                    raise
            await asyncio.sleep(RETRY_PAUSE_S)

    async def _once(
        self, http: aiohttp.ClientSession, method: str, path: str, body: dict[str, Any] | None
    ) -> dict[str, Any]:
        try:
            async with http.request(method, self._url + path, json=body) as response:
                said = await response.text(errors="replace")
                if response.status >= 400:
                    passing = response.status == TOO_MANY or response.status >= SERVER_ERROR
                    raise LayerFailed(f"{method} {path}: {response.status} {said[:500]}", passing=passing)
                reply: dict[str, Any] = await response.json()
                return reply
        except (aiohttp.ClientError, TimeoutError) as error:
            raise LayerFailed(f"{method} {path}: no answer ({error!r})", passing=True) from None


async def wait(for_s: float, on_tick: OnTick) -> None:
    """Let time pass, telling how much."""
    began = time.monotonic()
    while (passed := time.monotonic() - began) < for_s:
        await on_tick(passed)
        await asyncio.sleep(POLL_S)


async def watch(
    layer: Api, for_s: float, since_s: float, on_tick: OnTick, open_before: Collection[str] | None = None
) -> dict[str, Any] | None:
    """The first incident raised at or after ``since_s``; None when there is none within ``for_s``. With the ids of
    those that were ``open_before``, one that was over and has come back is one as well."""
    began = time.monotonic()
    while (passed := time.monotonic() - began) < for_s:
        await on_tick(passed)
        found = await layer.incidents_since(since_s)
        if not found and open_before is not None:
            found = [one for one in await layer.open_incidents() if one["id"] not in open_before]
        if found:
            return found[-1]
        await asyncio.sleep(POLL_S)
    return None


async def run_fault(
    name: str,
    shop: Breakable,
    layer: Api,
    *,
    limit_s: float,
    on_tick: OnTick,
    on_incident: Callable[[dict[str, Any], float], None],
    healthy_since_s: float | None = None,
) -> Outcome:
    """Break something, wait for the incident, read it, ask why. ``healthy_since_s`` is when the healthy while
    before it began (None: it is not looked at); what was raised in it is a false alarm."""
    false_alarms = await layer.incidents_since(healthy_since_s) if healthy_since_s is not None else []
    open_before = {one["id"] for one in await layer.open_incidents()}
    injected_s = time.time()
    await shop.inject(name)
    # An incident that began in the healthy while may be raised only now; where nothing is broken it counts.
    since_s = injected_s
    if name == "none" and not false_alarms and healthy_since_s is not None:
        since_s = healthy_since_s
    incident = await watch(layer, limit_s, since_s, on_tick, open_before)
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
    right = is_right(name, raised=incident is not None, false_alarm=bool(false_alarms), answer=answer)
    return Outcome(name, detected_s, incident, answer, right, tuple(false_alarms))
