"""Log templates: shapes that differ only in words that vary are one template.

A text with a ``Class#line`` token is of the template that this token names: the statement itself.
The others are merged like Drain does (He et al., ICWS 2017), over the few masked texts there are:
texts of equal length that share most of their tokens fall together. A template's id is the hash of
the first text seen of it, so it stays the same as the template widens.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from agent.rootcause.hashing import hash_text
from agent.telemetry.frames import U64
from agent.telemetry.shapes import MASK

_MASK = MASK.decode()
_MAX_TEXTS = 50_000
_SIMILAR = 0.6


class Templates:
    """Bounded: when more than ``_MAX_TEXTS`` texts came, the oldest half is forgotten, and comes back
    with a fresh id."""

    def __init__(self) -> None:
        self._ids: dict[str, int] = {}
        self._groups: dict[int, list[tuple[int, list[str]]]] = {}

    def ids(self, texts: Sequence[str], *, learn: bool) -> U64:
        """The template of each text. Without ``learn``, a text of no known template is one of its own
        and nothing is remembered."""
        return np.fromiter((self._id(text, learn) for text in texts), np.uint64)

    def state(self) -> dict[str, object]:
        """Plain data that ``from_state`` reads."""
        return {"ids": self._ids, "groups": list(self._groups.items())}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Templates:
        found = cls()
        found._ids = dict(state["ids"])
        found._groups = {size: [(i, list(words)) for i, words in group] for size, group in state["groups"]}
        return found

    def _id(self, text: str, learn: bool) -> int:
        known = self._ids.get(text)
        if known is not None:
            return known
        tokens = text.split()
        statement = " ".join(t for t in tokens if "#" in t and t[-1].isdigit())
        if statement:
            return hash_text(statement)
        for found, words in self._groups.get(len(tokens), []):
            if _similarity(words, tokens) >= _SIMILAR:
                if learn:
                    words[:] = [a if a == b else _MASK for a, b in zip(words, tokens, strict=True)]
                    self._remember(text, found)
                return found
        found = hash_text(text)
        if learn:
            self._groups.setdefault(len(tokens), []).append((found, tokens))
            self._remember(text, found)
        return found

    def _remember(self, text: str, found: int) -> None:
        self._ids[text] = found
        if len(self._ids) > _MAX_TEXTS:
            for old in list(self._ids)[: _MAX_TEXTS // 2]:
                del self._ids[old]
            kept = set(self._ids.values())
            groups = {k: [entry for entry in g if entry[0] in kept] for k, g in self._groups.items()}
            self._groups = {k: g for k, g in groups.items() if g}


def _similarity(words: Sequence[str], tokens: Sequence[str]) -> float:
    return sum(a == b for a, b in zip(words, tokens, strict=True)) / max(len(tokens), 1)
