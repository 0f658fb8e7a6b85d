"""The functions of PromQL, by name. Those over floats are here; those over histograms, classic and native,
in ``histograms``. ``info`` is the engine's own: it selects series by itself."""

from __future__ import annotations

from collections.abc import Mapping

from agent.promql.functions.absence import ABSENCE
from agent.promql.functions.counts import COUNTS
from agent.promql.functions.elementwise import ELEMENTWISE
from agent.promql.functions.extremes import EXTREMES
from agent.promql.functions.histograms import HISTOGRAM_FUNCTIONS
from agent.promql.functions.kinds import Function
from agent.promql.functions.labels import LABELS
from agent.promql.functions.quantiles import QUANTILES
from agent.promql.functions.rates import RATES
from agent.promql.functions.scalars import SCALARS
from agent.promql.functions.sorting import SORTING
from agent.promql.functions.spread import SPREADS
from agent.promql.functions.sums import SUMS
from agent.promql.functions.times import TIMES
from agent.promql.functions.trends import TRENDS
from agent.promql.functions.trigonometry import TRIGONOMETRY

FUNCTIONS: Mapping[str, Function] = {
    **ABSENCE,
    **COUNTS,
    **ELEMENTWISE,
    **EXTREMES,
    **HISTOGRAM_FUNCTIONS,
    **LABELS,
    **QUANTILES,
    **RATES,
    **SCALARS,
    **SORTING,
    **SPREADS,
    **SUMS,
    **TIMES,
    **TRENDS,
    **TRIGONOMETRY,
}
