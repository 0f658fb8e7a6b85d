"""How many rows a source may send."""

from __future__ import annotations

from collections.abc import Callable
from itertools import accumulate

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.settings import GatewaySettings, documented
from agent.telemetry.allowance import BUCKET_COLUMNS, BURST_S, Allowances, take

S = 10**9
START_NS = 1_700_000_000 * S
HIGHEST = next(int(meta.high or 0) for _, key, _, meta in documented() if key == "max_rows_per_source_per_s")
Ask = Callable[
    [int, int], int
]  # rows and nanoseconds since the start: how long to wait, 0 where they were taken


def of_kernel(rate: int) -> Ask:
    bucket = np.zeros(BUCKET_COLUMNS, np.int64)
    return lambda rows, at_ns: int(take(bucket, rows, rate, START_NS + at_ns))


def of_bodies(rate: int) -> Ask:
    made = Allowances[str](rate)

    def ask(rows: int, at_ns: int) -> int:
        short = made.spend({"a": rows}, START_NS + at_ns)
        return 0 if short is None else short.wait_ns

    return ask


both = pytest.mark.parametrize("made", [of_kernel, of_bodies], ids=["kernel", "bodies"])
rates = st.one_of(st.integers(1, 10), st.integers(1, HIGHEST), st.just(HIGHEST))
gaps_ns = st.lists(st.one_of(st.integers(1, 10), st.integers(1, S), st.integers(1, 10**18)), min_size=1)


def most_in_any_while(taken: list[tuple[int, int]], rate: int) -> int:
    """Of rows taken at times: by how many nanorows a while got more than flowed in during it."""
    most = running = last_ns = 0
    for rows, at_ns in taken:
        running = max(0, running - rate * (at_ns - last_ns)) + rows * S
        most, last_ns = max(most, running), at_ns
    return most


@both
@given(data=st.data(), rate=rates, gaps=gaps_ns)
def test_in_no_while_a_source_gets_more_than_a_full_bucket_and_what_flowed_in(
    made: Callable[[int], Ask], data: st.DataObject, rate: int, gaps: list[int]
) -> None:
    ask, taken = made(rate), []
    for at_ns in accumulate(gaps):
        rows = data.draw(st.integers(1, BURST_S * rate))
        if ask(rows, at_ns) == 0:
            taken.append((rows, at_ns))
    assert most_in_any_while(taken, rate) <= BURST_S * rate * S


@given(late_ns=st.lists(st.integers(0, BURST_S * S), min_size=20), rate=rates)
def test_threads_that_ask_in_another_order_fill_no_bucket_twice(late_ns: list[int], rate: int) -> None:
    ask, taken, latest_ns = of_bodies(rate), 0, 0
    for k, late in enumerate(late_ns):
        latest_ns = max(latest_ns, k * S - late)
        taken += 7 * rate if ask(7 * rate, k * S - late) == 0 else 0
    earliest_ns = min(k * S - late for k, late in enumerate(late_ns))
    assert taken * S <= BURST_S * rate * S + rate * (latest_ns - earliest_ns)


@both
@given(rate=rates, rows=st.integers(1, 2**40), gap_ns=st.integers(0, BURST_S * S))
def test_who_comes_when_told_gets_in_and_not_before(
    made: Callable[[int], Ask], rate: int, rows: int, gap_ns: int
) -> None:
    ask = made(rate)
    assert ask(BURST_S * rate, 0) == 0
    wait = ask(rows, gap_ns)
    if wait > 1:
        assert ask(rows, gap_ns + wait - 1) == 1
    assert wait == 0 or ask(rows, gap_ns + wait) == 0


@both
@pytest.mark.parametrize(
    ("rows", "at_s", "wait_s"),
    [(60, 0, 0), (61, 0, 0), (10_000, 0, 0), (1, 30, 0), (30, 30, 0), (31, 30, 1), (10_000, 30, 30)],
    ids=["all", "one more", "much more", "little", "half", "more than half", "much more than half"],
)
def test_a_full_bucket_lets_all_in_and_others_what_they_hold(
    made: Callable[[int], Ask], rows: int, at_s: int, wait_s: int
) -> None:
    ask = made(1)
    if at_s:
        ask(60, 0)
    assert ask(rows, at_s * S) == wait_s * S


@both
def test_who_took_more_than_a_full_bucket_pays_it_back(made: Callable[[int], Ask]) -> None:
    ask = made(2)
    assert ask(1120, 0) == 0
    assert ask(1, 499 * S) == 1.5 * S
    assert ask(1, 501 * S) == 0


@both
def test_the_highest_rate_overflows_nowhere(made: Callable[[int], Ask]) -> None:
    ask, body = made(HIGHEST), GatewaySettings().max_decoded_bytes
    assert ask(BURST_S * HIGHEST + body, 0) == 0
    assert ask(HIGHEST, 0) == (HIGHEST + body) * S // HIGHEST
    assert ask(BURST_S * HIGHEST, 10**18) == 0
    assert ask(HIGHEST, 10**18) == S


@both
@pytest.mark.parametrize("back_s", [1, 59, 61, 10**6])
def test_a_clock_that_goes_back_brings_nothing_and_takes_nothing_for_long(
    made: Callable[[int], Ask], back_s: int
) -> None:
    ask = made(1)
    ask(60, 0)
    assert ask(1, -back_s * S) > 0
    assert ask(1, (61 - back_s) * S) == 0


def test_what_was_turned_away_is_not_overtaken_by_what_comes_with_it() -> None:
    ask = of_kernel(1)
    assert ask(58, 0) == 0
    assert [ask(3, 0), ask(1, 0), ask(1, 1)] == [S, 2 * S, 0]


def test_of_a_body_with_a_source_that_is_short_nothing_is_taken() -> None:
    made = Allowances[str](1)
    made.spend({"a": 50, "b": 30}, START_NS)
    short = made.spend({"a": 20, "b": 50, "c": 60}, START_NS)
    assert short is not None
    assert (short.source, short.wait_ns) == ("b", 20 * S)
    assert made.spend({"a": 10, "b": 30, "c": 60}, START_NS) is None


@pytest.mark.parametrize(("spent", "known"), [(1, False), (60, True)], ids=["full again", "not full"])
def test_of_many_sources_those_that_are_full_again_are_forgotten(
    monkeypatch: pytest.MonkeyPatch, spent: int, known: bool
) -> None:
    monkeypatch.setattr("agent.telemetry.allowance.MAX_REMEMBERED", 4)
    made = Allowances[str](1)
    for at_s, source in ((0, "a"), (9, "b"), (9, "c"), (9, "d"), (10, "e")):
        made.spend({source: spent if source == "a" else 1}, START_NS + at_s * S)
    assert ("a" in made._buckets) is known


def test_where_too_many_sources_send_all_begin_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agent.telemetry.allowance.MAX_REMEMBERED", 4)
    made = Allowances[int](1)
    for source in range(100):
        assert made.spend({source: 60}, START_NS) is None
    assert len(made._buckets) <= 4
