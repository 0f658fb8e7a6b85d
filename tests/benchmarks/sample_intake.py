"""What the gateway's intake costs a body of remote write, and what the limit of rows a source adds to it.

    python -m tests.benchmarks.sample_intake [--series 10000] [--rounds 200]

One process, no servers: ``SampleIntake.take`` of a body with one sample of each series, of a hundred sources. Intakes with and
without the limit take the same bodies in turns, so that what else the machine does meets both. The last line is JSON:
medians in microseconds of the whole (``take``) and of the kernel that judges samples in it (``admit``).
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from statistics import median
from typing import Any
from unittest.mock import patch

from agent.settings import GatewaySettings
from agent.telemetry.labels import labels_of
from agent.telemetry.remote_write import Packed
from agent.telemetry.remote_write_client import encode_write_request
from agent.windows import sampleintake
from agent.windows.admission import admit
from agent.windows.sampleintake import SampleIntake

NOW_MS = 1_700_000_000_000
UNTIMED = 5  # bodies that make the series known, and load the kernels
LIMITS = {"off": 0, "on": 100_000_000}


class Timed:
    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function
        self.took_s: list[float] = []

    def __call__(self, *args: Any) -> Any:
        begin = time.perf_counter()
        result = self._function(*args)
        self.took_s.append(time.perf_counter() - begin)
        return result


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--series", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=200)
    options = parser.parse_args()
    labels = [
        labels_of({"__name__": f"m{k}", "job": "j", "instance": f"i{k % 100}", "path": "/" + "x" * 60})
        for k in range(options.series)
    ]
    doors = {
        name: SampleIntake(GatewaySettings(max_rows_per_source_per_s=rate), 2)
        for name, rate in LIMITS.items()
    }
    takes = {name: Timed(door.take) for name, door in doors.items()}
    admits = {name: Timed(admit) for name in doors}
    for k in range(UNTIMED + options.rounds):
        now_ms = NOW_MS + 1000 * k
        body = Packed(encode_write_request((one, [(now_ms, float(k))]) for one in labels))
        for name in doors if k % 2 else reversed(doors):
            with patch.object(sampleintake, "admit", admits[name]):
                takes[name]("t", [body], now_ms * 10**6, [0, 0])
    found = {
        f"{what}_us_{name}": round(1e6 * median(timed.took_s[UNTIMED:]), 1)
        for what, kinds in (("take", takes), ("admit", admits))
        for name, timed in kinds.items()
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
