"""What the benchmarks share: processor time and memory of the layer's processes, and progress on stderr."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

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


def cpu_s_of(processes: Iterable[psutil.Process]) -> float:
    total = 0.0
    for process in processes:
        with contextlib.suppress(psutil.Error):
            total += sum(process.cpu_times()[:2])
    return total


def descendants_cpu_s(exclude: Collection[int] = ()) -> float:
    return cpu_s_of(descendants(exclude))


@dataclass(frozen=True, slots=True)
class Memory:
    """Proportional set size: a page shared by n processes counts for one nth in each. ``anon_bytes`` is the part that no
    file holds; the rest is pages of mapped files, which the kernel may take back, and shared memory."""

    pss_bytes: int = 0
    anon_bytes: int = 0

    def __add__(self, other: Memory) -> Memory:
        return Memory(self.pss_bytes + other.pss_bytes, self.anon_bytes + other.anon_bytes)


def memory_in(rollup: str) -> Memory:
    """What ``/proc/PID/smaps_rollup`` says."""
    found = {line.split(":")[0]: line.split()[1] for line in rollup.splitlines()[1:]}
    return Memory(1024 * int(found["Pss"]), 1024 * int(found["Pss_Anon"]))


def memory_by_name(processes: Iterable[psutil.Process]) -> dict[str, Memory]:
    """Together for those that have a name in common; an actor has that of its class."""
    found: dict[str, Memory] = {}
    for process in processes:
        with contextlib.suppress(psutil.Error, OSError):
            command = "".join(process.cmdline()[:1])
            # Ray adds the method that runs just now.
            name = command.partition(".")[0] if command.startswith("ray::") else process.name()
            taken = memory_in(Path(f"/proc/{process.pid}/smaps_rollup").read_text())
            found[name] = found.get(name, Memory()) + taken
    return found


def descendants_pss_bytes(exclude: Collection[int] = ()) -> int:
    return sum(memory.pss_bytes for memory in memory_by_name(descendants(exclude)).values())
