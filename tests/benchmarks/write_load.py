"""Load for remote write: bodies prepared once, and a sender that costs next to nothing.

    python -m tests.benchmarks.write_load FOLDER URL CASE FIRST LAST

sends the prepared requests FIRST to LAST of a case on CONNECTIONS connections, each in its own thread over a
plain socket, and prints the seconds until the last answer.
"""

from __future__ import annotations

import contextlib
import json
import struct
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tests.benchmarks.bodies import Connection, Template

CONNECTIONS = 5
SERIES_A_REQUEST = 2000
PODS = 50


@dataclass(frozen=True, slots=True)
class Case:
    """``rounds`` requests for each block of series, of ``samples`` a series, ``step_ms`` apart from
    ``start_ms`` on."""

    name: str
    series: int
    samples: int
    rounds: int
    start_ms: int
    step_ms: int

    @property
    def requests(self) -> int:
        """On each connection."""
        return self.rounds * self.series // (SERIES_A_REQUEST * CONNECTIONS)

    def samples_of(self, requests: int) -> int:
        return requests * CONNECTIONS * SERIES_A_REQUEST * self.samples


def prepare(folder: Path, case: Case) -> int:
    """Write the bodies of a case, a file a connection; the bytes of all, as sent."""
    blocks = case.series // SERIES_A_REQUEST
    files = [(folder / f"{case.name}-{i}").open("wb") for i in range(CONNECTIONS)]
    templates = [_Counters(block, case.samples) for block in range(blocks)]
    total = 0
    for round_ in range(case.rounds):
        for block, template in enumerate(templates):
            body = template.body(case.start_ms + round_ * case.samples * case.step_ms, case.step_ms)
            files[block % CONNECTIONS].write(struct.pack("<I", len(body)) + body)
            total += len(body)
    for file in files:
        file.close()
    return total


class _Counters:
    """The bodies of a block of series: counters that grow by three a step, more or less."""

    def __init__(self, block: int, samples: int) -> None:
        series = range(block * SERIES_A_REQUEST, (block + 1) * SERIES_A_REQUEST)
        self._template = Template([_labels(i) for i in series], samples)
        self._samples = samples
        self._rng = np.random.default_rng(block)
        self._total = self._rng.integers(0, 1_000_000, SERIES_A_REQUEST).astype(np.float64)

    def body(self, start_ms: int, step_ms: int) -> bytes:
        grown = self._rng.poisson(3.0, (SERIES_A_REQUEST, self._samples)).cumsum(axis=1)
        values = self._total[:, None] + grown
        self._total = values[:, -1]
        return self._template.body(start_ms + step_ms * np.arange(self._samples), values)


def _labels(i: int) -> dict[str, str]:
    """A bucket of a latency histogram, as an application in Kubernetes has them."""
    pod, rest = i % PODS + i // 100_000 * PODS, i // PODS
    return {
        "__name__": "http_request_duration_seconds_bucket",
        "cluster": "eu-west-1",
        "container": "server",
        "instance": f"10.1.{pod // 250}.{pod % 250}:8080",
        "job": f"shop/{('cart', 'checkout', 'front', 'search')[pod % 4]}",
        "le": str((0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)[rest % 10]),
        "method": ("GET", "POST")[rest // 10 % 2],
        "namespace": "shop",
        "path": f"/api/v1/items/{rest // 20 % 100}",
        "pod": f"server-7d9f6c5b4-{pod:05d}",
    }


def _requests(path: Path, first: int, last: int) -> Iterator[memoryview]:
    raw = memoryview(path.read_bytes())
    at = number = 0
    while at < len(raw):
        (size,) = struct.unpack_from("<I", raw, at)
        if first <= number < last:
            yield raw[at + 4 : at + 4 + size]
        at += 4 + size
        number += 1


def _send(path: Path, url: str, first: int, last: int, ready: threading.Barrier, bad: list[bytes]) -> None:
    requests = list(_requests(path, first, last))
    with contextlib.closing(Connection(url)) as connection:
        ready.wait()
        for request in requests:
            if refused := connection.send(request):
                bad.append(refused)
                return


def main() -> None:
    folder, url, case, first, last = sys.argv[1:]
    ready, bad = threading.Barrier(CONNECTIONS + 1), list[bytes]()
    threads = [
        threading.Thread(
            target=_send, args=(Path(folder) / f"{case}-{i}", url, int(first), int(last), ready, bad)
        )
        for i in range(CONNECTIONS)
    ]
    for thread in threads:
        thread.start()
    ready.wait()
    began = time.monotonic()
    for thread in threads:
        thread.join()
    if bad:
        sys.exit(f"refused: {bad[0]!r}")
    print(json.dumps({"wall_s": time.monotonic() - began, "cpu_s": time.process_time()}))


if __name__ == "__main__":
    main()
