"""How far an actor has come: starting, ready or failed, and since when."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator, Mapping

import structlog

from actors.ports import Health


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
        """Guards the one start: yields whether it is still to be done; an error makes the state failed,
        and the next call tries again."""
        async with self._lock:
            try:
                yield self.state != "ready"
            except Exception as error:
                self.state, self.detail = "failed", f"{type(error).__name__}: {error}"
                structlog.get_logger().error("start failed", actor=self.name, error=self.detail)
                raise
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
