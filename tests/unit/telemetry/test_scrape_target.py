"""From discovered labels to targets."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from agent.telemetry.relabel import Action, Rule
from agent.telemetry.scrape_config import JobConfig, TargetGroup
from agent.telemetry.scrape_target import Dropped, Refused, Target, next_scrape_s, target_of, targets_of

JOB = JobConfig("shop", 15.0, 10.0)


def made(job: JobConfig = JOB, **labels: str) -> Target | Dropped | Refused:
    return target_of(job, {"__address__": "a:80", **labels})


def scraped(job: JobConfig = JOB, **labels: str) -> Target:
    target = made(job, **labels)
    assert isinstance(target, Target)
    return target


def test_defaults() -> None:
    target = scraped(env="x", __meta_thing="y", empty="")
    assert target.labels == (("env", "x"), ("instance", "a:80"), ("job", "shop"))
    assert target.url == "http://a:80/metrics"
    assert target.discovered["__scrape_interval__"] == "15s"
    assert target.discovered["__meta_thing"] == "y"


def test_labels_decide_the_url_and_the_times() -> None:
    job = replace(JOB, params={"module": ("http", "b"), "x": ("1",)})
    target = scraped(
        job, __scheme__="https", __metrics_path__="probe", __param_module="tcp me", __scrape_interval__="1m"
    )
    assert target.url == "https://a:80/probe?module=tcp+me&module=b&x=1"
    assert target.interval_s == 60.0


def test_relabelling_moves_a_target_and_drops_another() -> None:
    rules = (
        Rule(source_labels=("__param_target",), target_label="__address__"),
        Rule(Action.DROP, ("env",), regex="test"),
    )
    job = replace(JOB, relabel=rules)
    assert scraped(job, __param_target="b:1").url.startswith("http://b:1/")
    assert isinstance(made(job, __param_target="b:1", env="test"), Dropped)
    assert isinstance(made(job), Refused)


@pytest.mark.parametrize(
    ("labels", "reason"),
    [
        ({"__address__": ""}, "no address"),
        ({"__address__": "a/b"}, "not a valid address"),
        ({"__address__": "u:p@h"}, "not a valid address"),
        ({"__scheme__": "ftp"}, "scheme"),
        ({"__scrape_interval__": "x"}, "durations"),
        ({"__scrape_timeout__": "1h"}, "greater"),
    ],
)
def test_refused(labels: dict[str, Any], reason: str) -> None:
    found = made(JOB, **labels)
    assert isinstance(found, Refused)
    assert reason in found.reason


def test_labels_of_a_target_win_over_those_of_its_group() -> None:
    group = TargetGroup(
        "0", ({"__address__": "a:1", "env": "own"}, {"__address__": "[::1]:2"}), {"env": "all"}
    )
    found = [dict(one.labels)["env"] for one in targets_of(JOB, [group]) if isinstance(one, Target)]
    assert found == ["own", "all"]


def test_the_key_is_that_of_labels_and_url_only() -> None:
    assert scraped().key == scraped(__meta_pod="x", __scrape_interval__="1m").key
    assert len({scraped().key, scraped(env="x").key, scraped(__metrics_path__="/x").key}) == 3


def test_targets_are_spread_over_the_interval() -> None:
    keys = [scraped(env=str(i)).key for i in range(200)]
    offsets = sorted(next_scrape_s(key, 15.0, 1000.0) - 1000.0 for key in keys)
    assert 0.0 <= offsets[0] < 1.0
    assert 14.0 < offsets[-1] < 15.0
    due_s = next_scrape_s(keys[0], 15.0, 1000.0)
    assert next_scrape_s(keys[0], 15.0, due_s + 0.001) == pytest.approx(due_s + 15.0)
