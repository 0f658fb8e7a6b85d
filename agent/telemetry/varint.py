"""Protobuf's varints in Python, for messages that are written or read one at a time; bodies go through the kernels
of ``wire``."""

from __future__ import annotations

MAX_VARINT_BYTES = 10  # of 64 bits
_MASK = (1 << 64) - 1
_SHORT = [bytes((value,)) for value in range(128)]


def varint(value: int) -> bytes:
    """A negative number takes ten bytes, as an int64 does."""
    value &= _MASK
    if value < 128:
        return _SHORT[value]
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def read_varint(message: bytes, pos: int) -> tuple[int, int]:
    """``(value, next position)``. Raises IndexError where the message ends first."""
    value = shift = 0
    while True:
        byte = message[pos]
        pos += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, pos
        shift += 7


def zigzag(value: int) -> int:
    """A signed number as sint32 and sint64 carry it."""
    return (value << 1) ^ (value >> 63)
