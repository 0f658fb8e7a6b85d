"""Rendezvous hashing."""

from collections import Counter

from agent.windows.placement import owner

KEYS = [f"default\x1f\x1fservice-{i}" for i in range(2000)]


def test_sources_spread_evenly() -> None:
    counts = Counter(owner(key, 4) for key in KEYS)
    assert min(counts.values()) > 400


def test_another_stream_takes_its_share_and_moves_nothing_else() -> None:
    moved = [(owner(key, 4), owner(key, 5)) for key in KEYS]
    assert all(after in (before, 4) for before, after in moved)
    assert 300 < sum(after == 4 for _, after in moved) < 500
