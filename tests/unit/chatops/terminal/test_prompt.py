from __future__ import annotations

import asyncio
import os
import pty
from collections.abc import Iterator
from pathlib import Path

import pytest

from chatops.terminal.prompt import Lines


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    reading, writing = os.pipe()
    yield reading, writing
    for descriptor in (reading, writing):
        try:
            os.close(descriptor)
        except OSError:
            continue


async def all_of(lines: Lines) -> list[str]:
    found = []
    while (line := await lines.next()) is not None:
        found.append(line)
    return found


async def test_lines_of_a_pipe(pipe: tuple[int, int]) -> None:
    os.write(pipe[1], "one\ntwo ü\r\n\nrest".encode())
    os.close(pipe[1])
    assert await all_of(Lines(pipe[0])) == ["one", "two ü", "", "rest"]


async def test_a_line_may_come_in_parts(pipe: tuple[int, int]) -> None:
    waiting = asyncio.create_task(Lines(pipe[0]).next())
    for part in (b"why ", b"now?\n"):
        os.write(pipe[1], part)
        await asyncio.sleep(0)
    assert await waiting == "why now?"


async def test_a_wait_can_be_cancelled_and_nothing_is_lost(pipe: tuple[int, int]) -> None:
    lines = Lines(pipe[0])
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await lines.next()
    os.write(pipe[1], b"later\n")
    assert await lines.next() == "later"


async def test_a_file_ends(tmp_path: Path) -> None:
    (tmp_path / "questions").write_text("why?\n")
    descriptor = os.open(tmp_path / "questions", os.O_RDONLY)
    assert await all_of(Lines(descriptor)) == ["why?"]
    os.close(descriptor)
    assert await Lines(descriptor).next() is None


async def test_a_terminal_that_goes_away_ends() -> None:
    ours, theirs = pty.openpty()
    lines = Lines(theirs)
    os.write(ours, b"why?\n")
    assert await lines.next() == "why?"
    os.close(ours)
    assert await lines.next() is None
    os.close(theirs)
