"""A trace's spans in the order a person reads them."""

from __future__ import annotations

from typing import Any


def depth_first(spans: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Each span after its parent, children by start, with its ``depth``. A span sent twice stands once;
    spans in a cycle are roots each, so that every span is there."""
    held = {str(span.get("span_id")): span for span in sorted(spans, key=_start)}
    children: dict[str, list[str]] = {}
    for span_id, span in held.items():
        parent = _parent(span)
        children.setdefault(parent if parent in held else "", []).append(span_id)
    ordered: dict[str, int] = {}
    _walk(children.get("", []), children, ordered)
    _walk([span_id for span_id in held if span_id not in ordered], {}, ordered)
    return [{**held[span_id], "depth": depth} for span_id, depth in ordered.items()]


def _walk(roots: list[str], children: dict[str, list[str]], ordered: dict[str, int]) -> None:
    waiting = [(span_id, 0) for span_id in reversed(roots)]
    while waiting:  # a loop, because a trace may be deeper than Python's stack
        span_id, depth = waiting.pop()
        ordered[span_id] = depth
        waiting += [(child, depth + 1) for child in reversed(children.get(span_id, []))]


def _start(span: dict[str, Any]) -> float:
    return float(span.get("start_s") or 0)


def _parent(span: dict[str, Any]) -> str:
    return str(span.get("parent_id") or "")
