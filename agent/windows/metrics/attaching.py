"""Which series of a window lie in the blocks that a restart finds."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numba import njit

from agent.telemetry.frames import I32, U64
from agent.telemetry.hashing import hash_bytes
from agent.windows.metrics.blocks import BlockFile
from agent.windows.metrics.recent import Recent
from agent.windows.metrics.sealed import Block, make_block, padded


@njit(cache=True, nogil=True)
def _hashes(raw, off, size, out):  # type: ignore[no-untyped-def]
    for i in range(len(off)):
        out[i] = hash_bytes(raw, off[i], size[i])


def attach(recent: Recent, files: Sequence[BlockFile]) -> list[Block]:
    """The blocks with the ids of their series, which are added where they are not known. A group with the
    same labels as one before is not read again."""
    known: dict[int, I32] = {}
    blocks: list[Block] = []
    for file in files:
        digests = file.column("labels_hash").tolist()
        lows, highs = file.column("min_time_ms"), file.column("max_time_ms")
        parts = []
        for group, digest in enumerate(digests):
            if digest not in known:
                known[digest] = _adopted(recent, file, group)
            ids = known[digest]
            parts.append(ids)
            recent.head.seen_between(ids[ids >= 0], int(lows[group]), int(highs[group]))
        blocks.append(make_block(file, padded(parts), blocks[-1] if blocks else None))
    return blocks


def _adopted(recent: Recent, file: BlockFile, group: int) -> I32:
    raw, off, size = file.labels(group)
    hashes: U64 = np.empty(len(off), np.uint64)
    _hashes(raw, off, size, hashes)
    return recent.adopt(hashes, raw, off, size)
