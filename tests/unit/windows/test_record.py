"""One record of the log, as bytes and back."""

from __future__ import annotations

import zlib

import numpy as np
import pytest

from agent.windows import record


def encoded(size: int = 1000) -> bytearray:
    columns = {"raw": np.arange(size, dtype=np.uint8), "value": np.arange(7.0)}
    return bytearray(b"".join(record.encode("samples", "t", 7, 1, columns)))


def test_a_record_comes_back_as_it_was() -> None:
    raw = encoded()
    assert (record.size_at(memoryview(raw), 0), record.intact(memoryview(raw), 0)) == (len(raw), True)
    found = record.decode(memoryview(raw), 0, 0)
    assert found.columns["raw"].tolist() == np.arange(1000, dtype=np.uint8).tolist()
    assert found.columns["value"].tolist() == list(range(7))


@pytest.mark.parametrize("size", [0, 1, 1000])
def test_no_byte_of_a_record_can_change_and_no_two_words_change_places(size: int) -> None:
    raw = encoded(size)
    for at in range(record.HEADER.size, len(raw)):
        damaged = raw.copy()
        damaged[at] ^= 1
        assert not record.intact(memoryview(damaged), 0)
    swapped = raw.copy()
    swapped[-16:-8], swapped[-8:] = raw[-8:], raw[-16:-8]
    assert not record.intact(memoryview(swapped), 0)
    torn = raw.copy()
    torn[-24:] = bytes(24)
    assert not record.intact(memoryview(torn), 0)


def test_a_record_of_the_first_version_is_still_read() -> None:
    raw = encoded()
    magic, _, flags, meta_bytes, size, _ = record.HEADER.unpack_from(raw)
    crc = zlib.crc32(raw[record.HEADER.size :])
    record.HEADER.pack_into(raw, 0, magic, record.VERSION_CRC32, flags, meta_bytes, size, crc)
    assert record.intact(memoryview(raw), 0)
    raw[-1] ^= 1
    assert not record.intact(memoryview(raw), 0)
