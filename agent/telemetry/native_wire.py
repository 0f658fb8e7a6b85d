"""The ``Histogram`` message of remote write, the same in ``prometheus.WriteRequest`` and
``io.prometheus.write.v2``: bytes to ``FloatHistogram`` and back.

Integer histograms carry buckets as differences, float histograms as counts; both become counts. Buckets lie
in spans, each a gap and a length. A message is small, so that one compiled pass reads it into scratch
columns no longer than the message itself; lengths and gaps that do not fit what is there are refused.
"""

from __future__ import annotations

import struct

import numpy as np
from numba import njit

from agent.telemetry.frames import F64
from agent.telemetry.native_buckets import CUSTOM_SCHEMA, EMPTY_SIDE, MAX_SCHEMA, MIN_SCHEMA, NO_VALUES, Side
from agent.telemetry.native_histogram import CounterReset, FloatHistogram, InvalidHistogram
from agent.telemetry.native_kahan import kahan_add
from agent.telemetry.native_validate import validate_histogram
from agent.telemetry.varint import varint, zigzag
from agent.telemetry.wire import checked_varint, little64

MAX_BYTES = 1 << 20  # room for more buckets than any client makes
MAX_KNOWN_SCHEMA = 52  # finer than MAX_SCHEMA is read and merged down to it
HINTS = (CounterReset.UNKNOWN, CounterReset.RESET, CounterReset.NOT_RESET, CounterReset.GAUGE)

(OK, BROKEN, SPAN_GAP, SPAN_LENGTH, NEGATIVE, FAR) = range(6)
_TEXTS = {
    BROKEN: "the bytes are no Histogram message of remote write",
    SPAN_GAP: "histogram has a span whose offset is negative",
    SPAN_LENGTH: "histogram spans specify different number of buckets than provided",
    NEGATIVE: "histogram has a bucket whose observation count is negative",
    FAR: "histogram has a bucket whose index is beyond 32 bits",
}
_MAX_INDEX = (1 << 31) - 1

# Places of ``bits`` (raw 64-bit contents) and of ``sizes``.
_COUNT_INT, _COUNT_FLOAT, _SUM, _ZERO_WIDTH, _ZERO_INT, _ZERO_FLOAT = range(6)
_SCHEMA, _HINT, _IS_FLOAT, _ZERO_IS_FLOAT, _CUSTOM = range(5)
_SPANS, _DELTAS, _COUNTS = 5, 7, 9  # two each: negative, positive


def decode_histogram(message: bytes) -> FloatHistogram:
    """Raises InvalidHistogram where the message is malformed, too long, or its spans do not fit its buckets.
    What Prometheus refuses beyond that is told by ``check_histogram``."""
    return _decoded(message)[0]


def check_histogram(message: bytes) -> None:
    """What the way in must refuse: all that ``decode_histogram`` does, and histograms that contradict
    themselves (counts that do not add up, bounds that do not ascend). Raises InvalidHistogram."""
    h, is_float = _decoded(message)
    validate_histogram(h, integral=not is_float)


def _decoded(message: bytes) -> tuple[FloatHistogram, bool]:
    if len(message) > MAX_BYTES:
        raise InvalidHistogram(f"the histogram has {len(message)} bytes, at most {MAX_BYTES} are taken")
    raw = np.frombuffer(bytes(message), np.uint8)
    room = len(raw) + 1
    bits, sizes = np.zeros(6, np.uint64), np.zeros(11, np.int64)
    spans, counts, custom = np.empty((4, room), np.int64), np.empty((2, room)), np.empty(room)
    index = np.empty((2, room), np.int32)
    error = _decode(raw, bits, sizes, spans, counts, custom, index)
    if error:
        raise InvalidHistogram(_TEXTS[error])
    return _built(bits, sizes, counts, custom, index), bool(sizes[_IS_FLOAT])


def warm_up() -> None:
    """Compiles the kernels of native histograms, or loads them from the cache."""
    h = decode_histogram(encode_histogram(FloatHistogram(positive=Side.at(1, np.ones(2)), count=2.0)))
    h.add(h)
    h.detect_reset(h)
    kahan_add(h, None, h)
    h.rows()


def _built(bits, sizes, counts, custom, index) -> FloatHistogram:  # type: ignore[no-untyped-def]
    schema, hint = int(sizes[_SCHEMA]), int(sizes[_HINT])
    if schema != CUSTOM_SCHEMA and not MIN_SCHEMA <= schema <= MAX_KNOWN_SCHEMA:
        raise InvalidHistogram(
            f"histogram has an invalid schema, which must be between {MIN_SCHEMA} and {MAX_SCHEMA} for exponential "
            f"buckets, or {CUSTOM_SCHEMA} for custom buckets, got schema {schema}"
        )
    floats = bits.view(np.float64)
    place = _COUNTS if sizes[_IS_FLOAT] else _DELTAS
    negative, positive = (_side(index[k], counts[k], int(sizes[place + k])) for k in range(2))
    target = schema if schema == CUSTOM_SCHEMA else min(schema, MAX_SCHEMA)
    return FloatHistogram(
        schema=target,
        count=float(floats[_COUNT_FLOAT]) if sizes[_IS_FLOAT] else float(bits[_COUNT_INT]),
        sum=float(floats[_SUM]),
        zero_threshold=float(floats[_ZERO_WIDTH]),
        zero_count=float(floats[_ZERO_FLOAT]) if sizes[_ZERO_IS_FLOAT] else float(bits[_ZERO_INT]),
        positive=positive.reduced(schema, target),
        negative=negative.reduced(schema, target),
        custom_values=custom[: sizes[_CUSTOM]].copy() if sizes[_CUSTOM] else NO_VALUES,
        hint=HINTS[hint] if hint < len(HINTS) else CounterReset.UNKNOWN,
    )


def _side(index, counts, size: int) -> Side:  # type: ignore[no-untyped-def]
    return Side(index[:size].copy(), counts[:size].copy()) if size else EMPTY_SIDE


@njit(cache=True, nogil=True)
def _signed(value):  # type: ignore[no-untyped-def]
    """Zigzag."""
    return np.int64(value >> np.uint64(1)) ^ -np.int64(value & np.uint64(1))


@njit(cache=True, nogil=True)
def _decode(raw, bits, sizes, spans, counts, custom, index):  # type: ignore[no-untyped-def]
    """Fills the columns: ``spans`` rows 0 and 1 are gap and length of the negative side, 2 and 3 of the
    positive one; ``counts`` and ``index`` have the negative side first. Returns an error."""
    scratch = np.empty((2, counts.shape[1]), np.int64)
    error = _scan(raw, bits, sizes, spans, counts, scratch, custom)
    if error != OK:
        return error
    for k in range(2):
        size = sizes[_COUNTS + k] if sizes[_IS_FLOAT] else sizes[_DELTAS + k]
        if not sizes[_IS_FLOAT]:
            total = np.int64(0)
            for i in range(size):
                total += scratch[k, i]
                counts[k, i] = np.float64(total)
        for i in range(size):
            if counts[k, i] < 0:
                return NEGATIVE
        error = _place(spans[2 * k], spans[2 * k + 1], sizes[_SPANS + k], size, index[k])
        if error != OK:
            return error
    return OK


@njit(cache=True, nogil=True)
def _place(gaps, lengths, span_count, size, index):  # type: ignore[no-untyped-def]
    """The index of each of ``size`` buckets."""
    at, filled = np.int64(0), 0
    for s in range(span_count):
        if s > 0 and gaps[s] < 0:
            return SPAN_GAP
        at += gaps[s]
        if filled + lengths[s] > size:
            return SPAN_LENGTH
        if at < -_MAX_INDEX or at + lengths[s] > _MAX_INDEX:
            return FAR
        for _ in range(lengths[s]):
            index[filled] = at
            filled += 1
            at += 1
    return OK if filled == size else SPAN_LENGTH


@njit(cache=True, nogil=True)
def _scan(raw, bits, sizes, spans, counts, deltas, custom):  # type: ignore[no-untyped-def]
    pos, end = np.int64(0), np.int64(len(raw))
    while pos < end:
        tag, pos = checked_varint(raw, pos, end)
        if pos < 0:
            return BROKEN
        field, wire = np.int64(tag >> np.uint64(3)), np.int64(tag & np.uint64(7))
        content = np.uint64(0)
        stop = pos
        if wire == 0:
            content, pos = checked_varint(raw, pos, end)
            if pos < 0:
                return BROKEN
        elif wire == 1:
            if end - pos < 8:
                return BROKEN
            content = little64(raw, pos)
            pos += 8
        elif wire == 2:
            size, pos = checked_varint(raw, pos, end)
            if pos < 0 or size > np.uint64(end - pos):
                return BROKEN
            stop = pos + np.int64(size)
            if not _part(raw, pos, stop, field, sizes, spans, counts, deltas, custom):
                return BROKEN
            pos = stop
            continue
        elif wire == 5:
            if end - pos < 4:
                return BROKEN
            pos += 4
            continue
        else:
            return BROKEN
        if not _single(field, wire, content, bits, sizes, counts, deltas, custom):
            return BROKEN
    return OK


@njit(cache=True, nogil=True)
def _single(field, wire, content, bits, sizes, counts, deltas, custom):  # type: ignore[no-untyped-def]
    """One number; False where it has another wire type than in the message."""
    is_fixed = field in (2, 3, 5, 7, 10, 13, 16)
    if field == 0 or (field <= 16 and is_fixed != (wire == 1)):
        return False
    if field == 1:
        bits[_COUNT_INT] = content
        sizes[_IS_FLOAT] = 0
    elif field == 2:
        bits[_COUNT_FLOAT] = content
        sizes[_IS_FLOAT] = 1
    elif field == 3:
        bits[_SUM] = content
    elif field == 4:
        sizes[_SCHEMA] = _signed(content)
    elif field == 5:
        bits[_ZERO_WIDTH] = content
    elif field == 6:
        bits[_ZERO_INT] = content
        sizes[_ZERO_IS_FLOAT] = 0
    elif field == 7:
        bits[_ZERO_FLOAT] = content
        sizes[_ZERO_IS_FLOAT] = 1
    elif field in (9, 12):
        k = 0 if field == 9 else 1
        deltas[k, sizes[_DELTAS + k]] = _signed(content)
        sizes[_DELTAS + k] += 1
    elif field in (10, 13):
        k = 0 if field == 10 else 1
        counts.view(np.uint64)[k, sizes[_COUNTS + k]] = content
        sizes[_COUNTS + k] += 1
    elif field == 14:
        sizes[_HINT] = np.int64(min(content, np.uint64(1 << 31)))
    elif field == 16:
        custom.view(np.uint64)[sizes[_CUSTOM]] = content
        sizes[_CUSTOM] += 1
    return field not in (8, 11)


@njit(cache=True, nogil=True)
def _part(raw, pos, stop, field, sizes, spans, counts, deltas, custom):  # type: ignore[no-untyped-def]
    """A span or packed numbers; False where they are malformed."""
    if field in (8, 11):
        return _span(raw, pos, stop, 0 if field == 8 else 1, sizes, spans)
    if field in (9, 12):
        k = 0 if field == 9 else 1
        while pos < stop:
            content, pos = checked_varint(raw, pos, stop)
            if pos < 0:
                return False
            deltas[k, sizes[_DELTAS + k]] = _signed(content)
            sizes[_DELTAS + k] += 1
        return True
    if field in (10, 13, 16):
        if (stop - pos) % 8:
            return False
        while pos < stop:
            content = little64(raw, pos)
            pos += 8
            if field == 16:
                custom.view(np.uint64)[sizes[_CUSTOM]] = content
                sizes[_CUSTOM] += 1
            else:
                k = 0 if field == 10 else 1
                counts.view(np.uint64)[k, sizes[_COUNTS + k]] = content
                sizes[_COUNTS + k] += 1
        return True
    return field > 16


@njit(cache=True, nogil=True)
def _span(raw, pos, stop, k, sizes, spans):  # type: ignore[no-untyped-def]
    gap, length = np.int64(0), np.int64(0)
    while pos < stop:
        tag, pos = checked_varint(raw, pos, stop)
        if pos < 0 or tag & np.uint64(7) != 0:
            return False
        content, pos = checked_varint(raw, pos, stop)
        if pos < 0:
            return False
        if tag == 8:
            gap = np.int64(np.int32(_signed(content)))
        elif tag == 16:
            length = np.int64(content & np.uint64(0xFFFFFFFF))
    s = sizes[_SPANS + k]
    spans[2 * k, s] = gap
    spans[2 * k + 1, s] = length
    sizes[_SPANS + k] += 1
    return True


def encode_histogram(h: FloatHistogram, time_ms: int = 0) -> bytes:
    """As a float histogram. What ``decode_histogram`` gives back is the same, empty buckets included."""
    out = bytearray(b"\x11" + _F64.pack(h.count) + b"\x19" + _F64.pack(h.sum))
    out += b"\x20" + varint(zigzag(h.schema))
    if not h.custom:
        out += b"\x29" + _F64.pack(h.zero_threshold) + b"\x39" + _F64.pack(h.zero_count)
    for span_tag, count_tag, side in ((b"\x42", b"\x52", h.negative), (b"\x5a", b"\x6a", h.positive)):
        for gap, length in spans_of(side):
            span = b"\x08" + varint(zigzag(gap)) + b"\x10" + varint(length)
            out += span_tag + varint(len(span)) + span
        out += _packed(count_tag, side.count)
    out += b"\x70" + varint(HINTS.index(h.hint)) + b"\x78" + varint(time_ms)
    return bytes(out + _packed(b"\x82\x01", h.custom_values))


def spans_of(side: Side) -> list[tuple[int, int]]:
    """``(gap, length)`` of each run of buckets; the first gap is the first index."""
    if not len(side):
        return []
    index = side.index.astype(np.int64)
    starts = np.flatnonzero(np.diff(index, prepend=index[0] - 2) != 1)
    lengths = np.diff(starts, append=len(index))
    ends = index[starts] + lengths
    gaps = index[starts] - np.concatenate([[0], ends[:-1]])
    return list(zip(gaps.tolist(), lengths.tolist(), strict=True))


def _packed(tag: bytes, numbers: F64) -> bytes:
    content = numbers.astype("<f8", copy=False).tobytes()
    return tag + varint(len(content)) + content if content else b""


_F64 = struct.Struct("<d")
