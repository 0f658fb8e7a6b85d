"""Load for remote write: bodies prepared once, and a sender that costs next to nothing.

    python -m tests.benchmarks.write_load FOLDER URL CASE FIRST LAST

sends the prepared requests FIRST to LAST of a case on CONNECTIONS connections, each in its own thread over a
plain socket, and prints the seconds until the last answer.
"""

from __future__ import annotations

import json
import socket
import struct
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import cramjam
import numpy as np

from agent.telemetry.labels import encode_labels, labels_of

CONNECTIONS = 5
SERIES_A_REQUEST = 2000
PODS = 50
_SAMPLE = b"\x12\x10\x09" + b"\0" * 8 + b"\x10" + b"\0" * 6  # a double and a time of six bytes
_VALUE_AT, _TIME_AT = 3, 12


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
    templates = [_Template(block, case.samples) for block in range(blocks)]
    total = 0
    for round_ in range(case.rounds):
        for block, template in enumerate(templates):
            body = template.body(case.start_ms + round_ * case.samples * case.step_ms, case.step_ms)
            files[block % CONNECTIONS].write(struct.pack("<I", len(body)) + body)
            total += len(body)
    for file in files:
        file.close()
    return total


class _Template:
    """The body of a block of series, in which only values and times change."""

    def __init__(self, block: int, samples: int) -> None:
        out = bytearray()
        at = []
        for i in range(block * SERIES_A_REQUEST, (block + 1) * SERIES_A_REQUEST):
            labels = encode_labels(labels_of(_labels(i)))
            size = len(labels) + samples * len(_SAMPLE)
            out += b"\x0a" + bytes([size & 127 | 128, size >> 7]) + labels
            for _ in range(samples):
                at.append(len(out))
                out += _SAMPLE
        self._bytes = np.frombuffer(out, np.uint8).copy()
        self._at = np.asarray(at)
        self._samples = samples
        self._rng = np.random.default_rng(block)
        self._total = self._rng.integers(0, 1_000_000, SERIES_A_REQUEST).astype(np.float64)

    def body(self, start_ms: int, step_ms: int) -> bytes:
        grown = self._rng.poisson(3.0, (SERIES_A_REQUEST, self._samples)).cumsum(axis=1)
        values = self._total[:, None] + grown
        self._total = values[:, -1]
        self._bytes[self._at[:, None] + _VALUE_AT + np.arange(8)] = (
            values.reshape(-1).view(np.uint8).reshape(-1, 8)
        )
        times = np.tile(start_ms + step_ms * np.arange(self._samples), SERIES_A_REQUEST)
        groups = times[:, None] >> (7 * np.arange(6)) & 127 | np.asarray([128] * 5 + [0])
        self._bytes[self._at[:, None] + _TIME_AT + np.arange(6)] = groups.astype(np.uint8)
        return bytes(cramjam.snappy.compress_raw(self._bytes.tobytes()))


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


def _requests(path: Path, first: int, last: int, head: bytes) -> Iterator[tuple[bytes, memoryview]]:
    raw = memoryview(path.read_bytes())
    at = number = 0
    while at < len(raw):
        (size,) = struct.unpack_from("<I", raw, at)
        if first <= number < last:
            yield head % size, raw[at + 4 : at + 4 + size]
        at += 4 + size
        number += 1


def _send(path: Path, url: str, first: int, last: int, ready: threading.Barrier, bad: list[bytes]) -> None:
    where = urlsplit(url)
    head = (
        f"POST {where.path} HTTP/1.1\r\nHost: {where.netloc}\r\nContent-Type: application/x-protobuf\r\n"
        "Content-Encoding: snappy\r\nX-Prometheus-Remote-Write-Version: 0.1.0\r\nContent-Length: %d\r\n\r\n"
    ).encode()
    requests = list(_requests(path, first, last, head))
    with socket.create_connection((where.hostname or "", where.port or 80)) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        ready.wait()
        for request in requests:
            connection.sendmsg(request[:1])
            connection.sendall(request[1])
            answer = connection.recv(4096)
            if not answer.startswith((b"HTTP/1.1 204", b"HTTP/1.1 200")):
                bad.append(answer)
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
