"""Waiting for the shop to do something, and looking at which of its processes there are."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path

import psutil

Condition = Callable[[], bool]


async def until(condition: Condition, within_s: float) -> None:
    """Return when the condition holds; fail when it does not in time."""
    deadline_s = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline_s, f"not within {within_s} s"
        await asyncio.sleep(0.05)


async def until_true(condition: Callable[[], Awaitable[bool]], within_s: float) -> None:
    deadline_s = time.monotonic() + within_s
    while not await condition():
        assert time.monotonic() < deadline_s, f"not within {within_s} s"
        await asyncio.sleep(0.05)


def alive(processes: Iterable[psutil.Process]) -> list[psutil.Process]:
    """Those that have not ended; what has ended and waits for its parent to take note has."""
    return [process for process in processes if _runs(process)]


def postgres_in(data_dir: Path) -> list[psutil.Process]:
    """PostgreSQL's processes that work in the shop's folder; they are nobody's children."""
    cluster = str(data_dir.resolve() / "database" / "cluster")
    return [process for process in psutil.process_iter() if _works_in(process) == cluster]


def _runs(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _works_in(process: psutil.Process) -> str:
    try:
        return process.cwd()
    except psutil.Error:
        return ""
