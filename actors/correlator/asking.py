"""What the correlator asks of the gateway and the streams, all of them at once.

An answer stands on all streams: a part must not look like the whole. So one that is away is waited for a
few seconds, in which a restarted actor comes back, and then the question is refused. Only how far event time
has come is also told by those that are there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import structlog

from actors.correlator.thin import thinned
from agent.detection.red import RedBins, concat_bins
from agent.errors import NotFound, ObservabilityError, Overloaded
from agent.telemetry.frames import Telemetry, concat

MAX_SPANS = 200_000  # of one stretch; beyond it whole traces are left out, evenly
PATIENCE_S = 5.0
RETRY_S = 0.25

T = TypeVar("T")

log = structlog.get_logger("correlator")


@dataclass(frozen=True, slots=True)
class Marks:
    """How far each tenant's event time has come, in ns, and the streams that could not say."""

    of_tenant: dict[str, int]
    away: tuple[int, ...] = ()


class Asking:
    def __init__(self, gateway: Any, streams: Sequence[Any], patience_s: float = PATIENCE_S) -> None:
        self._gateway, self._streams, self._patience_s = gateway, streams, patience_s

    async def positions(self) -> list[int]:
        found: list[int] = await self._patiently(self._gateway.positions)
        return found

    async def mark(self, tenant: str, positions: Sequence[int]) -> int:
        """Raises ``NotFound`` for a tenant that sent nothing, ``Overloaded`` while a stream is away."""
        mark_ns = (await self._patiently(lambda: self._all_marks(positions))).get(tenant, 0)
        if not mark_ns:
            raise NotFound(
                f"tenant {tenant!r} has sent nothing yet: point an OTLP exporter at the gateway first"
            )
        return mark_ns

    async def marks(self, positions: Sequence[int]) -> Marks:
        """At once, of the streams that are there."""
        found = await asyncio.gather(*self._watermarks(positions), return_exceptions=True)
        for part in found:
            if isinstance(part, BaseException) and not isinstance(part, ObservabilityError):
                raise part
        away = tuple(i for i, part in enumerate(found) if isinstance(part, BaseException))
        return Marks(_latest([part for part in found if isinstance(part, dict)]), away)

    async def telemetry(
        self, tenant: str, start_ns: int, end_ns: int, positions: Sequence[int]
    ) -> Telemetry | None:
        """All that the streams hold of ``[start_ns, end_ns)``; None where that is nothing. Raises
        ``Overloaded`` while a stream is away."""

        async def ask() -> list[Telemetry | None]:
            parts: list[Telemetry | None] = await asyncio.gather(
                *(
                    stream.telemetry(tenant, start_ns, end_ns, position)
                    for stream, position in zip(self._streams, positions, strict=True)
                )
            )
            return parts

        held = [part for part in await self._patiently(ask) if part is not None]
        return await asyncio.to_thread(_joined, tenant, held) if held else None

    async def mesh(self, tenant: str, start_ns: int, end_ns: int) -> RedBins:
        """What proxies tell of services in ``[start_ns, end_ns)``. Raises ``Overloaded`` while a stream is away."""

        async def ask() -> list[list[RedBins]]:
            asked = (stream.mesh(tenant, None, start_ns, end_ns) for stream in self._streams)
            return list(await asyncio.gather(*asked))

        return concat_bins([bins for part in await self._patiently(ask) for bins in part])

    async def _all_marks(self, positions: Sequence[int]) -> dict[str, int]:
        return _latest(await asyncio.gather(*self._watermarks(positions)))

    def _watermarks(self, positions: Sequence[int]) -> list[Awaitable[dict[str, int]]]:
        return [
            stream.watermarks(position) for stream, position in zip(self._streams, positions, strict=True)
        ]

    async def _patiently(self, ask: Callable[[], Awaitable[T]]) -> T:
        loop = asyncio.get_running_loop()
        until_s = loop.time() + self._patience_s
        while True:
            try:
                return await ask()
            except Overloaded as error:
                if loop.time() + RETRY_S >= until_s:
                    raise Overloaded(
                        f"a part of the telemetry cannot be read now, and the rest is no answer: {error}", 2.0
                    ) from None
            await asyncio.sleep(RETRY_S)


def _latest(parts: Sequence[dict[str, int]]) -> dict[str, int]:
    marks: dict[str, int] = {}
    for part in parts:
        for tenant, mark_ns in part.items():
            marks[tenant] = max(marks.get(tenant, 0), mark_ns)
    return marks


def _joined(tenant: str, held: Sequence[Telemetry]) -> Telemetry:
    whole = concat(held)
    less = thinned(whole, MAX_SPANS)
    if less is not whole:
        log.info(
            "a stretch has too many spans, whole traces are left out",
            tenant=tenant,
            spans=len(whole.spans),
            kept=len(less.spans),
        )
    return less
