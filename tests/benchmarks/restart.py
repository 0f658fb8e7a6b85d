"""How soon a stream answers again after it was killed, with seven million samples in the write-ahead logs.

    python -m tests.benchmarks.restart [--rounds 3]

Remote write of 10,000 series x 700 samples, none of them in a block yet. Then every stream is killed with SIGKILL
at once; the clock stops when all of them are ready and a count over all series gives every sample. The last line
is JSON: ready_s is the median of the rounds, from the kill on; samples what was counted.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

import psutil

from tests.benchmarks.measure import end_on_sigterm, say
from tests.benchmarks.metrics_ingest import PAST_S, send
from tests.benchmarks.systems import System, layer
from tests.benchmarks.write_load import Case, prepare

SERIES, A_REQUEST, REQUESTS = 10_000, 4, 175
PATIENCE_S = 60.0


def counted(system: System) -> int:
    """Of all samples; -1 while nobody answers."""
    form = urllib.parse.urlencode({"query": 'sum(count_over_time({__name__=~".+",job!=""}[1h]))'}).encode()
    try:
        with urllib.request.urlopen(f"{system.query_url}/api/v1/query", form, timeout=60) as response:
            found = json.load(response)["data"]["result"]
    except urllib.error.HTTPError as error:
        error.close()
        return -1
    return int(found[0]["value"][1]) if found else 0


def streams() -> list[int]:
    mine = psutil.Process().children(recursive=True)
    return [one.pid for one in mine if one.cmdline()[:1] == ["ray::SourceStream"]]


def killed(system: System, whole: int) -> float:
    """Seconds until everything is there again."""
    for pid in streams():
        os.kill(pid, signal.SIGKILL)
    began = time.monotonic()
    while (found := counted(system)) != whole:
        if time.monotonic() - began > PATIENCE_S:
            raise SystemExit(f"{found} samples after {PATIENCE_S:.0f} s, expected {whole}")
        time.sleep(0.02)
    return time.monotonic() - began


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    end_on_sigterm()
    with tempfile.TemporaryDirectory() as made, layer() as system:
        case = Case("restart", SERIES, A_REQUEST, REQUESTS, int(time.time() - PAST_S) * 1000, 1000)
        prepare(Path(made), case)
        send(system, Path(made), case, 0, case.requests)
        system.applied()
        whole = case.samples_of(case.requests)
        say(f"{whole} samples, of which {counted(system)} can be queried")
        took = [killed(system, whole) for _ in range(options.rounds)]
    say(", ".join(f"{seconds:.2f} s" for seconds in took))
    print(json.dumps({"ready_s": round(statistics.median(took), 2), "samples": whole}))


if __name__ == "__main__":
    main()
