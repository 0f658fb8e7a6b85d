"""Memory that grows in place: address space is reserved at once, pages come when they are first written.

Growing by copying would double the memory of a large window for a moment and stall the appends meanwhile.
An anonymous mapping without reserve costs nothing until it is touched, so one is made that a window of this
machine never outgrows. Large pages spare most misses of the address cache when a million series lie in it.
"""

from __future__ import annotations

import mmap
import os

import numpy as np

from agent.telemetry.frames import I64

NO_RESERVE = 0x4000  # MAP_NORESERVE of Linux; other systems commit lazily without it
SMALLEST_BYTES = 64 << 20
# The beginning stays in small pages: in a window of few series large ones would be mostly empty.
LARGE_PAGES_FROM_BYTES = 4 << 20


def physical_bytes() -> int:
    """The main memory of the machine; no window can hold more."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def reserve(nbytes: int) -> I64:
    """Zeros, as 64-bit words, 64-byte aligned. Where the system refuses so much address space, the half is
    tried, and so on. Raises OSError when even little is refused."""
    while True:
        try:
            pages = mmap.mmap(-1, nbytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | NO_RESERVE)
        except OSError:
            if nbytes <= SMALLEST_BYTES:
                raise
            nbytes //= 2
            continue
        if nbytes > LARGE_PAGES_FROM_BYTES and hasattr(mmap, "MADV_HUGEPAGE"):
            pages.madvise(mmap.MADV_HUGEPAGE, LARGE_PAGES_FROM_BYTES, nbytes - LARGE_PAGES_FROM_BYTES)
        return np.frombuffer(pages, np.int64)
