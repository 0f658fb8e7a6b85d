from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import textwrap
from typing import Any

import pytest

from chatops.terminal.prompt import Lines
from demo.questions import ask_more
from demo.scenario import QUESTION, LayerFailed
from demo.shop.process import REPOSITORY


class MadeUpLayer:
    def __init__(self) -> None:
        self.asked: list[str] = []

    async def incidents_since(self, since_s: float) -> list[dict[str, Any]]:
        return []

    async def open_incidents(self) -> list[dict[str, Any]]:
        return []

    async def ask(self, question: str) -> dict[str, Any]:
        self.asked.append(question)
        if question == "fail":
            raise LayerFailed("POST /ask: 503 [/x]", passing=True)
        return {"verdict": "nothing_unusual", "summary": f"calm: {question}"}


async def test_it_asks_until_the_input_ends(capsys: pytest.CaptureFixture[str]) -> None:
    reading, writing = os.pipe()
    os.write(writing, b"why?\nfail\n\n")
    os.close(writing)
    layer = MadeUpLayer()
    await ask_more(layer, Lines(reading))
    os.close(reading)
    assert layer.asked == ["why?", "fail", QUESTION]
    said = capsys.readouterr().out
    assert "calm: why?" in said
    assert "503 [/x]" in said


PROGRAM = """
import asyncio
from chatops.terminal.prompt import Lines
from demo.questions import ask_more

async def story():
    try:
        await ask_more(None, Lines(0))
    finally:
        await asyncio.sleep(0)
        print("everything is stopped", flush=True)

try:
    asyncio.run(story())
except KeyboardInterrupt:
    raise SystemExit(130)
"""


def test_ctrl_c_at_the_prompt_ends_at_once_and_in_order() -> None:
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(PROGRAM)],
        stdin=theirs, stdout=theirs, stderr=theirs, cwd=REPOSITORY, start_new_session=True,
    )  # fmt: skip
    os.close(theirs)
    said = b""
    try:
        while QUESTION.encode() not in said:
            said += os.read(ours, 4096)
        os.kill(process.pid, signal.SIGINT)
        assert process.wait(5) == 130
        said += os.read(ours, 4096)
    finally:
        process.kill()
        process.wait()
        os.close(ours)
    assert b"everything is stopped" in said
    assert b"Traceback" not in said
