from __future__ import annotations

import pytest

from chatops.terminal.status import Rates, duration, number


def status(total: float) -> dict[str, object]:
    return {"actors": [{"name": "stream-0", "figures": {"spans_total": total, "series": 4.0}}]}


def test_rates_need_two_looks() -> None:
    rates = Rates()
    rates.look(status(100), 10.0)
    assert rates.per_s == {}
    rates.look(status(300), 12.0)
    assert rates.per_s == {"stream-0": {"spans": 100.0}}


def test_a_restarted_actor_has_no_negative_rate() -> None:
    rates = Rates()
    rates.look(status(100), 10.0)
    rates.look(status(3), 11.0)
    assert rates.per_s == {"stream-0": {"spans": 0.0}}


@pytest.mark.parametrize(("value", "text"), [(3, "3"), (1_500, "1.5k"), (2.5e6, "2.5M"), (7e9, "7.0G")])
def test_numbers(value: float, text: str) -> None:
    assert number(value) == text


@pytest.mark.parametrize(("seconds", "text"), [(-1, "0s"), (59, "59s"), (61, "1m01s"), (3_700, "1h01m")])
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text
