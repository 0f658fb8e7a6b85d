from __future__ import annotations

from dataclasses import replace

import pytest

from actors.aggregator.prometheus.language import engine_options
from agent.errors import SettingsError
from agent.settings import AggregatorSettings


def test_nothing_is_switched_on_by_itself() -> None:
    options = engine_options(AggregatorSettings())
    assert (options.lookback_ms, options.delayed_name_removal) == (300_000, False)
    assert not options.dialect.experimental_functions


def test_features_are_switched_on_by_name() -> None:
    names = "promql-experimental-functions, promql-delayed-name-removal"
    options = engine_options(replace(AggregatorSettings(), query_features=names))
    assert options.delayed_name_removal
    assert options.dialect.experimental_functions
    assert not options.dialect.extended_range_selectors


def test_what_became_stable_is_still_a_name() -> None:
    options = engine_options(replace(AggregatorSettings(), query_features="promql-duration-expr"))
    assert options == engine_options(AggregatorSettings())


def test_a_wrong_name_is_told() -> None:
    with pytest.raises(SettingsError, match="promql-experimental-functions"):
        engine_options(replace(AggregatorSettings(), query_features="promql-experimental-function"))
