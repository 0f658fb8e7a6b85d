"""Random series and random queries of PromQL, for the comparison with a real Prometheus.

Sample times lie off the steps of the queries, so that it does not matter whether ranges are open or closed on the
left (Prometheus 3 and 2 differ), and counters stay far from zero, where both extrapolate differently.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from agent.telemetry.labels import Labels, labels_of

STEP_MS, OFF_MS = 15_000, 3_217
Series = tuple[Labels, list[tuple[int, float]]]

JOBS, INSTANCES = ("api", "web", "db"), ("0", "1", "2", "3")
BOUNDS = (0.1, 0.5, 1.0, 2.5, float("inf"))


def random_series(start_ms: int, steps: int, seed: int) -> list[Series]:
    """Gauges (with NaN and infinities here and there), counters with resets, classic histograms; with gaps,
    and some that end or begin half-way."""
    rng = np.random.default_rng(seed)
    times = start_ms + OFF_MS + STEP_MS * np.arange(steps)
    found: list[Series] = []
    for job in JOBS:
        for instance in INSTANCES:
            target = {"job": job, "instance": instance}
            for zone in ("a", "b"):
                gauge = 100 * rng.standard_normal() + rng.standard_normal(steps).cumsum()
                if rng.random() < 0.2:
                    gauge[rng.integers(0, steps, 3)] = [np.nan, np.inf, -np.inf]
                found.append(_kept(rng, {"__name__": "temperature", "zone": zone, **target}, times, gauge))
            found.append(_kept(rng, {"__name__": "requests_total", **target}, times, _counter(rng, steps)))
            found += _histogram(rng, target, times)
        found.append(_kept(rng, {"__name__": "job_info", "job": job, "team": job[:1]}, times, np.ones(steps)))
    return found


def _counter(rng: np.random.Generator, steps: int) -> np.ndarray:
    grown = rng.poisson(3.0, steps).cumsum() + float(rng.integers(5_000, 50_000))
    for at in np.flatnonzero(rng.random(steps) < 0.01):
        grown[at:] -= grown[at] - float(rng.integers(2_000, 4_000))
    return grown


def _histogram(rng: np.random.Generator, target: dict[str, str], times: np.ndarray) -> Iterator[Series]:
    each = rng.poisson(2.0, (len(BOUNDS), len(times)))
    buckets = 20_000 + each.cumsum(axis=1).cumsum(axis=0)
    missing = rng.random(len(times)) < 0.02
    for bound, counts in zip(BOUNDS, buckets, strict=True):
        le = "+Inf" if bound == float("inf") else repr(bound)
        labels = {"__name__": "latency_seconds_bucket", "le": le, **target}
        yield _listed(labels, times[~missing], counts[~missing])
    yield _listed({"__name__": "latency_seconds_count", **target}, times[~missing], buckets[-1][~missing])
    total = 20_000 + 0.7 * buckets[-1]
    yield _listed({"__name__": "latency_seconds_sum", **target}, times[~missing], total[~missing])


def _kept(rng: np.random.Generator, labels: dict[str, str], times, values) -> Series:  # type: ignore[no-untyped-def]
    """With gaps, and with the first or the last third missing now and then."""
    keep = rng.random(len(times)) > 0.03
    if rng.random() < 0.3:
        long = int(rng.integers(25, 60))
        at = int(rng.integers(0, len(times) - long))
        keep[at : at + long] = False
    if rng.random() < 0.1:
        keep[: len(times) // 3] = False
    elif rng.random() < 0.1:
        keep[2 * len(times) // 3 :] = False
    return _listed(labels, times[keep], values[keep])


def _listed(labels: dict[str, str], times, values) -> Series:  # type: ignore[no-untyped-def]
    return labels_of(labels), list(zip(times.tolist(), map(float, values), strict=True))


RANGES = st.sampled_from(["1m", "2m", "5m", "13m", "30m"])
NUMBERS = st.sampled_from(["0", "1", "-2", "0.5", "3", "100", "1e3", "Inf", "NaN"])
MATCHERS = st.sampled_from(
    ["", '{job="api"}', '{job=~"api|web"}', '{instance!="0"}', '{job!~"d.*",instance=~"[12]"}', '{zone=""}',
     '{instance=~".+"}', '{job="none"}']
)  # fmt: skip
MODIFIERS = st.sampled_from(["", "", "", " offset 1m", " offset 7m", " offset -2m"])
GAUGES, COUNTERS = st.just("temperature"), st.sampled_from(["requests_total", "latency_seconds_count"])
ANY = st.sampled_from(
    ["temperature", "requests_total", "latency_seconds_bucket", "latency_seconds_sum", "nothing"]
)
OF_COUNTERS = st.sampled_from(["rate", "increase", "irate", "resets"])
OF_GAUGES = st.sampled_from(
    ["delta", "idelta", "deriv", "changes", "avg_over_time", "min_over_time", "max_over_time", "sum_over_time",
     "count_over_time", "stddev_over_time", "stdvar_over_time", "last_over_time", "present_over_time"]
)  # fmt: skip
ELEMENTWISE = st.sampled_from(
    ["abs", "ceil", "floor", "exp", "ln", "log2", "log10", "sqrt", "sgn", "sin", "cos", "atan", "timestamp",
     "day_of_week", "hour", "minute", "month", "days_in_month", "deg", "rad"]
)  # fmt: skip
AGGREGATIONS = st.sampled_from(["sum", "avg", "min", "max", "count", "group", "stddev", "stdvar"])
GROUPINGS = st.sampled_from(
    ["", " by (job)", " by (job, zone)", " without (instance)", " by (none)", " by (instance)"]
)
ARITHMETIC = st.sampled_from(["+", "-", "*", "/", "%", "^"])
COMPARISONS = st.sampled_from([">", "<", ">=", "<=", "==", "!="])


@st.composite
def selectors(draw: st.DrawFn, names: st.SearchStrategy[str] = ANY) -> str:
    return draw(names) + draw(MATCHERS)


@st.composite
def over_ranges(draw: st.DrawFn) -> str:
    if draw(st.booleans()):
        return f"{draw(OF_COUNTERS)}({draw(selectors(COUNTERS))}[{draw(RANGES)}]{draw(MODIFIERS)})"
    selector = f"{draw(selectors(GAUGES))}[{draw(RANGES)}]{draw(MODIFIERS)}"
    which = draw(st.integers(0, 9))
    if which == 0:
        return f"quantile_over_time({draw(st.sampled_from(['0.1', '0.5', '0.99']))}, {selector})"
    if which == 1:
        return f"predict_linear({selector}, {draw(st.sampled_from(['60', '600', '3600']))})"
    return f"{draw(OF_GAUGES)}({selector})"


@st.composite
def subqueries(draw: st.DrawFn) -> str:
    inner = f"{draw(OF_COUNTERS)}({draw(selectors(COUNTERS))}[{draw(RANGES)}])"
    function = draw(st.sampled_from(["max_over_time", "avg_over_time", "sum_over_time", "last_over_time"]))
    return f"{function}({inner}[{draw(RANGES)}:{draw(st.sampled_from(['30s', '1m', '2m']))}])"


@st.composite
def quantiles(draw: st.DrawFn) -> str:
    q = draw(st.sampled_from(["0.5", "0.9", "0.99", "0", "1", "-1", "2"]))
    rates = f"rate(latency_seconds_bucket{draw(MATCHERS)}[{draw(RANGES)}])"
    inner = draw(st.sampled_from([rates, f"sum by (le) ({rates})", f"sum by (job, le) ({rates})"]))
    return f"histogram_quantile({q}, {inner})"


LEAVES = st.one_of(
    selectors().flatmap(lambda s: MODIFIERS.map(lambda m: s + m)), over_ranges(), subqueries(), quantiles()
)


def _grown(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.one_of(
        st.builds(lambda f, x: f"{f}({x})", ELEMENTWISE, inner),
        st.builds(lambda f, g, x: f"{f}{g} ({x})", AGGREGATIONS, GROUPINGS, inner),
        st.builds(lambda f, k, g, x: f"{f}{g} ({k}, {x})", st.sampled_from(["topk", "bottomk"]),
                  st.integers(0, 4), GROUPINGS, inner),
        st.builds(lambda q, g, x: f"quantile{g} ({q}, {x})", st.sampled_from(["0.2", "0.5", "0.95"]), GROUPINGS, inner),
        st.builds(lambda x, o, n: f"({x}) {o} {n}", inner, ARITHMETIC, NUMBERS),
        st.builds(lambda n, o, x: f"{n} {o} ({x})", NUMBERS, ARITHMETIC, inner),
        st.builds(lambda x, o, b, n: f"({x}) {o} {b}{n}", inner, COMPARISONS, st.sampled_from(["", "bool "]), NUMBERS),
        st.builds(lambda x, lo, hi: f"clamp({x}, {lo}, {hi})", inner, NUMBERS, NUMBERS),
        st.builds(lambda x, to: f"round({x}, {to})", inner, st.sampled_from(["0.1", "5"])),
        st.builds(lambda x: f"-({x})", inner),
        st.builds(lambda x: f"absent({x})", inner),
        st.builds(lambda a, o, b: f"sum by (job) ({a}) {o} on (job) avg by (job) ({b})", inner, ARITHMETIC, inner),
        st.builds(lambda a, o, b: f"({a}) {o} ({b})", inner, st.sampled_from(["and", "or", "unless"]), inner),
        st.builds(lambda a, o: f"({a}) {o} on (job) group_left (team) job_info", inner, ARITHMETIC),
        st.builds(lambda x: f'label_replace({x}, "shard", "$1-x", "instance", "(.*)")', inner),
    )  # fmt: skip


QUERIES = st.recursive(LEAVES, _grown, max_leaves=3)


def random_queries(count: int) -> list[str]:
    """So many different queries, the same ones each time."""
    found: dict[str, None] = {}

    @settings(
        max_examples=2 * count, derandomize=True, database=None, deadline=None, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(QUERIES)
    def collect(query: str) -> None:
        if len(found) < count and len(query) < 2000:
            found[query] = None

    collect()
    return list(found)
