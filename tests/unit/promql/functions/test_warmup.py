from __future__ import annotations

from agent.promql.functions.extremes import maxima
from agent.promql.functions.rates import extrapolated
from agent.promql.functions.warmup import warm_up


def test_after_warming_up_the_kernels_are_there() -> None:
    warm_up()
    assert extrapolated.signatures
    assert maxima.signatures
