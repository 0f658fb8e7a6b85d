"""Settings of root-cause analysis. The defaults are the method's constants (docs/root-cause.md)."""

from __future__ import annotations

from dataclasses import dataclass

from agent.errors import SettingsError


@dataclass(frozen=True, slots=True)
class RootCauseSettings:
    """``threshold``: the confidence below which no cause is named. ``segment_s``: the grain of the
    baseline; what is learned is cut into segments this long. ``block_s``: segments that lie in one
    block of this length count as one when the richest is left out. ``keep_s`` and ``max_segments``
    bound what the baseline remembers, ``max_keys`` what one segment may hold. ``use_segments``: how
    many segments, the nearest in time, are read for a question. ``settle_s``: how long after an
    excluded stretch its neighbourhood stays out of the baseline."""

    threshold: float = 0.5
    window_s: float = 120.0
    segment_s: float = 20.0
    block_s: float = 180.0
    keep_s: float = 6 * 3600.0
    max_segments: int = 1200
    max_keys: int = 50_000
    use_segments: int = 180
    guard_s: float = 5.0
    settle_s: float = 180.0
    scarce_s: float = 300.0
    max_causes: int = 5

    def __post_init__(self) -> None:
        if not 0.0 < self.threshold <= 1.0:
            raise SettingsError("rootcause.threshold", self.threshold, "a number above 0, at most 1")
        for key in ("window_s", "segment_s", "block_s", "keep_s", "max_segments", "max_keys", "use_segments"):
            if getattr(self, key) <= 0:
                raise SettingsError(f"rootcause.{key}", getattr(self, key), "a number above 0")
