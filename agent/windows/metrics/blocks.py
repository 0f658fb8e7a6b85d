"""Block files: the sealed samples of one stretch of event time, as Parquet that anybody can open.

A row is a group of up to ``GROUP_SERIES`` series, ordered by metric name, so that a query touches few rows.
Numbers travel in binary columns (``agent.windows.metrics.blockcodec``: pcodec standalone columns, packed);
labels are the canonical bytes of ``agent.telemetry.labels``. A file is written beside, synced, then renamed:
it is whole or it is not there. A thinner block takes the name of the one that it replaces: whoever opens the
folder finds the one or the other. (The oldest time in the name is then that of the first writing.)
"""

from __future__ import annotations

import itertools
import json
import os
import struct
import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from agent.errors import CorruptLog
from agent.telemetry.frames import I64, U8
from agent.telemetry.hashing import hash_bytes
from agent.windows.log import sync_folder
from agent.windows.metrics.blockcodec import Group, decode_group, pack, unpack

GROUP_SERIES = 512
GROUPS_A_ROW_GROUP = 8
SUFFIX, BESIDE = ".parquet", ".writing"
FORMAT = "kubechat-obs metric block 1"
_META = b"kubechat_obs"
_ITEM = struct.Struct("<iqi")  # series, time, size

Item = tuple[int, int, bytes]  # series of the group, time in ms, content

SCHEMA = pa.schema(
    [
        ("series", pa.int32()),
        ("samples", pa.int64()),
        ("min_time_ms", pa.int64()),
        ("max_time_ms", pa.int64()),
        ("labels_hash", pa.uint64()),
        ("labels", pa.binary()),
        ("times", pa.binary()),
        ("values", pa.binary()),
        ("histograms", pa.binary()),
        ("exemplars", pa.binary()),
    ]
)
_ABOUT = {
    "labels": "packed: sizes as int32, then the label sets of the series (Label messages of remote write 1.0)",
    "times": "packed pcodec columns: list of each series, then length, first and steps in ms of every list",
    "values": "packed pcodec columns: decimal digits (-1: none) and form of each series, first integers, the "
    "other integers, values of series without digits, places and bits of odd values",
    "packed": "number of parts, their sizes (uint32, little-endian), the parts; a part of numbers is a letter "
    "(h i q d Q: int16 int32 int64 float64 uint64) and a pcodec standalone file",
}


@dataclass(frozen=True, slots=True)
class BlockInfo:
    """``start_ms`` is the oldest time; all times are below ``cut_ms``. ``position``: everything in the
    log before it that belongs into the block is in it."""

    start_ms: int
    cut_ms: int
    max_time_ms: int
    position: int
    series: int
    samples: int
    histograms: int
    exemplars: int


@dataclass(frozen=True, slots=True)
class GroupRow:
    """A group as it is written. ``labels`` are the sizes of the canonical label sets as int32 and the sets,
    packed; ``times_ms`` the oldest and newest of its samples; items as ``content_of`` packs them."""

    series: int
    labels: bytes
    samples: int
    times_ms: tuple[int, int]
    times: bytes
    values: bytes
    histograms: bytes
    exemplars: bytes


def write_block(folder: Path, cut_ms: int, position: int, groups: Iterable[GroupRow]) -> Path | None:
    """Write the groups as one block; None where there are none. Raises OSError when the disk refuses."""
    folder.mkdir(parents=True, exist_ok=True)
    beside = folder / f"{cut_ms}{BESIDE}"
    try:
        info = _write(beside, cut_ms, position, groups)
        if info is None:
            return None
        path = folder / f"{info.start_ms}_{info.cut_ms}{SUFFIX}"
        beside.rename(path)
        sync_folder(folder)
        return path
    finally:
        beside.unlink(missing_ok=True)


def rewrite_block(path: Path, cut_ms: int, position: int, groups: Iterable[GroupRow]) -> BlockFile | None:
    """Put a block of these groups in the place of another; where there are none the file goes. Raises OSError
    when the disk refuses: the old one stays."""
    beside = path.with_suffix(BESIDE)
    fresh = None
    try:
        if _write(beside, cut_ms, position, groups):
            fresh = BlockFile(beside)
            beside.rename(path)
            fresh.path = path
        else:
            path.unlink(missing_ok=True)
        sync_folder(path.parent)
        return fresh
    finally:
        beside.unlink(missing_ok=True)


def _write(beside: Path, cut_ms: int, position: int, groups: Iterable[GroupRow]) -> BlockInfo | None:
    """Write and sync a file of its own; None where there are no groups."""
    tally = _Tally()
    with beside.open("wb") as file:
        with pq.ParquetWriter(
            file, SCHEMA, compression=_COMPRESSION, use_dictionary=False, write_statistics=False
        ) as writer:
            for rows in _batched(groups, GROUPS_A_ROW_GROUP):
                for row in rows:
                    tally.add(row)
                writer.write_table(pa.Table.from_pylist([_record(row) for row in rows], SCHEMA))
            info = tally.info(cut_ms, position)
            writer.add_key_value_metadata({_META.decode(): json.dumps(_footer(info))})
        file.flush()
        os.fsync(file.fileno())
    return info if tally.groups else None


class BlockFile:
    """A block, open for reading. Thread-safe. Raises ``CorruptLog`` for a file that is none. ``serial`` tells
    files apart that were at one path one after the other."""

    _serials = itertools.count()

    def __init__(self, path: Path) -> None:
        self.path = path
        self.serial = next(self._serials)
        self._lock = threading.Lock()
        try:
            self._file = pq.ParquetFile(path, memory_map=True)
            footer = json.loads(self._file.metadata.metadata[_META])
            self.info = BlockInfo(**footer["info"])
        except (pa.ArrowException, OSError, KeyError, TypeError, ValueError) as error:
            raise CorruptLog(
                f"{path.name} is no block of metrics: {error}; move it away to start without it, "
                "and keep it for a report"
            ) from None
        self.nbytes = path.stat().st_size
        self.group_series = self.column("series")

    def column(self, name: str) -> I64:
        """A column of numbers, one a group."""
        with self._lock:
            return np.asarray(self._file.read([name], use_threads=False).column(0).to_numpy())

    def labels(self, group: int) -> tuple[U8, I64, I64]:
        """``(raw, off, len)`` of the canonical label sets of a group's series."""
        (content,) = self._cells(group, ["labels"])
        sizes, raw = unpack(content)
        length = np.frombuffer(sizes, np.int32).astype(np.int64)
        return np.frombuffer(raw, np.uint8), np.cumsum(length) - length, length

    def group(self, group: int) -> Group:
        times, values = self._cells(group, ["times", "values"])
        return decode_group(times, values)

    def items(self, group: int, kind: str) -> list[Item]:
        """The ``histograms`` or ``exemplars`` of a group."""
        (content,) = self._cells(group, [kind])
        return items_of(content)

    def rows(self) -> Iterator[GroupRow]:
        """All groups, as they were written."""
        for number in range(self._file.num_row_groups):
            with self._lock:
                table = self._file.read_row_group(number, use_threads=False)
            for row in table.to_pylist():
                row.pop("labels_hash")
                times_ms = row.pop("min_time_ms"), row.pop("max_time_ms")
                yield GroupRow(times_ms=times_ms, **row)

    def _cells(self, group: int, columns: list[str]) -> list[memoryview]:
        with self._lock:
            table = self._file.read_row_group(group // GROUPS_A_ROW_GROUP, columns, use_threads=False)
        at = group % GROUPS_A_ROW_GROUP
        return [memoryview(table.column(name)[at].as_buffer()) for name in columns]


def block_files(folder: Path) -> list[Path]:
    """The block files of a folder; what was not finished is deleted."""
    for beside in folder.glob(f"*{BESIDE}"):
        beside.unlink(missing_ok=True)
    return sorted(folder.glob(f"*{SUFFIX}"))


class _Tally:
    def __init__(self) -> None:
        self.groups = self.series = self.samples = self.histograms = self.exemplars = 0
        self.low, self.high = 2**63 - 1, -(2**63)

    def add(self, row: GroupRow) -> None:
        self.groups += 1
        self.series += row.series
        self.samples += row.samples
        self.histograms += _item_count(row.histograms)
        self.exemplars += _item_count(row.exemplars)
        self.low, self.high = min(self.low, row.times_ms[0]), max(self.high, row.times_ms[1])

    def info(self, cut_ms: int, position: int) -> BlockInfo:
        return BlockInfo(
            self.low, cut_ms, self.high, position, self.series, self.samples, self.histograms, self.exemplars
        )


_COMPRESSION = {
    name: "zstd" if name in ("labels", "histograms", "exemplars") else "none" for name in SCHEMA.names
}


def _footer(info: BlockInfo) -> dict[str, Any]:
    return {"format": FORMAT, "group_series": GROUP_SERIES, "info": asdict(info), "about": _ABOUT}


def _record(row: GroupRow) -> dict[str, Any]:
    return {
        "series": row.series,
        "samples": row.samples,
        "min_time_ms": row.times_ms[0],
        "max_time_ms": row.times_ms[1],
        "labels_hash": int(hash_bytes(np.frombuffer(row.labels, np.uint8), 0, len(row.labels))),
        "labels": row.labels,
        "times": row.times,
        "values": row.values,
        "histograms": row.histograms,
        "exemplars": row.exemplars,
    }


def content_of(items: Sequence[Item]) -> bytes:
    """Series, time and size of every item, then what is in them."""
    heads = b"".join(_ITEM.pack(series, time, len(content)) for series, time, content in items)
    return pack([heads, b"".join(content for _, _, content in items)]) if items else b""


def items_of(content: bytes | memoryview) -> list[Item]:
    """What ``content_of`` was given."""
    if not len(content):
        return []
    heads, contents = unpack(content)
    items, at = [], 0
    for series, time, size in _ITEM.iter_unpack(heads):
        items.append((series, time, contents[at : at + size]))
        at += size
    return items


def _item_count(content: bytes) -> int:
    return len(unpack(content)[0]) // _ITEM.size if content else 0


def _batched(groups: Iterable[GroupRow], size: int) -> Iterable[list[GroupRow]]:
    rows: list[GroupRow] = []
    for row in groups:
        rows.append(row)
        if len(rows) == size:
            yield rows
            rows = []
    if rows:
        yield rows
