"""Codes of the texts that repeat: span names, log templates."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from agent.telemetry.frames import I32, U64
from agent.windows.hashindex import HashIndex

OTHER = "…other"
TEXT_BYTES = 120  # of an entry with its string, about


class Texts:
    """Codes of texts by hash; past ``limit`` everything is ``…other`` (code 0)."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._index = HashIndex(limit)
        self.texts: list[str] = [OTHER]
        self._table: tuple[str, ...] = ()

    @property
    def full(self) -> bool:
        return len(self._index) >= self._limit

    @property
    def nbytes(self) -> int:
        return self._index.nbytes + TEXT_BYTES * len(self.texts)

    def codes(self, hashes: U64, text_of: Callable[[int], str]) -> I32:
        codes, new_rows = self._index.codes(hashes)
        self.texts.extend(text_of(int(row)) for row in new_rows)
        return np.asarray(codes + np.int32(1), np.int32)

    def table(self) -> tuple[str, ...]:
        """The texts by code; the same tuple until there are new ones."""
        if len(self._table) != len(self.texts):
            self._table = tuple(self.texts)
        return self._table
