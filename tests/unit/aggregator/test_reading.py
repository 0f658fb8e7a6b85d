from __future__ import annotations

import pickle

import pytest

from actors.aggregator.reading import NS, BadRequest, check_known, parse_number, parse_tenant, parse_time_ns

NOW_NS = 1_700_000_000 * NS


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("now", 1_700_000_000),
        ("now-15m", 1_700_000_000 - 900),
        ("now - 1h30m", 1_700_000_000 - 5400),
        ("now+1.5s", 1_700_000_001.5),
        ("now-1d", 1_700_000_000 - 86400),
        ("now-250ms", 1_699_999_999.75),
        ("1674982200", 1_674_982_200),
        ("1674982200.25", 1_674_982_200.25),
        ("2023-01-29T08:50:00Z", 1_674_982_200),
        ("2023-01-29T08:50:00", 1_674_982_200),
        ("2023-01-29T09:50:00+01:00", 1_674_982_200),
        ("2023-01-29T09:50:00 01:00", 1_674_982_200),
        ("2023-01-29 08:50:00.5Z", 1_674_982_200.5),
    ],
)
def test_times(text: str, seconds: float) -> None:
    assert parse_time_ns("at", text, NOW_NS) == pytest.approx(seconds * NS, abs=1_000, rel=0)


@pytest.mark.parametrize(
    "text",
    ["", "yesterday", "nan", "inf", "-5", "1e30", "now-", "now-5", "now*2", "2023-13-01", "1674982200000"],
)
def test_what_is_no_time(text: str) -> None:
    with pytest.raises(BadRequest) as refused:
        parse_time_ns("at", text, NOW_NS)
    assert "at" in refused.value.message
    assert "RFC 3339" in refused.value.hint


@pytest.mark.parametrize("text", ["", "a/b", "-a", "x" * 65, "ü"])
def test_what_is_no_tenant(text: str) -> None:
    with pytest.raises(BadRequest):
        parse_tenant(text)


@pytest.mark.parametrize("text", ["nan", "x", "0", "11"])
def test_numbers_out_of_range(text: str) -> None:
    with pytest.raises(BadRequest, match=r"step"):
        parse_number("step", text, 1, 10)


def test_unknown_names_get_the_list() -> None:
    with pytest.raises(BadRequest) as refused:
        check_known({"strat": ""}, ("start", "end"))
    assert refused.value.hint == "known here: start, end"


def test_refusals_pickle() -> None:
    error = pickle.loads(pickle.dumps(BadRequest("a", "b", "c")))
    assert (error.reason, error.message, error.hint) == ("a", "b", "c")
