"""Memory that is there when it is touched."""

from agent.windows.metrics.arena import physical_bytes, reserve


def test_much_more_than_is_touched_costs_nothing() -> None:
    words = reserve(physical_bytes())
    words[0] = words[len(words) - 1] = 7
    assert words[1] == 0
    assert words.ctypes.data % 64 == 0
