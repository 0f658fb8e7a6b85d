"""How much of the log a window still needs, coarsely: stretches of the log and how young their samples are."""

from __future__ import annotations

from dataclasses import dataclass

STRETCH_BYTES = 1 << 20  # of log that are remembered as one


@dataclass(slots=True)
class _Stretch:
    start: int
    low: int  # start, or where the definitions lie that its records need
    youngest_ms: int


class LogPositions:
    def __init__(self) -> None:
        self._stretches: list[_Stretch] = []
        self._defined_since: int | None = None

    @property
    def low(self) -> int | None:
        """The lowest position still needed; None before the first record."""
        lows = [stretch.low for stretch in self._stretches]
        if self._defined_since is not None:
            lows.append(self._defined_since)
        return min(lows, default=None)

    @property
    def defined_since(self) -> int:
        """Where the newest record's definitions begin; 0 before the first."""
        return self._defined_since or 0

    def add(self, position: int, defined_since: int | None, youngest_ms: int | None) -> None:
        """A record was applied; ``youngest_ms`` is the newest time in it, None where it has none.
        ``defined_since`` None: reading it again defines its series, whatever lies before it."""
        if defined_since is not None:
            self._defined_since = defined_since
        if youngest_ms is None:
            return
        low = position if defined_since is None else min(position, defined_since)
        last = self._stretches[-1] if self._stretches else None
        if last and position - last.start < STRETCH_BYTES:
            last.low = min(last.low, low)
            last.youngest_ms = max(last.youngest_ms, youngest_ms)
        else:
            self._stretches.append(_Stretch(position, low, youngest_ms))

    def drop_before(self, time_ms: int) -> None:
        """Samples older than that no longer need the log."""
        self._stretches = [one for one in self._stretches if one.youngest_ms >= time_ms]
