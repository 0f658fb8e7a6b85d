"""What a caller sees of Ray's errors."""

from __future__ import annotations

from typing import Any

import pytest
from ray.exceptions import (
    ActorUnavailableError,
    GetTimeoutError,
    ObjectLostError,
    RayError,
    TaskCancelledError,
)

from actors.handles import Proxy
from agent.errors import Overloaded


class Broken:
    """An actor each of whose calls ends in an error."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def __getattr__(self, method: str) -> Broken:
        return self

    async def remote(self, *_: Any) -> None:
        raise self._error


@pytest.mark.parametrize(
    "error",
    [
        ActorUnavailableError("away", None),
        GetTimeoutError("slow"),
        ObjectLostError("00", None, ""),
        TaskCancelledError(),
        RayError("new kind"),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_any_error_of_ray_is_come_again_later(error: Exception) -> None:
    proxy = Proxy("stream-0", "test")
    proxy._handle = Broken(error)
    with pytest.raises(Overloaded, match="stream-0 is away"):
        await proxy.advance(1)
