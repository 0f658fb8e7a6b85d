from __future__ import annotations

import pytest

from agent.rootcause.question import parse

SERVICES = ("cart", "checkout", "ts-basic-service", "cart-cache", "paymentservice")
CASES = {
    "none": ("why is latency up?", None, 0.0),
    "named": ("Why is Checkout slow?", "checkout", 0.0),
    "the longest": ("is cart-cache to blame", "cart-cache", 0.0),
    "without its end": ("what about ts-basic today", "ts-basic-service", 0.0),
    "only whole words": ("the cartoon is slow", None, 0.0),
    "minutes ago": ("why was cart slow 15 minutes ago?", "cart", 900.0),
    "an hour ago": ("what happened an hour ago", None, 3600.0),
    "seconds": ("30s ago", None, 30.0),
    "no time": ("it took 15 minutes", None, 0.0),
}


@pytest.mark.parametrize(("text", "service", "ago_s"), CASES.values(), ids=CASES)
def test_reads_what_is_asked(text: str, service: str | None, ago_s: float) -> None:
    scope = parse(text, SERVICES)
    assert (scope.question, scope.service, scope.ago_s) == (text, service, ago_s)
