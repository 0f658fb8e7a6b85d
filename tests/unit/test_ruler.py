"""The ruler with a layer that answers queries from a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from actors.ruler import Ruler, Rules, read_groups
from agent.errors import Overloaded
from agent.promql.errors import ExecutionError
from agent.promql.rule_groups import RuleSample, RuleWrite
from agent.promql.rules import RuleFileError
from agent.settings import RuleSettings, Settings

FILE = """
groups:
- name: g
  interval: 10s
  rules:
  - {record: a, expr: up}
  - {record: b, expr: a}
"""
START_MS = 1_700_000_000_000


class Layer:
    """Answers ``expr`` with ``answers[expr]``, or with what was recorded under that name."""

    def __init__(self) -> None:
        self.answers: dict[str, Sequence[RuleSample] | Exception] = {"up": [RuleSample((("job", "x"),), 1.0)]}
        self.writes: list[tuple[int, dict[str, float]]] = []
        self.away = False
        self.event_ms = START_MS

    async def now_ms(self, tenant: str) -> int:
        return self.event_ms

    async def query(self, tenant: str, expr: str, time_ms: int) -> Sequence[RuleSample]:
        answer = self.answers.get(expr, [])
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def write(self, tenant: str, write: RuleWrite) -> None:
        if self.away:
            raise Overloaded("the gateway is away")
        for one in write.samples:
            self.answers[dict(one.labels)["__name__"]] = [one]
        self.writes.append((write.time_ms, {dict(s.labels)["__name__"]: s.value for s in write.samples}))

    async def close(self) -> None: ...


class Clock:
    now_s = START_MS / 1000

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def settings(tmp_path: Path) -> RuleSettings:
    (tmp_path / "a.yml").write_text(FILE)
    return RuleSettings(files=str(tmp_path / "*.yml"))


@pytest.fixture
def layer() -> Layer:
    return Layer()


def rules_of(settings: RuleSettings, layer: Layer, clock: Clock | None = None) -> Rules:
    rules = Rules(settings, layer, clock or Clock())
    rules.use(read_groups(settings))
    return rules


async def test_a_rule_sees_what_the_one_before_wrote(settings: RuleSettings, layer: Layer) -> None:
    rules = rules_of(settings, layer)
    (run,) = rules.runs.values()
    await rules.evaluate(run, START_MS)
    assert layer.writes == [(START_MS, {"a": 1.0}), (START_MS, {"b": 1.0})]
    assert [state.health for state in run.rules] == ["ok", "ok"]


async def test_a_query_that_fails_is_told_and_the_others_go_on(settings: RuleSettings, layer: Layer) -> None:
    layer.answers["up"] = ExecutionError("no")
    rules = rules_of(settings, layer)
    (run,) = rules.runs.values()
    await rules.evaluate(run, START_MS)
    assert [(state.health, state.error) for state in run.rules] == [("err", "no"), ("ok", "")]
    assert rules.counts["failures"] == 1


async def test_samples_that_could_not_be_written_still_end(settings: RuleSettings, layer: Layer) -> None:
    rules = rules_of(settings, layer)
    (run,) = rules.runs.values()
    layer.away = True
    await rules.evaluate(run, START_MS)
    assert run.rules[0].error == "the gateway is away"
    layer.away, layer.answers["up"] = False, []
    await rules.evaluate(run, START_MS + 10_000)
    assert [set(samples) for _, samples in layer.writes] == [{"a"}, {"b"}]


async def test_missed_slots_are_skipped_by_the_wall_clock(settings: RuleSettings, layer: Layer) -> None:
    clock = Clock()
    rules = rules_of(settings, layer, clock)
    (run,) = rules.runs.values()
    await rules.evaluate_due(run)
    clock.now_s += 30
    await rules.evaluate_due(run)
    assert len({time_ms for time_ms, _ in layer.writes}) == 1
    assert rules.counts["missed"] == 2


async def test_every_slot_is_evaluated_by_event_time(settings: RuleSettings, layer: Layer) -> None:
    rules = rules_of(replace(settings, clock="event"), layer)
    (run,) = rules.runs.values()
    await rules.evaluate_due(run)
    layer.event_ms += 30_000
    await rules.evaluate_due(run)
    times = sorted({time_ms for time_ms, _ in layer.writes})
    assert [later - before for before, later in pairwise(times)] == [10_000, 10_000]


async def test_a_group_that_did_not_change_goes_on(settings: RuleSettings, layer: Layer) -> None:
    rules = rules_of(settings, layer)
    (run,) = rules.runs.values()
    assert rules.use(read_groups(settings)) == []
    assert list(rules.runs.values()) == [run]
    assert rules.use([]) == [run]


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(RuleFileError, match=r"there is no such file"):
        read_groups(RuleSettings(files=str(tmp_path / "a.yml")))


def test_a_pattern_may_match_nothing(tmp_path: Path) -> None:
    assert read_groups(RuleSettings(files=str(tmp_path / "*.yml"))) == ()


async def test_the_actor_starts_shows_its_rules_and_stops(settings: RuleSettings, layer: Layer) -> None:
    ruler = Ruler(replace(Settings(), rules=settings), lambda _: layer)
    health = await ruler.start()
    assert (health.state, health.figures["rule_groups"], health.figures["rules"]) == ("ready", 1.0, 2.0)
    (group,) = await ruler.rules("default")
    assert [rule["name"] for rule in group["rules"]] == ["a", "b"]
    assert await ruler.rules("other") == []
    await ruler.stop()


async def test_a_wrong_file_fails_the_start_with_its_problems(tmp_path: Path, layer: Layer) -> None:
    (tmp_path / "a.yml").write_text("groups: [{name: g, rules: [{record: a}]}]")
    ruler = Ruler(replace(Settings(), rules=RuleSettings(files=str(tmp_path / "a.yml"))), lambda _: layer)
    health = await ruler.start()
    assert health.state == "failed"
    assert "field 'expr' must be set" in health.detail
    await ruler.stop()
