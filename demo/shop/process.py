"""The supervisor's end of one child process: start it, hear it, tell it, end it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from demo.shop.child import LINE_LIMIT_BYTES, SUPERVISED

REPOSITORY = Path(__file__).resolve().parents[2]
READY_WITHIN_S = 30.0

Facts = Mapping[str, Any]


class ProcessFailed(Exception):
    """A process of the shop ended, or said nothing, before it was ready; its log says why."""


class ChildProcess:
    """``python -m demo.shop <arguments>``; its standard error goes to ``log``."""

    def __init__(
        self, name: str, arguments: Sequence[str], environment: Mapping[str, str], log: Path
    ) -> None:
        self.name, self.log = name, log
        self._arguments, self._environment = tuple(arguments), dict(environment)
        self._process: asyncio.subprocess.Process | None = None
        self._listening: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int:
        return self._started.pid

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.returncode is None

    @property
    def _started(self) -> asyncio.subprocess.Process:
        if self._process is None:
            raise ProcessFailed(f"{self.name} was never started")
        return self._process

    async def start(self, on_facts: Callable[[Facts], None] | None = None) -> Facts:
        """What it announced when it was ready; ``on_facts`` gets whatever it says later."""
        with self.log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "demo.shop", *self._arguments,
                stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=log,
                cwd=REPOSITORY, env={**os.environ, **self._environment, SUPERVISED: "1"}, limit=LINE_LIMIT_BYTES,
                start_new_session=True,  # Ctrl-C in a terminal is for the supervisor alone
            )  # fmt: skip
        try:
            facts = await asyncio.wait_for(self._next_facts(), READY_WITHIN_S)
        except BaseException as error:
            # Gently: the database's keeper has something to put away.
            if self.running:
                self._started.terminate()
            if isinstance(error, TimeoutError):
                raise ProcessFailed(f"{self.name} was not ready within {READY_WITHIN_S:.0f} s") from None
            raise
        if facts is None:
            await self._started.wait()
            raise ProcessFailed(f"{self.name} ended before it was ready; {self._last_words()}")
        self._listening = asyncio.create_task(self._listen(on_facts))
        return facts

    def tell(self, **order: object) -> None:
        """Send an order; one to a process that has just ended is lost with it."""
        stdin = self._started.stdin
        if stdin is not None and not stdin.is_closing():
            stdin.write(json.dumps(order).encode() + b"\n")

    async def ended(self) -> int:
        """Wait for its end; the exit code, negative for a signal."""
        return await self._started.wait()

    async def stop(self, grace_s: float) -> None:
        """Ask it to end, and end it when it does not within ``grace_s``."""
        if self.running:
            self._started.send_signal(signal.SIGTERM)
            try:
                await asyncio.wait_for(self.ended(), grace_s)
            except TimeoutError:
                self.kill()
                await self.ended()
        if self._listening is not None:
            await self._listening

    def kill(self) -> None:
        if self.running:
            self._started.kill()

    async def _next_facts(self) -> Facts | None:
        stdout = self._started.stdout
        line = await stdout.readline() if stdout is not None else b""
        facts: Facts | None = json.loads(line) if line else None
        return facts

    async def _listen(self, on_facts: Callable[[Facts], None] | None) -> None:
        while (facts := await self._next_facts()) is not None:
            if on_facts is not None:
                on_facts(facts)

    def _last_words(self) -> str:
        text = self.log.read_text(encoding="utf-8", errors="replace").strip()
        return f"its log ends with: {text.splitlines()[-1]}" if text else "its log is empty"
