"""The shape of a log line: its text with everything that varies from line to line masked.

Two lines of one shape come from the same statement of the program, near enough to count by. The
hash is made in one pass over the raw bytes, without an object a line; the text is made only for a
hash that was not seen before. Both read the same masked bytes, so equal text means equal hash.

What is masked, word by word (a word is a run of ASCII letters, digits, ``_`` and bytes above 127):
a word that holds a digit; a word of hexadecimal letters that a ``-`` ties to a masked neighbour's
token (part of a UUID). Masked words that only punctuation of numbers (``- : . , + /``) parts become
one ``<*>``, so that a time, a version, an address and a decimal look alike. A token that reads
``Class#line`` is kept as it is: it names the statement itself. Only the first 14 tokens within the first 2,048 bytes count, so that a line of any
length costs little.
"""

from __future__ import annotations

import numba as nb
import numpy as np
import numpy.typing as npt

MAX_TOKENS = 14
MAX_LINE_BYTES = 2048
_UUID_REACH_BYTES = 36  # how far a letters-only group looks for a digit of the same UUID
MASK = b"<*>"

_FNV_OFFSET = 0xCBF29CE484222325
_FNV_PRIME = 0x100000001B3

# Byte classes: 0 other, 1 letter or non-ASCII, 2 hexadecimal letter, 3 digit, 4 space, 5 joins numbers
_OTHER, _LETTER, _HEX, _DIGIT, _SPACE, _JOINER = range(6)


def _byte_classes() -> npt.NDArray[np.uint8]:
    table = np.zeros(256, np.uint8)
    for byte in range(256):
        char = chr(byte)
        if byte >= 128 or char == "_" or char.isalpha():
            table[byte] = _HEX if char in "abcdefABCDEF" else _LETTER
        elif char.isdigit():
            table[byte] = _DIGIT
        elif byte <= 32:
            table[byte] = _SPACE
        elif char in "-:.,+/":
            table[byte] = _JOINER
    return table


_CLASS = _byte_classes()
_MASK_BYTES = np.frombuffer(MASK, np.uint8)


@nb.njit(cache=True, nogil=True, inline="always")
def _is_statement(raw, start, end, classes):  # type: ignore[no-untyped-def]
    """Whether a token reads ``Class#line``: a letter first, one ``#``, then digits to the end."""
    if classes[raw[start]] != _LETTER and classes[raw[start]] != _HEX:
        return False
    i = end - 1
    while i > start and classes[raw[i]] == _DIGIT:
        i -= 1
    return i < end - 1 and raw[i] == 35


@nb.njit(cache=True, nogil=True, inline="always")
def _is_varying(raw, start, end, token_start, token_end, classes):  # type: ignore[no-untyped-def]
    """Whether the word ``raw[start:end]`` is masked."""
    only_hex = True
    for i in range(start, end):
        kind = classes[raw[i]]
        if kind == _DIGIT:
            return True
        if kind != _HEX:
            only_hex = False
    if not only_hex or end - start < 4:
        return False
    # Tied by "-" to a word with a digit: the letters-only group of a UUID.
    i = end
    while i < min(token_end, end + _UUID_REACH_BYTES) and (
        raw[i] == 45 or classes[raw[i]] in (_LETTER, _HEX, _DIGIT)
    ):
        if classes[raw[i]] == _DIGIT:
            return True
        i += 1
    i = start - 1
    while i >= max(token_start, start - _UUID_REACH_BYTES) and (
        raw[i] == 45 or classes[raw[i]] in (_LETTER, _HEX, _DIGIT)
    ):
        if classes[raw[i]] == _DIGIT:
            return True
        i -= 1
    return False


@nb.njit(cache=True, nogil=True)
def _mask_line(raw, begin, end, out, classes, mask):  # type: ignore[no-untyped-def]
    """Write the masked line to ``out`` where it has room, and return ``(hash, bytes written)``.

    The hash is FNV-1a over the masked bytes (Fowler, Noll, Vo)."""
    end = min(end, begin + MAX_LINE_BYTES)
    state = np.uint64(_FNV_OFFSET)
    prime = np.uint64(_FNV_PRIME)
    written = 0
    tokens = 0
    i = begin
    while tokens < MAX_TOKENS:
        while i < end and classes[raw[i]] == _SPACE:
            i += 1
        if i >= end:
            break
        stop = i
        while stop < end and classes[raw[stop]] != _SPACE:
            stop += 1
        if tokens > 0:
            state = (state ^ np.uint64(32)) * prime
            if written < len(out):
                out[written] = 32
                written += 1
        tokens += 1
        keep = _is_statement(raw, i, stop, classes)
        after_mask = i - 1  # where the joiners after the last mask of this token begin; i - 1: none
        j = i
        while j < stop:
            word = j
            while word < stop and classes[raw[word]] in (_LETTER, _HEX, _DIGIT):
                word += 1
            if word > j and not keep and _is_varying(raw, j, word, i, stop, classes):
                if after_mask < i:
                    for byte in mask:
                        state = (state ^ np.uint64(byte)) * prime
                        if written < len(out):
                            out[written] = byte
                            written += 1
                after_mask = word
                j = word
                # Joiners are held back until it is known whether another masked word follows.
                k = j
                while k < stop and classes[raw[k]] == _JOINER:
                    k += 1
                next_word = k
                while next_word < stop and classes[raw[next_word]] in (_LETTER, _HEX, _DIGIT):
                    next_word += 1
                if k > j and next_word > k and _is_varying(raw, k, next_word, i, stop, classes):
                    j = k
                else:
                    after_mask = i - 1
                continue
            after_mask = i - 1
            last = word if word > j else j + 1
            for k in range(j, last):
                state = (state ^ np.uint64(raw[k])) * prime
                if written < len(out):
                    out[written] = raw[k]
                    written += 1
            j = last
        i = stop
    return state, written


@nb.njit(cache=True, nogil=True)
def _shape_hashes(raw, offsets, lengths, classes, mask):  # type: ignore[no-untyped-def]
    hashes = np.empty(len(offsets), np.uint64)
    nothing = np.empty(0, np.uint8)
    for row in range(len(offsets)):
        state, _ = _mask_line(raw, offsets[row], offsets[row] + lengths[row], nothing, classes, mask)
        hashes[row] = state
    return hashes


def shape_hashes(
    raw: npt.NDArray[np.uint8], offsets: npt.NDArray[np.int64], lengths: npt.NDArray[np.int64]
) -> npt.NDArray[np.uint64]:
    """The hash of the shape of each line ``raw[offsets[i]:offsets[i] + lengths[i]]``."""
    hashes: npt.NDArray[np.uint64] = _shape_hashes(raw, offsets, lengths, _CLASS, _MASK_BYTES)
    return hashes


def shape_text(line: bytes) -> str:
    """The masked text of one line; what is not UTF-8 in it shows as U+FFFD."""
    raw = np.frombuffer(line, np.uint8)
    # A mask replaces at least one byte by three.
    out = np.empty(3 * min(len(raw), MAX_LINE_BYTES) + MAX_TOKENS, np.uint8)
    _, written = _mask_line(raw, 0, len(raw), out, _CLASS, _MASK_BYTES)
    return out[:written].tobytes().decode("utf-8", "replace")
