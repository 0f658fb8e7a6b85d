"""Kernels over label sets: canonical bytes to columns, columns to posting lists, candidates to matches.

The columns of an index are a list of labels a series: ``name`` and ``code`` of series ``i`` are rows
``start[i]:start[i + 1]``; ``code`` is the place of the value among those of its name.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from agent.telemetry.hashing import hash_bytes
from agent.telemetry.wire import byte_at


@njit(cache=True, nogil=True)
def _length(raw, pos, end):  # type: ignore[no-untyped-def]
    """``(length, next position)``; -1 where it leads beyond ``end``."""
    value, shift = np.int64(0), np.int64(0)
    while pos < end and shift < 35:
        byte = np.int64(byte_at(raw, pos))
        pos += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return (value, pos) if value <= end - pos else (np.int64(-1), pos)
        shift += 7
    return np.int64(-1), pos


@njit(cache=True, nogil=True)
def count_labels(raw, off, size, out):  # type: ignore[no-untyped-def]
    """The number of labels of each set; -1 where the bytes are no label set."""
    for i in range(len(off)):
        pos, end = off[i], off[i] + size[i]
        count = 0
        while pos < end and count >= 0:
            if byte_at(raw, pos) != 0x0A:
                count = -1
                break
            length, pos = _length(raw, pos + 1, end)
            count = count + 1 if length >= 0 else -1
            pos += length
        out[i] = count


@njit(cache=True, nogil=True)
def scan_labels(raw, off, size, hashes, label_off, label_len):  # type: ignore[no-untyped-def]
    """Hash and place of every label (the content of its message) of sets that ``count_labels`` passed."""
    k = 0
    for i in range(len(off)):
        pos, end = off[i], off[i] + size[i]
        while pos < end:
            length, pos = _length(raw, pos + 1, end)
            hashes[k] = hash_bytes(raw, pos, length)
            label_off[k] = pos
            label_len[k] = length
            pos += length
            k += 1


@njit(cache=True, nogil=True)
def column(start, name, code, ids, wanted, out):  # type: ignore[no-untyped-def]
    """The code of one name for each series, -1 where it has none."""
    for i in range(len(ids)):
        out[i] = -1
        for k in range(start[ids[i]], start[ids[i] + 1]):
            if name[k] == wanted:
                out[i] = code[k]
                break


@njit(cache=True, nogil=True)
def table(start, name, code, ids, place, out):  # type: ignore[no-untyped-def]
    """Codes by series and name; ``place`` tells the column of a name, ``out`` is -1 at first."""
    for i in range(len(ids)):
        for k in range(start[ids[i]], start[ids[i] + 1]):
            out[i, place[name[k]]] = code[k]


@njit(cache=True, nogil=True)
def used_names(start, name, ids, out):  # type: ignore[no-untyped-def]
    """Mark the names that the series have."""
    for i in range(len(ids)):
        for k in range(start[ids[i]], start[ids[i] + 1]):
            out[name[k]] = True


@njit(cache=True, nogil=True)
def postings(column_codes, counts, ids):  # type: ignore[no-untyped-def]
    """A counting sort: ``ids`` becomes the series by code, ascending in each; ``counts`` (codes + 1, zeros)
    becomes where the list of each code begins."""
    for i in range(len(column_codes)):
        if column_codes[i] >= 0:
            counts[column_codes[i] + 1] += 1
    for k in range(1, len(counts)):
        counts[k] += counts[k - 1]
    next_row = counts.copy()
    for i in range(len(column_codes)):
        c = column_codes[i]
        if c >= 0:
            ids[next_row[c]] = i
            next_row[c] += 1


@njit(cache=True, nogil=True)
def gather(begin, ids, chosen, out):  # type: ignore[no-untyped-def]
    """The posting lists of the chosen codes, one behind the other."""
    at = 0
    for c in chosen:
        for k in range(begin[c], begin[c + 1]):
            out[at] = ids[k]
            at += 1


@njit(cache=True, nogil=True)
def matching(start, name, code, candidates, wanted, fits, begin, absent, out):  # type: ignore[no-untyped-def]
    """The candidates that fit every matcher; returns how many. Matcher ``m`` is about name ``wanted[m]``;
    ``fits[begin[m] + code]`` tells which values it takes, ``absent[m]`` whether it takes none."""
    found = 0
    for i in range(len(candidates)):
        series = candidates[i]
        good = True
        for m in range(len(wanted)):
            verdict = absent[m]
            for k in range(start[series], start[series + 1]):
                if name[k] == wanted[m]:
                    verdict = fits[begin[m] + code[k]]
                    break
            if not verdict:
                good = False
                break
        if good:
            out[found] = series
            found += 1
    return found


@njit(cache=True, nogil=True)
def _size(length):  # type: ignore[no-untyped-def]
    """Bytes of a length as a varint."""
    size = 1
    while length > 127:
        length >>= 7
        size += 1
    return size


@njit(cache=True, nogil=True)
def canonical_sizes(start, name, code, ids, begin, label_of, text_start, out):  # type: ignore[no-untyped-def]
    """Bytes of the canonical label set of each series. ``label_of[begin[name] + code]`` is the number of a
    label, its message ``text[text_start[number]:text_start[number + 1]]``."""
    for i in range(len(ids)):
        total = np.int64(0)
        for k in range(start[ids[i]], start[ids[i] + 1]):
            number = label_of[begin[name[k]] + code[k]]
            length = text_start[number + 1] - text_start[number]
            total += 1 + _size(length) + length
        out[i] = total


@njit(cache=True, nogil=True)
def canonical(start, name, code, ids, begin, label_of, text_start, text, out):  # type: ignore[no-untyped-def]
    """The canonical label sets, one behind the other."""
    at = 0
    for i in range(len(ids)):
        for k in range(start[ids[i]], start[ids[i] + 1]):
            number = label_of[begin[name[k]] + code[k]]
            length = text_start[number + 1] - text_start[number]
            out[at] = 0x0A
            at += 1
            rest = length
            while rest > 127:
                out[at] = rest & 127 | 128
                rest >>= 7
                at += 1
            out[at] = rest
            at += 1
            # Of views the compiler knows that no index counts from the end, and moves several bytes at once.
            label, place = text[text_start[number] : text_start[number + 1]], out[at : at + length]
            for j in range(len(place)):
                place[j] = label[j]
            at += length
