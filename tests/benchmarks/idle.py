"""What the layer costs before anybody sends anything: time to ready, memory, processor time.

    python -m tests.benchmarks.idle [--seconds 30] [--starts 3]

Memory is the proportional set size of everything that was started (Ray's daemons, PostgreSQL, the actors and
this process), in MB of 10^6 bytes; processor time is that of the same over the idle seconds. The last line is
JSON: ready_s (median of the starts), pss_mb, cores.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time

import psutil

from actors.runtime import Layer
from agent.settings import load
from tests.benchmarks.live import free_ports
from tests.benchmarks.measure import descendants_cpu_s, descendants_pss_bytes, end_on_sigterm, say

SETTLE_S = 10.0


def start_once(idle_s: float) -> tuple[float, float, float]:
    """``(ready_s, pss_mb, cores)``; the last two are 0 when ``idle_s`` is."""
    with tempfile.TemporaryDirectory() as folder:
        settings = load(environ={**os.environ, **free_ports(folder)})
        began = time.monotonic()
        with Layer(settings):
            ready_s = time.monotonic() - began
            if not idle_s:
                return ready_s, 0.0, 0.0
            time.sleep(SETTLE_S)
            me = psutil.Process()
            before_s, measured = _cpu_s(me), time.monotonic()
            time.sleep(idle_s)
            cores = (_cpu_s(me) - before_s) / (time.monotonic() - measured)
            pss = descendants_pss_bytes() + me.memory_full_info().pss
            return ready_s, pss / 1e6, cores


def _cpu_s(me: psutil.Process) -> float:
    return descendants_cpu_s() + float(sum(me.cpu_times()[:2]))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=30.0, help="how long to watch the idle layer")
    parser.add_argument("--starts", type=int, default=3)
    options = parser.parse_args()
    end_on_sigterm()
    ready = []
    for number in range(options.starts):
        ready_s, pss_mb, cores = start_once(options.seconds if number == options.starts - 1 else 0.0)
        say(f"start {number + 1}: ready after {ready_s:.1f} s")
        ready.append(ready_s)
    print(
        json.dumps(
            {"ready_s": round(statistics.median(ready), 1), "pss_mb": round(pss_mb), "cores": round(cores, 3)}
        )
    )


if __name__ == "__main__":
    main()
