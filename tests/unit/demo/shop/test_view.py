from __future__ import annotations

import math
import time

from demo.shop.view import Served, Visitors, summarise


def test_nothing_seen_has_no_quantiles() -> None:
    seen = summarise([])
    assert (seen.requests, seen.failed) == (0, 0)
    assert math.isnan(seen.p50_ms)


def test_a_failure_is_a_server_error_or_no_answer() -> None:
    served = [Served(0, "home", 1, status) for status in (200, 404, 409, 500, 502, 0)]
    assert summarise(served).failed == 3


def test_each_route_is_summarised_by_itself() -> None:
    served = [Served(0, "home", ms, 200) for ms in (1, 2, 3)] + [Served(0, "ask", 100, 502)]
    seen = summarise(served)
    assert seen.by_route["home"].p50_ms == 2
    assert (seen.by_route["ask"].requests, seen.by_route["ask"].failed) == (1, 1)


def test_only_the_last_seconds_count() -> None:
    visitors = Visitors()
    now_s = time.time()
    visitors.add([[now_s - 60, "home", 5, 200], [now_s - 1, "home", 7, 200]])
    assert visitors.last(10).p50_ms == 7
