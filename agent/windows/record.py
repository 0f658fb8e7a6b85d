"""One record of the write-ahead log: a batch of one signal of one tenant, as columns.

Layout, little-endian, every part on a multiple of 8 bytes, so that NumPy can view it in place:

    magic u32 | version u8 | flags u8 | meta_bytes u16 | body_bytes u64 | checksum u64
    meta      msgpack map: signal, tenant, rows, digest, received_ns, columns [[name, dtype, bytes], ...]
    columns   one after the other

``body_bytes`` counts meta and columns with their padding; the checksum is over them. A record is written in
one piece and is either whole or, after a crash, the torn end of the log: the checksum tells. It is the sum of
the words, each mixed with its place (the finalizer of MurmurHash3, cut short), because that runs at 25 GB/s where
zlib's CRC-32 runs at 2.3. Version 1 had the CRC-32; its records are still read.
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
from numba import njit

HEADER = struct.Struct("<IBBHQQ")
MAGIC = 0x314C4F4B  # "KOL1"
VERSION, VERSION_CRC32 = 2, 1
ALIGN = 8

Column = npt.NDArray[Any]


class Meta(msgspec.Struct, array_like=True):
    """What a record says of itself. ``digest`` is of the raw bytes: the same body sent again by a
    client that missed the answer has the same digest. ``received_ns`` is the gateway's clock."""

    signal: str
    tenant: str
    rows: int
    digest: int
    received_ns: int
    columns: list[tuple[str, str, int]]


@dataclass(frozen=True, slots=True)
class Record:
    """A record read back. The columns are views into the log's pages. ``column_at`` tells at which
    position of the log a column begins; ``position`` and ``end`` enclose the record."""

    meta: Meta
    columns: Mapping[str, Column]
    column_at: Mapping[str, int]
    position: int
    end: int


def encode(
    signal: str, tenant: str, rows: int, received_ns: int, columns: Mapping[str, Column]
) -> list[bytes | memoryview]:
    """The buffers of a record, to be written one after the other; nothing of the columns is kept."""
    arrays = [(name, np.ascontiguousarray(array)) for name, array in columns.items()]
    digest = hashlib.blake2b(columns["raw"].data, digest_size=8).digest() if "raw" in columns else b"\0" * 8
    meta = msgspec.msgpack.encode(
        Meta(
            signal, tenant, rows, int.from_bytes(digest, "little"), received_ns,
            [(name, array.dtype.str, array.nbytes) for name, array in arrays],
        )
    )  # fmt: skip
    parts: list[bytes | memoryview] = [meta, bytes(_padding(len(meta)))]
    for _, array in arrays:
        if array.nbytes:
            parts += [array.data.cast("B"), bytes(_padding(array.nbytes))]
    body = b"".join(parts)  # one piece: a sum and a write of many small ones cost more than their bytes
    return [HEADER.pack(MAGIC, VERSION, 0, len(meta), len(body), _checksum(body)), body]


def size_at(buffer: memoryview, offset: int) -> int:
    """The bytes of the record at ``offset``, header included; 0 where no record begins."""
    if offset + HEADER.size > len(buffer):
        return 0
    magic, version, _, meta_bytes, body_bytes, _ = HEADER.unpack_from(buffer, offset)
    whole = magic == MAGIC and version in (VERSION, VERSION_CRC32) and meta_bytes <= body_bytes
    return HEADER.size + body_bytes if whole and offset + HEADER.size + body_bytes <= len(buffer) else 0


def intact(buffer: memoryview, offset: int) -> bool:
    """Whether a whole record with the right checksum lies at ``offset``."""
    size = size_at(buffer, offset)
    if not size:
        return False
    _, version, _, _, _, expected = HEADER.unpack_from(buffer, offset)
    body = buffer[offset + HEADER.size : offset + size]
    if version == VERSION_CRC32:
        return bool(zlib.crc32(body) == expected)
    return bool(_checksum(body) == expected)


def decode(buffer: memoryview, offset: int, position: int) -> Record:
    """The record at ``offset`` of ``buffer``, which is position ``position`` of the log. Copies nothing."""
    _, _, _, meta_bytes, body_bytes, _ = HEADER.unpack_from(buffer, offset)
    at = offset + HEADER.size
    meta = msgspec.msgpack.decode(buffer[at : at + meta_bytes], type=Meta)
    at += meta_bytes + _padding(meta_bytes)
    columns: dict[str, Column] = {}
    column_at: dict[str, int] = {}
    for name, dtype, size in meta.columns:
        kind = _dtype(dtype)
        columns[name] = np.frombuffer(buffer, kind, size // kind.itemsize, at)
        column_at[name] = position + at - offset
        at += size + _padding(size)
    return Record(meta, columns, column_at, position, position + HEADER.size + body_bytes)


@cache
def _dtype(name: str) -> np.dtype[Any]:
    return np.dtype(name)


def _padding(size: int) -> int:
    return -size % ALIGN


def _checksum(body: bytes | memoryview) -> int:
    """Of what has a multiple of ALIGN bytes; another number where it has not."""
    words = np.frombuffer(body, np.uint64, len(body) // ALIGN)
    words.setflags(write=False)  # one type, so that the kernel is compiled once
    return int(_sum_words(words)) if len(body) % ALIGN == 0 else -1


@njit(cache=True, nogil=True)
def _sum_words(words):  # type: ignore[no-untyped-def]
    total = np.uint64(0)
    for i in range(len(words)):
        word = words[np.uint64(i)] ^ (np.uint64(i) * np.uint64(0x9E3779B97F4A7C15))
        word = (word ^ (word >> np.uint64(32))) * np.uint64(0xC4CEB9FE1A85EC53)
        total += word ^ (word >> np.uint64(29))
    return total
