"""Since when: the time from which a place shows what it is blamed for."""

from __future__ import annotations

import numpy as np

from agent.rootcause.baseline import NS
from agent.rootcause.digest import edge_keys, self_keys
from agent.rootcause.ranking import Findings
from agent.telemetry.frames import I64

# One in ten odd spans may be odd by chance, before the trouble.
CHANCE = 0.1
MARGIN_NS = 10 * NS
MIN_ODD = 3


def onset_ns(found: Findings, place: int) -> int:
    """The start of the trouble at ``place`` by its traces, a little early rather than late; the start
    of the window where traces do not tell."""
    start_ns = found.window.telemetry.start_ns
    times = np.concatenate([_diverged(found, place), _slowed(found, place)])
    if len(times) < MIN_ODD:
        return start_ns
    first = int(np.quantile(times, CHANCE))
    return max(start_ns, min(first, int(times.max())) - MARGIN_NS)


def _diverged(found: Findings, place: int) -> I64:
    s = found.structure
    times: I64 = s.transitions.time_ns[s.credited[s.credit_to == place]]
    return times


def _slowed(found: Findings, place: int) -> I64:
    """Starts of the spans that are nearer to the median of now than to the median of before."""
    trees = found.window.trees
    times = [np.zeros(0, np.int64)]
    for keys, (rows, key, _) in (
        (found.latency.work, self_keys(found.window)),
        (found.latency.edges, edge_keys(found.window)),
    ):
        mine = np.flatnonzero(keys.elevated & ((keys.far == place) | (keys.near == place)))
        for i in mine[np.argsort(-keys.extra_ns[mine])][:1]:
            middle = (keys.median_w[i] + keys.median_b[i]) / 2
            same = rows[key == keys.key[i]]
            times.append(trees.start_ns[same[trees.self_ns[same] > middle]])
    return np.concatenate(times)
