"""Label sets of Prometheus series: one at a time as tuples and canonical bytes, many at a time as columns.

The *canonical bytes* of a label set are its ``Label`` messages as they lie in a TimeSeries of remote write
1.0 (field 1, each with the name as field 1 and the value as field 2), sorted by the bytes of the name,
without empty values, ``__name__`` among them. A sender that follows that specification has them in its
request already, so that a series is known again by one hash over a slice of the body.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numba import njit

from agent.telemetry.frames import I32, I64
from agent.telemetry.hashing import hash_bytes
from agent.telemetry.varint import read_varint, varint

METRIC_NAME = "__name__"

Labels = tuple[tuple[str, str], ...]
"""Sorted by name, no empty value, no name twice."""


def labels_of(pairs: Mapping[str, str] | Iterable[tuple[str, str]]) -> Labels:
    """The label set of pairs in any order; empty values say that the label is absent."""
    named = dict(pairs)
    return tuple(sorted((name, value) for name, value in named.items() if value))


def encode_labels(labels: Labels) -> bytes:
    """The canonical bytes."""
    out = bytearray()
    for name, value in labels:
        message = _text(0x0A, name) + _text(0x12, value)
        out += b"\x0a" + varint(len(message)) + message
    return bytes(out)


def decode_labels(canonical: bytes) -> Labels:
    """The label set that ``encode_labels`` wrote."""
    labels, pos = [], 0
    while pos < len(canonical):
        _, pos = read_varint(canonical, pos + 1)
        name, pos = _read_text(canonical, pos)
        value, pos = _read_text(canonical, pos)
        labels.append((name, value))
    return tuple(labels)


def hash_labels(canonical: bytes) -> int:
    """The 64-bit hash by which a series is known; the same in every process."""
    return int(hash_bytes(np.frombuffer(canonical, np.uint8), 0, len(canonical)))


@dataclass(frozen=True, slots=True)
class LabelTable:
    """``n`` label sets as columns. ``codes`` has shape ``(n, len(names))``; ``codes[i, k]`` is the place in
    ``values[k]`` of the value that set ``i`` has for ``names[k]``, -1 where it has none. ``names`` are sorted,
    the entries of one ``values[k]`` are all different (equal code = equal value), and may be more than those
    in use: windows share theirs."""

    names: tuple[str, ...]
    codes: I32
    values: tuple[Sequence[str], ...]

    def __len__(self) -> int:
        return len(self.codes)

    @classmethod
    def of(cls, sets: Sequence[Labels]) -> LabelTable:
        names = tuple(sorted({name for labels in sets for name, _ in labels}))
        place = {name: k for k, name in enumerate(names)}
        codes = np.full((len(sets), len(names)), -1, np.int32)
        known: list[dict[str, int]] = [{} for _ in names]
        for i, labels in enumerate(sets):
            for name, value in labels:
                k = place[name]
                codes[i, k] = known[k].setdefault(value, len(known[k]))
        return cls(names, codes, tuple(tuple(one) for one in known))

    @classmethod
    def empty(cls, rows: int = 0) -> LabelTable:
        """``rows`` sets without a label."""
        return cls((), np.empty((rows, 0), np.int32), ())

    def row(self, i: int) -> Labels:
        return tuple(
            (name, self.values[k][code])
            for k, (name, code) in enumerate(zip(self.names, self.codes[i].tolist(), strict=True))
            if code >= 0
        )

    def rows(self) -> list[Labels]:
        return [self.row(i) for i in range(len(self))]

    def column(self, name: str) -> list[str]:
        """The value of every set for a name, "" where it has none."""
        if name not in self.names:
            return [""] * len(self)
        k = self.names.index(name)
        values = self.values[k]
        return [values[code] if code >= 0 else "" for code in self.codes[:, k].tolist()]

    def rows_where(self, name: str, fits: Callable[[str], bool]) -> I64:
        """The rows with a value of ``name`` that ``fits``, which is asked once a value."""
        if name not in self.names:
            return np.empty(0, np.int64)
        place = self.names.index(name)
        codes, values = self.codes[:, place], self.values[place]
        wanted = [code for code in np.unique(codes).tolist() if code >= 0 and fits(values[code])]
        return np.flatnonzero(np.isin(codes, wanted))

    def take(self, rows: I64 | Sequence[int] | slice) -> LabelTable:
        return LabelTable(self.names, self.codes[rows], self.values)

    def keep(self, names: Iterable[str]) -> LabelTable:
        wanted = set(names)
        return self._columns([k for k, name in enumerate(self.names) if name in wanted])

    def drop(self, names: Iterable[str]) -> LabelTable:
        gone = set(names)
        return self._columns([k for k, name in enumerate(self.names) if name not in gone])

    def with_column(self, name: str, texts: Sequence[str]) -> LabelTable:
        """The sets with another value each for ``name``; "" takes the label away."""
        known: dict[str, int] = {}
        column = np.asarray(
            [known.setdefault(text, len(known)) if text else -1 for text in texts], np.int32
        ).reshape(-1, 1)
        rest = self.drop((name,))
        names = (*rest.names, name)
        order = sorted(range(len(names)), key=names.__getitem__)
        codes, values = np.concatenate([rest.codes, column], axis=1), (*rest.values, tuple(known))
        return LabelTable(tuple(names[k] for k in order), codes[:, order], tuple(values[k] for k in order))

    def group(self) -> tuple[I64, LabelTable]:
        """``(group of each set, the distinct sets)``; groups are numbered by their first appearance."""
        keys, kinds = np.zeros(len(self), np.int64), 1
        for k in range(len(self.names)):
            used, place = codes_in_use(self.codes[:, k])
            if len(used):
                keys, kinds = keys * (len(used) + 1) + (place + 1), kinds * (len(used) + 1)
            if _is_sparse(kinds, len(keys)):
                found, keys = np.unique(keys, return_inverse=True)
                keys, kinds = keys.reshape(-1), len(found)
        group, first = _by_first(keys, kinds)
        return group, self.take(first)

    def compacted(self) -> LabelTable:
        """The same sets with only the names and values in use: what travels between processes."""
        names, codes, values = [], [], []
        for k, name in enumerate(self.names):
            used, place = codes_in_use(self.codes[:, k])
            if not len(used):
                continue
            names.append(name)
            codes.append(place.astype(np.int32))
            values.append(tuple(self.values[k][code] for code in used.tolist()))
        stacked = np.stack(codes, axis=1) if codes else np.empty((len(self), 0), np.int32)
        return LabelTable(tuple(names), stacked, tuple(values))

    def _columns(self, chosen: list[int]) -> LabelTable:
        return LabelTable(
            tuple(self.names[k] for k in chosen),
            self.codes[:, chosen],
            tuple(self.values[k] for k in chosen),
        )


def concat_tables(tables: Sequence[LabelTable]) -> LabelTable:
    """The sets of all, in the order given; values are coded anew where the tables do not share theirs."""
    if len(tables) == 1:
        return tables[0]
    names = tuple(sorted({name for table in tables for name in table.names}))
    parts = [np.full((len(table), len(names)), -1, np.int32) for table in tables]
    values = []
    for k, name in enumerate(names):
        known: dict[str, int] = {}
        for table, part in zip(tables, parts, strict=True):
            if name in table.names:
                own = table.names.index(name)
                part[:, k] = _recoded(table.codes[:, own], table.values[own], known)
        values.append(tuple(known))
    codes = np.concatenate(parts) if parts else np.empty((0, len(names)), np.int32)
    return LabelTable(names, codes, tuple(values))


def codes_in_use(codes: I32) -> tuple[I64, I64]:
    """``(the codes in use, ascending, the place among them of each row's)``, -1 for -1."""
    top = int(codes.max(initial=-1)) + 1
    if _is_sparse(top, len(codes)):
        found, inverse = np.unique(codes.astype(np.int64), return_inverse=True)
        absent = int(len(found) > 0 and found[0] < 0)
        return found[absent:], inverse.reshape(-1) - absent
    seen = np.zeros(top + 1, np.bool_)  # the last is for -1
    seen[codes] = True
    used = np.flatnonzero(seen[:top])
    place = np.full(top + 1, -1, np.int64)
    place[used] = np.arange(len(used))
    return used, place[codes]


def _is_sparse(kinds: int, rows: int) -> bool:
    """Whether rows are so few for so many kinds that sorting is cheaper than a table of these."""
    return kinds > 8 * rows + 4096


@njit(cache=True, nogil=True)
def _by_first(keys, kinds):  # type: ignore[no-untyped-def]
    """``(the number of each key by its first appearance, where the first of each number is)``; keys are below ``kinds``."""
    number = np.full(kinds, -1, np.int64)
    out, first = np.empty(len(keys), np.int64), np.empty(len(keys), np.int64)
    count = 0
    for i in range(len(keys)):
        if number[keys[i]] < 0:
            number[keys[i]] = count
            first[count] = i
            count += 1
        out[i] = number[keys[i]]
    return out, first[:count].copy()


def _recoded(codes: I32, values: Sequence[str], known: dict[str, int]) -> I32:
    place: I32 | I64 = codes
    if len(values) > len(codes):
        used, place = codes_in_use(codes)
        values = [values[code] for code in used.tolist()]
    fresh = [known.setdefault(value, len(known)) for value in values]
    return np.asarray([*fresh, -1], np.int32)[place]  # the last is for -1


def _text(tag: int, text: str) -> bytes:
    content = text.encode("utf-8", "surrogateescape")
    return bytes((tag,)) + varint(len(content)) + content


def _read_text(raw: bytes, pos: int) -> tuple[str, int]:
    size, pos = read_varint(raw, pos + 1)
    return raw[pos : pos + size].decode("utf-8", "surrogateescape"), pos + size
