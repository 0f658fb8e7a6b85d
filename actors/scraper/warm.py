"""The compiled kernels of a scrape, loaded (or compiled, once a machine) before the first target waits for them."""

from __future__ import annotations

from agent.telemetry.scrape_config import JobConfig, Protocol
from agent.telemetry.scrape_result import TargetScrapes
from agent.telemetry.scrape_target import Target

EXPOSITION = b'a{b="c"} 1.5 1000\nd 2\n'


def load_scrape() -> None:
    """Walks a small exposition through everything that is compiled."""
    target = Target("warm", (), {}, "", 1.0, 1.0)
    scrapes = TargetScrapes(JobConfig("warm", 1.0, 1.0, fallback_protocol=Protocol.TEXT_0), target, {})
    for now_ms in (1000, 2000):
        scrapes.taken(EXPOSITION, "", now_ms, 0.0)
    scrapes.gone(3000)
