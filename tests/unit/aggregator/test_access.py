from __future__ import annotations

from typing import Any

import aiohttp
import pytest

from agent.secret import Secret


@pytest.fixture
def options() -> dict[str, Any]:
    return {"auth_token": Secret("s3cret"), "ask_timeout_s": 0.5}


@pytest.mark.parametrize(
    ("path", "shown", "status"),
    [
        ("/healthz", "", 200),
        ("/readyz", "", 200),
        ("/api/v1/services", "", 401),
        ("/api/v1/services", "Bearer wrong", 401),
        ("/api/v1/services", "Bearer ümläut", 401),
        ("/api/v1/services", "Bearer s3cret", 200),
        ("/metrics", "", 401),
        ("/api/v1/live", "", 401),
        ("/nothing", "", 401),
    ],
)
async def test_token(http: aiohttp.ClientSession, path: str, shown: str, status: int) -> None:
    async with http.get(path, headers={"Authorization": shown} if shown else {}) as response:
        assert response.status == status
        if status == 401:
            assert response.headers["WWW-Authenticate"] == "Bearer"
