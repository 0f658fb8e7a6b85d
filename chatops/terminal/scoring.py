"""How well a ranking names the injected fault: AS@k, the share of cases where it is among the first k.

Ties share the worst rank, so a method that gives everything the same score gains nothing by it. A case in which
the culprit is not named at all has rank ``None`` and counts as missed.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import TypeVar

CUTS = (1, 3, 5)

Name = TypeVar("Name", bound=Hashable)


def rank_of(culprit: Name, scores: Mapping[Name, float]) -> int | None:
    """The rank of ``culprit``, the largest score first: how many score at least as much."""
    own = scores.get(culprit)
    return None if own is None else sum(score >= own for score in scores.values())


def best_scores(named: Iterable[tuple[Name, float]]) -> dict[Name, float]:
    """The largest score of each name."""
    best: dict[Name, float] = {}
    for name, score in named:
        best[name] = max(score, best.get(name, score))
    return best


def accuracy(ranks: Sequence[int | None]) -> dict[str, float]:
    """``{"AS@1": percent, ...}``, one decimal; 0 without cases."""
    count = max(len(ranks), 1)
    hits = {cut: sum(rank is not None and rank <= cut for rank in ranks) for cut in CUTS}
    return {f"AS@{cut}": round(100.0 * hit / count, 1) for cut, hit in hits.items()}
