from __future__ import annotations

from typing import Any

import pytest

from actors.aggregator.trees import depth_first


def span(name: str, parent: str, start: int = 0) -> dict[str, Any]:
    return {"span_id": name, "parent_id": parent, "start_s": start}


@pytest.mark.parametrize(
    ("spans", "expected"),
    [
        ([], []),
        ([span("c", "b", 3), span("a", "", 1), span("b", "a", 2)], [("a", 0), ("b", 1), ("c", 2)]),
        ([span("a", ""), span("y", "a", 5), span("x", "a", 2)], [("a", 0), ("x", 1), ("y", 1)]),
        ([span("a", "gone"), span("b", "a")], [("a", 0), ("b", 1)]),
        ([span("a", "b"), span("b", "a")], [("a", 0), ("b", 0)]),
        ([span("a", "a")], [("a", 0)]),
        ([span("a", ""), span("a", "")], [("a", 0)]),
    ],
    ids=["none", "chain", "by start", "lost parent", "cycle", "own parent", "twice"],
)
def test_order(spans: list[dict[str, Any]], expected: list[tuple[str, int]]) -> None:
    assert [(s["span_id"], s["depth"]) for s in depth_first(spans)] == expected


def test_a_deep_trace() -> None:
    chain = [span(str(n), str(n - 1) if n else "") for n in range(50_000)]
    assert depth_first(chain)[-1]["depth"] == 49_999
