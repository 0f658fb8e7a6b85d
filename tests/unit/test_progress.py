"""How far an actor has come."""

from __future__ import annotations

import asyncio

import pytest

from actors.progress import Progress
from agent.errors import SettingsError


async def start(progress: Progress, error: BaseException | None = None) -> str:
    async with progress.starting():
        if error is not None:
            raise error
    return progress.state


async def test_a_start_that_fails_answers_with_the_reason_and_may_be_tried_again() -> None:
    progress = Progress("gateway-0", "gateway")
    assert await start(progress, OSError("port taken")) == "failed"
    assert progress.health({}, {}).detail == "OSError: port taken"
    assert await start(progress) == "ready"
    assert progress.health({}, {}).detail == ""


async def test_an_error_raised_on_purpose_speaks_for_itself() -> None:
    progress = Progress("gateway-0", "gateway")
    await start(progress, SettingsError("general.data_dir", "/data", "a folder of its own"))
    assert progress.detail.startswith("setting general.data_dir")


async def test_a_cancelled_start_is_not_a_failed_one() -> None:
    progress = Progress("gateway-0", "gateway")
    with pytest.raises(asyncio.CancelledError):
        await start(progress, asyncio.CancelledError())
    assert progress.state == "starting"
