"""Which PromQL is spoken: the engine's options by the settings."""

from __future__ import annotations

from agent.errors import SettingsError
from agent.promql.options import EngineOptions
from agent.promql.parse import Dialect
from agent.settings import AggregatorSettings

# Prometheus' names of what has to be switched on, and ours.
DIALECT_FEATURES = {
    "promql-experimental-functions": "experimental_functions",
    "promql-extended-range-selectors": "extended_range_selectors",
    "promql-binop-fill-modifiers": "fill_modifiers",
}
DELAYED_NAME_REMOVAL = "promql-delayed-name-removal"
# Stable by now (as of Prometheus 3.14); the name is taken and does nothing, as there.
NO_OPS = frozenset({"promql-duration-expr"})


def features(settings: AggregatorSettings) -> set[str]:
    """The names in ``aggregator.query_features``. Raises SettingsError."""
    known = {*DIALECT_FEATURES, DELAYED_NAME_REMOVAL, *NO_OPS}
    names = {name.strip() for name in settings.query_features.split(",") if name.strip()}
    if unknown := sorted(names - known):
        raise SettingsError(
            "aggregator.query_features", unknown[0], f"names of {', '.join(sorted(known))}, joined by commas"
        )
    return names


def engine_options(settings: AggregatorSettings) -> EngineOptions:
    """Raises SettingsError."""
    wanted = features(settings)
    return EngineOptions(
        lookback_ms=round(settings.query_lookback_s * 1000),
        max_samples=settings.query_max_samples,
        delayed_name_removal=DELAYED_NAME_REMOVAL in wanted,
        dialect=Dialect(**{field: name in wanted for name, field in DIALECT_FEATURES.items()}),
    )
