"""The write-ahead log of one stream: one writer (the gateway of the node), one reader (the stream).

The log is transport, durability and recovery in one. It is a sequence of files ``<position>.wal``, each
``segment_bytes`` long from the start (zeros, not yet on disk), so that the reader maps a file once and sees
what is appended. A position is absolute: the base of the file plus the offset in it; it only grows.

How far it is durable stands in a page that both map, so a reader knows without being told, as soon as ``sync`` has
returned.

Guarantees: what ``sync`` returned for survives a crash of process and machine. After a crash the writer cuts
off a torn end; whole records that were appended but not yet acknowledged may stay. The reader reads only up to
a position that it was told, or, at its start, up to the last whole record.
"""

from __future__ import annotations

import contextlib
import fcntl
import mmap
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from agent.errors import CorruptLog, NotFound, SettingsError
from agent.telemetry.frames import I64
from agent.windows import record
from agent.windows.record import Record

SUFFIX = ".wal"
LOCK = "writer.lock"
DURABLE = "durable"  # a position in eight bytes; void while no writer has opened the folder
IOV_MAX = 1000
RELEASE_BYTES = 8 << 20


def segments(folder: Path) -> list[tuple[int, Path]]:
    """``(base position, file)`` of every segment, in order."""
    # Each pass over the log asks a few times: a glob takes longer.
    found = (path for path in folder.iterdir() if path.suffix == SUFFIX and path.stem.isdigit())
    return sorted((int(path.stem), path) for path in found)


def has_writer(folder: Path) -> bool:
    """Whether a writer holds the folder, in this process or another."""
    try:
        os.close(_locked(folder))
    except SettingsError:
        return True
    return False


def end_of_segment(buffer: memoryview) -> int:
    """The offset behind the last whole record of a segment."""
    offset = 0
    while record.intact(buffer, offset):
        offset += record.size_at(buffer, offset)
    return offset


class LogWriter:
    """Appends records. Not thread-safe: one committer at a time.

    Holds the folder until ``close`` or the end of the process, whichever comes first; raises ``SettingsError``
    when another writer holds it."""

    def __init__(self, folder: Path, segment_bytes: int) -> None:
        self._folder = folder
        self._segment_bytes = segment_bytes
        self._file = -1
        self._base = 0
        self._room = 0
        self.position = 0
        folder.mkdir(parents=True, exist_ok=True)
        self._lock = _locked(folder)
        try:
            self._recover()
            self._durable = _shared_position(folder / DURABLE)
            self._durable[0] = self.position
        except BaseException:
            self._unlock()
            raise

    def append(self, buffers: Sequence[bytes | memoryview]) -> int:
        """Write one record (the buffers of ``record.encode``); returns the position behind it.

        Raises ``OSError`` when the disk refuses; nothing of the record counts then."""
        size = sum(len(buffer) for buffer in buffers)
        if size > self._room:
            self._roll(size)
        offset = self.position - self._base
        for start in range(0, len(buffers), IOV_MAX):
            offset += self._write(buffers[start : start + IOV_MAX], offset)
        self.position += size
        self._room -= size
        return self.position

    def sync(self) -> None:
        """Return once everything appended is on the disk, and readers know."""
        if self._file >= 0:
            os.fdatasync(self._file)
            self._durable[0] = self.position

    def close(self) -> None:
        try:
            self._close_file()
        finally:
            self._unlock()

    def _close_file(self) -> None:
        if self._file >= 0:
            file, self._file = self._file, -1
            try:
                os.fdatasync(file)
            finally:
                os.close(file)

    def _unlock(self) -> None:
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def _write(self, buffers: Sequence[bytes | memoryview], offset: int) -> int:
        wanted = sum(len(buffer) for buffer in buffers)
        written = os.pwritev(self._file, buffers, offset)
        if written != wanted:
            data = b"".join(buffers)
            while written < wanted:
                written += os.pwrite(self._file, data[written:], offset + written)
        return wanted

    def _recover(self) -> None:
        found = segments(self._folder)
        if not found:
            return
        base, path = found[-1]
        self._base = self.position = base
        size = path.stat().st_size
        if size == 0:
            return  # killed before the file had its size: the first append makes it again
        with path.open("r+b") as file:
            used = _used(file.fileno(), size)
            # Cut a torn end off and make the rest zeros again: the reader takes zeros for "nothing yet".
            os.ftruncate(file.fileno(), used)
            os.ftruncate(file.fileno(), size)
            os.fsync(file.fileno())
        self._file = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        self.position, self._room = base + used, size - used

    def _roll(self, at_least: int) -> None:
        """Go on in a new segment. When the disk refuses, the next append tries again."""
        self._room = 0
        self._close_file()
        base = self.position
        size = max(self._segment_bytes, at_least)
        path = self._folder / f"{base:020d}{SUFFIX}"
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            os.ftruncate(file, size)
            os.fsync(file)
            sync_folder(self._folder)
        except BaseException:
            os.close(file)
            raise
        self._file, self._base, self._room = file, base, size


def _locked(folder: Path) -> int:
    """The lock file of a folder, open and locked; the lock goes with the process."""
    lock = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        raise SettingsError(
            "general.data_dir", str(folder), "a folder that no other running layer uses"
        ) from None
    return lock


def _shared_position(path: Path) -> I64:
    """One position, as every process that maps the file sees it at that moment."""
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        os.ftruncate(file, 8)
        return np.frombuffer(mmap.mmap(file, 8), np.int64)
    finally:
        os.close(file)


def sync_folder(folder: Path) -> None:
    """Make what was created, renamed or deleted in a folder outlast a failure of power."""
    file = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)


def _used(file: int, size: int) -> int:
    with mmap.mmap(file, size, access=mmap.ACCESS_READ) as pages, memoryview(pages) as buffer:
        return end_of_segment(buffer)


class LogReader:
    """Reads records as views of the mapped files. A file stays mapped while somebody holds a view of it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._maps: dict[int, memoryview] = {}
        self._released = 0
        folder.mkdir(parents=True, exist_ok=True)
        self._durable = _shared_position(folder / DURABLE)

    def start(self) -> int:
        """The position of the oldest record that is kept."""
        found = segments(self.folder)
        return found[0][0] if found else 0

    def durable(self) -> int:
        """Up to where the writer has synced: no request that was acknowledged lies behind it."""
        return int(self._durable[0])

    def end(self) -> int:
        """The position behind the last whole record on the disk."""
        found = segments(self.folder)
        return found[-1][0] + end_of_segment(self._map(*found[-1])) if found else 0

    def read(self, start: int, end: int) -> Iterator[Record]:
        """The records from ``start`` (where one begins) up to ``end``.

        Raises ``CorruptLog`` where the bytes at a position are no record."""
        found = [(base, path) for base, path in segments(self.folder) if base < end]
        for i, (base, path) in enumerate(found):
            behind = found[i + 1][0] if i + 1 < len(found) else end
            if behind <= start:
                continue
            buffer = self._map(base, path)
            position = max(start, base)
            while position < min(behind, end):
                size = record.size_at(buffer, position - base)
                if not size:
                    raise CorruptLog(
                        f"no record at position {position} of {path.name}: expected one up to {min(behind, end)}; "
                        "move the folder away to start empty, and keep it for a report"
                    )
                yield record.decode(buffer, position - base, position)
                position += size

    def bytes_at(self, position: int, size: int) -> memoryview:
        """``size`` raw bytes at a position. Raises ``NotFound`` when they are no longer kept."""
        base, path = max((one for one in segments(self.folder) if one[0] <= position), default=(0, None))
        if path:
            with contextlib.suppress(FileNotFoundError):  # trimmed meanwhile
                buffer = self._map(base, path)
                if position + size - base <= len(buffer):
                    return buffer[position - base : position - base + size]
        raise NotFound(f"position {position} is no longer kept, or never was")

    def release(self, position: int) -> None:
        """Take the pages below a position out of the memory of this process, some MB at a time: who reads there again
        finds them in the page cache, or on the disk."""
        if position - self._released < RELEASE_BYTES:
            return
        for base, pages in list(self._maps.items()):
            start = max(0, self._released - base) // mmap.PAGESIZE * mmap.PAGESIZE
            size = min(position - base, len(pages)) - start
            if size > 0 and isinstance(pages.obj, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
                pages.obj.madvise(mmap.MADV_DONTNEED, start, size)
        self._released = position

    def trim(self, position: int) -> int:
        """Delete the segments that end at or before ``position``; returns how many. The last one stays."""
        found = segments(self.folder)
        gone = [(base, path) for i, (base, path) in enumerate(found[:-1]) if found[i + 1][0] <= position]
        for base, path in gone:
            self._maps.pop(base, None)
            path.unlink(missing_ok=True)
        return len(gone)

    def _map(self, base: int, path: Path) -> memoryview:
        """The pages of a segment; none while the file has no size yet. A file whose size changed (the disk
        refused it at first, and it was made again) is mapped anew."""
        size = path.stat().st_size
        if size == 0:
            return memoryview(b"")
        if len(self._maps.get(base, b"")) != size:
            with path.open("rb") as file:
                self._maps[base] = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
        return self._maps[base]
