from __future__ import annotations

import pytest

from chatops.terminal.scoring import accuracy, best_scores, rank_of


@pytest.mark.parametrize(
    ("scores", "rank"),
    [
        ({"a": 0.5, "b": 0.3}, 1),
        ({"a": 0.3, "b": 0.5}, 2),
        ({"a": 0.5, "b": 0.5, "c": 0.5}, 3),
        ({"a": 0.5, "b": 0.5, "c": 0.9}, 3),
        ({"a": 0.0, "b": 0.0}, 2),
        ({"b": 0.5}, None),
        ({}, None),
    ],
    ids=["first", "second", "ties share the worst", "tie for second", "all zero", "not named", "no cause"],
)
def test_rank(scores: dict[str, float], rank: int | None) -> None:
    assert rank_of("a", scores) == rank


def test_best_scores() -> None:
    assert best_scores([("a", 0.1), ("b", 0.2), ("a", 0.4), ("a", 0.3)]) == {"a": 0.4, "b": 0.2}


@pytest.mark.parametrize(
    ("ranks", "expected"),
    [
        ([], (0.0, 0.0, 0.0)),
        ([1, 1, 2, 4], (50.0, 75.0, 100.0)),
        ([None, 1, 6], (33.3, 33.3, 33.3)),
    ],
)
def test_accuracy(ranks: list[int | None], expected: tuple[float, ...]) -> None:
    assert tuple(accuracy(ranks).values()) == expected
