"""One target over several scrapes: what goes to the gateway."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from agent.telemetry.relabel import Action, Rule
from agent.telemetry.scrape_config import JobConfig, Limits, Protocol
from agent.telemetry.scrape_result import Outcome, TargetScrapes, with_target_labels
from agent.telemetry.scrape_target import Target, target_of
from tests.unit.telemetry.write_requests import Request, is_stale, read_request

JOB = JobConfig("shop", 15.0, 10.0)
TEXT, OPENMETRICS = "text/plain; version=0.0.4", "application/openmetrics-text; version=1.0.0"
T = 1_700_000_000_000


class Scrapes:
    """A target and the time, which goes on by 15 s a scrape."""

    def __init__(self, external: dict[str, str] | None = None, **job: Any) -> None:
        config = replace(JOB, **job)
        target = target_of(config, {"__address__": "a:1"})
        assert isinstance(target, Target)
        self._scrapes, self.now_ms = TargetScrapes(config, target, external or {}), T
        self.outcome = Outcome(b"", 0)

    def taken(self, text: str, content_type: str = TEXT) -> Request:
        self.now_ms += 15_000
        self.outcome = self._scrapes.taken(text.encode(), content_type, self.now_ms, 0.25)
        return read_request(self.outcome.body)

    def failed(self) -> Request:
        self.now_ms += 15_000
        return read_request(self._scrapes.failed("refused", self.now_ms, 0.25).body)

    def gone(self) -> Request:
        self.now_ms += 15_000
        return read_request(self._scrapes.gone(self.now_ms).body)


def value(request: Request, name: str) -> float:
    ((_, _, found),) = request.named(name)
    return found


def reports(request: Request) -> list[float]:
    names = (
        "up",
        "scrape_duration_seconds",
        "scrape_samples_scraped",
        "scrape_samples_post_metric_relabeling",
        "scrape_series_added",
    )
    return [value(request, name) for name in names]


def test_samples_and_reports() -> None:
    scrapes = Scrapes(metric_relabel=(Rule(Action.DROP, ("__name__",), regex="c"),))
    request = scrapes.taken('a{b="x"} 1.5\nc 1\n')
    labels = {"__name__": "a", "b": "x", "instance": "a:1", "job": "shop"}
    assert request.named("a") == [(labels, T + 15_000, 1.5)]
    assert reports(request) == [1.0, 0.25, 2.0, 1.0, 1.0]
    assert reports(scrapes.taken('a{b="x"} 1.5\nd 1\n')) == [1.0, 0.25, 2.0, 2.0, 1.0]
    assert request.named("up")[0][0] == {"__name__": "up", "instance": "a:1", "job": "shop"}


def test_a_series_that_vanished_ends_once() -> None:
    scrapes = Scrapes()
    scrapes.taken("a 1\nb 1\n")
    assert is_stale(value(scrapes.taken("a 1\n"), "b"))
    assert scrapes.taken("a 1\n").named("b") == []
    again = scrapes.taken("a 1\nb 2\n")
    assert (value(again, "b"), reports(again)[-1]) == (2.0, 1.0)


def test_a_failure_ends_everything_once_and_recovery_adds_nothing() -> None:
    scrapes = Scrapes()
    scrapes.taken("a 1\n")
    first = scrapes.failed()
    assert is_stale(value(first, "a"))
    assert reports(first) == [0.0, 0.25, 0.0, 0.0, 0.0]
    assert scrapes.failed().named("a") == []
    assert reports(scrapes.taken("a 1\n")) == [1.0, 0.25, 1.0, 1.0, 0.0]


def test_a_target_that_is_gone_ends_its_reports_too() -> None:
    scrapes = Scrapes()
    scrapes.taken("a 1\n")
    request = scrapes.gone()
    assert len(request.samples) == 6
    assert all(is_stale(found) for _, _, found in request.samples)


def test_series_with_their_own_time_never_end() -> None:
    scrapes = Scrapes()
    scrapes.taken(f"a 1 {T}\n")
    assert scrapes.taken("").named("a") == []
    assert scrapes.failed().named("a") == []


@pytest.mark.parametrize(
    ("text", "content_type", "job", "error"),
    [
        ("a x\n", TEXT, {}, "line 1"),
        ("a 1\n", OPENMETRICS, {}, "# EOF"),
        ("a 1\n", "text/html", {}, "Content-Type 'text/html'"),
        ("a 1\nb 1\n", TEXT, {"limits": Limits(samples=1)}, "sample limit exceeded"),
        ('a{b="c"} 1\n', TEXT, {"limits": Limits(labels=3)}, "label_limit exceeded"),
        ('a{longer_name="c"} 1\n', TEXT, {"limits": Limits(label_name_length=9)}, "label_name_length_limit"),
        ('a{b="xxxxxxxxx"} 1\n', TEXT, {"limits": Limits(label_value_length=8)}, "label_value_length_limit"),
        ("a 1\n", TEXT, {"metric_relabel": (Rule(Action.LABELDROP, regex="__name__"),)}, "no metric name"),
    ],
)
def test_what_is_refused_leaves_no_sample(text: str, content_type: str, job: Any, error: str) -> None:
    scrapes = Scrapes(**job)
    request = scrapes.taken(text, content_type)
    assert error in scrapes.outcome.error
    assert len(request.samples) == 5
    assert value(request, "up") == 0.0


def test_the_configuration_may_name_a_format_for_those_who_say_none() -> None:
    assert value(Scrapes(fallback_protocol=Protocol.TEXT_0).taken("a 1\n", ""), "up") == 1.0


def test_a_series_twice_counts_once() -> None:
    scrapes = Scrapes(metric_relabel=(Rule(Action.LABELDROP, regex="b"),))
    request = scrapes.taken('a{b="1"} 1\na{b="2"} 2\n')
    assert value(request, "a") == 1.0
    assert reports(request) == [1.0, 0.25, 2.0, 2.0, 1.0]


def test_points_of_a_series_at_several_times_all_go() -> None:
    request = Scrapes().taken(f"a 1 {T}\na 2 {T + 1}\n")
    assert [(time_ms - T, found) for _, time_ms, found in request.named("a")] == [(0, 1.0), (1, 2.0)]


def test_external_labels_come_last() -> None:
    scrapes = Scrapes(external={"cluster": "eu", "job": "other"})
    labels = scrapes.taken("a 1\n").named("a")[0][0]
    assert (labels["cluster"], labels["job"]) == ("eu", "shop")


def test_metadata_and_exemplars_travel_when_they_are_new() -> None:
    scrapes = Scrapes()
    text = '# TYPE a counter\n# UNIT a s\n# HELP a some\na_total 1 # {b="c"} 0.5\n# EOF\n'
    request = scrapes.taken(text, OPENMETRICS)
    assert request.metadata == {"a": (1, "some", "s")}
    ((labels, own, found, time_ms),) = request.exemplars
    assert (dict(labels)["__name__"], own, found, time_ms) == ("a_total", (("b", "c"),), 0.5, T + 15_000)
    again = scrapes.taken(text, OPENMETRICS)
    assert (again.metadata, again.exemplars) == ({}, [])


def test_series_that_come_and_go_do_not_add_up() -> None:
    scrapes = Scrapes()
    for turn in range(6):
        request = scrapes.taken("a 1\n" + "".join(f"b{turn}_{i} 1\n" for i in range(500)))
        assert len(request.samples) == 506 + (500 if turn else 0)
    assert len(scrapes._scrapes._store) < 2600


@pytest.mark.parametrize(
    ("exposed", "honor", "expected"),
    [
        ({"n": "1"}, False, {"exported_n": "1", "n": "t"}),
        ({"n": "1"}, True, {"n": "1"}),
        ({"n": ""}, True, {}),
        ({"n": ""}, False, {"n": "t"}),
        ({"n": "1", "exported_n": "2"}, False, {"exported_exported_n": "1", "exported_n": "2", "n": "t"}),
    ],
)
def test_labels_that_both_have(exposed: dict[str, str], honor: bool, expected: dict[str, str]) -> None:
    assert with_target_labels(exposed, (("n", "t"),), honor) == expected
