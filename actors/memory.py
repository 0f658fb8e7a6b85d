"""What becomes of memory that is given back, and how much of it the garbage collector looks through."""

from __future__ import annotations

import ctypes
import gc
import sys

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8  # of mallopt(3)
KEPT_BYTES = 128 << 20
LARGEST_BYTES = 32 << 20  # the most that glibc allows


def keep_freed_memory() -> None:
    """Keep some of it for the next query, whose arrays would else be new pages, each of which the kernel must
    find, clear and map: a third of a query's time. Only glibc is told; others do as they do."""
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return
    mallopt(_TRIM_THRESHOLD, KEPT_BYTES)
    mallopt(_MMAP_THRESHOLD, LARGEST_BYTES)
    mallopt(_ARENA_MAX, 2)


def leave_to_stay() -> None:
    """Tell the garbage collector that what is there now stays: modules, kernels and their types are most of the
    objects of a process that has just started, and looking through them holds up a query for a tenth of a second."""
    gc.collect()
    gc.freeze()
