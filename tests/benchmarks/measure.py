"""What the benchmarks share: processor time and memory of the layer's processes, and progress on stderr."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Collection, Iterator

import psutil


def say(text: str) -> None:
    """Progress goes to stderr, so that the last line of stdout is the result."""
    print(text, file=sys.stderr, flush=True)


def descendants(exclude: Collection[int] = ()) -> Iterator[psutil.Process]:
    """The layer's processes: all that this process started and all that those started (Ray's daemons among
    them, which leave their parent but keep the session), this one not counted."""
    me = psutil.Process()
    family = {process.pid: process for process in me.children(recursive=True)}
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.environ().get(MARK) == str(os.getpid()):
                family[process.pid] = process
    yield from (process for pid, process in family.items() if pid not in exclude and pid != me.pid)


def end_on_sigterm() -> None:
    """SIGTERM unwinds as Ctrl-C does, so that what was started is ended."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))


MARK = "KUBECHAT_BENCH_OWNER"
# Inherited by everything that is started from here, however it detaches.
os.environ[MARK] = str(os.getpid())


def descendants_cpu_s(exclude: Collection[int] = ()) -> float:
    total = 0.0
    for process in descendants(exclude):
        with contextlib.suppress(psutil.Error):
            total += sum(process.cpu_times()[:2])
    return total


def descendants_pss_bytes(exclude: Collection[int] = ()) -> int:
    """Proportional set size: a page shared by n processes counts for one nth in each."""
    total = 0
    for process in descendants(exclude):
        with contextlib.suppress(psutil.Error):
            total += process.memory_full_info().pss
    return total
