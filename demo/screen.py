"""The demo's screen: what is done is a line, what goes on now is the last line and moves."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.status import Status
from rich.text import Text

from demo import views

DATA_DIR = Path(".demo")
LINE_EVERY_S = 15.0  # of progress, where it goes to a file and not to a terminal

console = Console()


class Progress:
    """The line that says what is going on now."""

    def __init__(self, status: Status) -> None:
        self._status = status
        self._printed_s = 0.0

    def show(self, text: str) -> None:
        self._status.update(Text(text))
        now_s = time.monotonic()
        if not console.is_terminal and now_s - self._printed_s >= LINE_EVERY_S:
            self._printed_s = now_s
            console.print(Text(f"    {text}", style="dim"))


@contextmanager
def progress(text: str) -> Iterator[Progress]:
    with console.status("") as status:
        line = Progress(status)
        line.show(text)
        yield line


def say(what: str, detail: str) -> None:
    """A line for what is done; the demo's folder is named as seen from here, which is shorter."""
    console.print(views.step(what, detail.replace(str(DATA_DIR.resolve()), str(DATA_DIR))))
