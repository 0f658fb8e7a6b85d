"""The queries of rules, over the real engine and a series in memory."""

from __future__ import annotations

import pytest

from actors.aggregator.aggregator import Aggregator
from agent.errors import Overloaded
from agent.promql.errors import ExecutionError, ParseError
from agent.promql.rule_groups import RuleSample
from agent.telemetry.labels import labels_of
from tests.unit.aggregator.conftest import settings
from tests.unit.aggregator.fakes import Shop
from tests.unit.aggregator.prometheus.memory import MemoryBackend, MemoryStorage

UP = labels_of({"__name__": "up", "job": "a"})


@pytest.fixture
def asked(shop: Shop) -> Aggregator:
    return Aggregator(settings(), shop.ports, shop.store, MemoryBackend(MemoryStorage({UP: [(1000, 3.0)]})))


@pytest.mark.parametrize(
    ("expr", "expected"),
    [
        ("up", [RuleSample(UP, 3.0)]),
        ("up * 2", [RuleSample((("job", "a"),), 6.0)]),
        ("1 + 1", [RuleSample((), 2.0)]),
        ("nothing", []),
    ],
)
async def test_a_rule_gets_its_samples(asked: Aggregator, expr: str, expected: list[RuleSample]) -> None:
    assert await asked.rule_query("default", expr, 2000) == expected


@pytest.mark.parametrize(
    ("expr", "error"), [("up[5m]", ExecutionError), ('"a"', ExecutionError), ("up{", ParseError)]
)
async def test_what_is_no_rule(asked: Aggregator, expr: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        await asked.rule_query("default", expr, 2000)


async def test_without_metrics_it_says_so(shop: Shop) -> None:
    with pytest.raises(Overloaded):
        await Aggregator(settings(), shop.ports).rule_query("default", "up", 2000)
