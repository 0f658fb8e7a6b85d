from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys

from tests.unit.chatops.terminal.conftest import Served

CTRL_C, CTRL_D = b"\x03", b"\x04"


def talk(url: str, *typed: bytes) -> tuple[int, str]:
    """What ``kubechat-obs ask`` says in a terminal, each line typed at a prompt; the exit code."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", "from chatops.terminal.main import main; main()", "ask", "--url", url],
        stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
    )  # fmt: skip
    os.close(theirs)
    said, waiting = b"", list(typed)
    try:
        while True:
            try:
                said += os.read(ours, 4096)
            except OSError:  # the other side is closed
                break
            if waiting and said.count(b"why? >") == len(typed) - len(waiting) + 1:
                what = waiting.pop(0)
                process.send_signal(signal.SIGINT) if what == CTRL_C else os.write(ours, what)
        return process.wait(10), said.decode()
    finally:
        process.kill()
        process.wait()
        os.close(ours)


def test_question_after_question_until_ctrl_d(layer: Served) -> None:
    code, said = talk(layer.url, b"why is it slow?\n", CTRL_D)
    assert (code, "cart/cart-1" in said) == (0, True)


def test_ctrl_c_ends_it_at_once(layer: Served) -> None:
    code, said = talk(layer.url, CTRL_C)
    assert (code, "Traceback" in said) == (130, False)
