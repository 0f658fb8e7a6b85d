"""From the bytes of an OTLP request to where its rows lie: what the three decoders have in common."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from agent.errors import Malformed, TooLarge
from agent.telemetry.batch import Signal
from agent.telemetry.frames import I64, U8
from agent.telemetry.otlp_schema import NUMBER, ROOT, SCHEMA, field_name
from agent.telemetry.wire import ERRORS, OK, check, index_items

Body = bytes | bytearray | memoryview | U8


@dataclass(frozen=True, slots=True)
class DecodeLimits:
    """What one body may hold. A row costs about 100 bytes of columns whatever its message weighs, so that
    a small body of empty messages would otherwise become a large batch."""

    max_body_bytes: int = 64 << 20
    max_rows: int = 1_000_000
    max_blocks: int = 100_000


DEFAULT_LIMITS = DecodeLimits()

_BLOCK = {Signal.SPANS: "ResourceSpans", Signal.LOGS: "ResourceLogs", Signal.METRICS: "ResourceMetrics"}
_ITEM = {Signal.SPANS: "Span", Signal.LOGS: "LogRecord", Signal.METRICS: "Metric"}


@dataclass(frozen=True, slots=True)
class Checked:
    """A body that was found well formed. ``counts`` as ``wire.check`` fills it; ``blocks`` and ``items`` as
    ``wire.index_items`` does."""

    raw: U8
    counts: I64
    blocks: I64
    items: I64

    def count(self, message: str) -> int:
        return int(self.counts[0, NUMBER[message]])


def checked(body: Body, signal: Signal, limits: DecodeLimits) -> Checked:
    """Validate a body and find its blocks and items. Raises Malformed with the position, TooLarge."""
    raw = _readable(body)
    if len(raw) > limits.max_body_bytes:
        raise TooLarge(
            "body_too_large", f"the body has {len(raw)} bytes, at most {limits.max_body_bytes} are taken"
        )
    counts = np.zeros((3, len(SCHEMA)), np.int64)
    error, position, message, field = check(raw, NUMBER[ROOT[signal]], SCHEMA, counts)
    if error != OK:
        raise Malformed(
            "malformed_protobuf", f"{ERRORS[error]} at byte {position} ({field_name(message, field)})"
        )
    blocks = int(counts[0, NUMBER[_BLOCK[signal]]])
    items = int(counts[0, NUMBER[_ITEM[signal]]])
    bounded("too_many_resources", blocks, limits.max_blocks)
    bounded("too_many_rows", items, limits.max_rows)
    found = Checked(raw, counts, np.empty((4, blocks), np.int64), np.empty((5, items), np.int64))
    index_items(raw, found.blocks, found.items)
    return found


def bounded(reason: str, got: int, limit: int) -> None:
    if got > limit:
        what = reason.removeprefix("too_many_")
        raise TooLarge(
            reason, f"the body holds {got} {what}, at most {limit} are taken: send smaller batches"
        )


def _readable(body: Body) -> U8:
    """The bytes as a read-only array, without a copy: one type, so that every kernel is compiled once."""
    raw = np.frombuffer(body, np.uint8)[:]
    raw.setflags(write=False)
    return raw
