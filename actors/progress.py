"""How far an actor has come: starting, ready or failed, and since when."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator, Mapping

import structlog

from actors.ports import Health
from agent.errors import ObservabilityError


class Progress:
    """The state that every actor has beside its work."""

    def __init__(self, name: str, kind: str) -> None:
        self.name, self.kind = name, kind
        self.state, self.detail = "starting", ""
        self.listens: dict[str, str] = {}
        self._started_s = time.time()
        self._lock = asyncio.Lock()

    @contextlib.asynccontextmanager
    async def starting(self) -> AsyncIterator[bool]:
        """Guards the one start: yields whether it is still to be done. An error ends the block, makes the
        state failed with the reason in ``detail``, and goes no further: the caller answers with its health,
        and the next call tries again. A cancelled start stays starting."""
        async with self._lock:
            try:
                yield self.state != "ready"
            except Exception as error:
                self.state, self.detail = "failed", reason(error)
                structlog.get_logger().error("start failed", actor=self.name, exc_info=error)
            else:
                self.state, self.detail = "ready", ""

    def health(self, figures: Mapping[str, float], refused: Mapping[str, int]) -> Health:
        return Health(
            name=self.name,
            kind=self.kind,
            pid=os.getpid(),
            incarnation=0,
            state=self.state,
            detail=self.detail,
            started_s=self._started_s,
            figures=dict(figures),
            refused=dict(refused),
            listens=dict(self.listens),
        )


def reason(error: Exception) -> str:
    """What a person is to read of an error: those raised on purpose speak for themselves."""
    return str(error) if isinstance(error, ObservabilityError) else f"{type(error).__name__}: {error}"
