"""Ingest of metrics by remote write: the layer beside a real Prometheus and a real VictoriaMetrics.

    python -m tests.benchmarks.metrics_ingest [--rounds 500] [--only layer] [--million]

Each system starts with an empty folder, gets the same prepared bodies on five connections over HTTP, and is
ended before the next one starts: 10,000 series, requests of 2,000 series, once with 4 samples a series and once
with 1. The first requests, which make the series known, are not timed. Wall time is that until the last request
is answered and what it brought can be queried; processor time is that of all processes of a system (of the
layer: Ray's daemons, PostgreSQL, all actors and this process) over the same time and QUIET_S more, in which work
that was put off is done. The sender is a process of its own and not counted. ``--million`` adds a run of the layer
with a million series, and tells its processor time a sample against the run with ten thousand.

The last line is JSON: cpu_ratio_* and wall_ratio_* are samples a second of the layer over those of the peer; with
4 samples a series, and with ``_1`` at the end with 1.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from actors.runtime import Layer
from agent.settings import load
from tests.benchmarks.live import free_ports
from tests.benchmarks.measure import descendants_cpu_s, end_on_sigterm, say
from tests.benchmarks.write_load import Case, prepare

QUIET_S = 2.0
START_S = 60.0
PAST_S = 3000  # how far back the samples begin; Prometheus takes what is younger than its newest by an hour


@dataclass(frozen=True, slots=True)
class System:
    """``url`` takes remote write, ``query_url`` begins the HTTP API; ``applied`` returns once all that was acknowledged can be queried."""

    name: str
    url: str
    query_url: str
    applied: Callable[[], None]
    cpu_s: Callable[[], float]


@dataclass(frozen=True, slots=True)
class Result:
    samples: int
    wall_s: float
    cpu_s: float

    def __str__(self) -> str:
        wall, cpu = self.samples / self.wall_s / 1e6, self.samples / self.cpu_s / 1e6
        return f"{wall:.2f} M samples/s wall, {cpu:.2f} M samples a CPU second ({self.cpu_s:.2f} s)"


@contextmanager
def layer() -> Iterator[System]:
    with tempfile.TemporaryDirectory() as folder:
        settings = load(environ={**os.environ, **free_ports(folder)})
        with Layer(settings) as running:
            ports: Any = running.ports
            me = psutil.Process()

            async def applied() -> None:
                for stream, position in zip(ports.streams, await ports.gateway.positions(), strict=True):
                    while True:
                        figures = (await stream.health()).figures
                        if figures["log_position_bytes"] >= position:
                            break
                        await asyncio.sleep(0.02)

            yield System(
                "layer",
                running.address("otlp/http") + "/api/v1/write",
                running.address("http"),
                lambda: asyncio.run(applied()),
                lambda: descendants_cpu_s(_senders) + float(sum(me.cpu_times()[:2])),
            )


@contextmanager
def peer(name: str, program: str, arguments: Callable[[str, int], list[str]]) -> Iterator[System]:
    """A server of one process that takes what it acknowledged at once."""
    path = shutil.which(program)
    if path is None:
        sys.exit(f"{program} is missing; apt-get install {program}")
    with tempfile.TemporaryDirectory() as folder, ExitStack() as ending:
        port = _free_port()
        process = subprocess.Popen(
            [path, *arguments(folder, port)], cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        ending.callback(_end, process)
        _wait_until_up(f"http://127.0.0.1:{port}/api/v1/labels")
        watched = psutil.Process(process.pid)
        yield System(
            name,
            f"http://127.0.0.1:{port}/api/v1/write",
            f"http://127.0.0.1:{port}",
            lambda: None,
            lambda: float(sum(watched.cpu_times()[:2])),
        )


def prometheus() -> contextlib.AbstractContextManager[System]:
    def arguments(folder: str, port: int) -> list[str]:
        (Path(folder) / "prometheus.yml").write_text("{}\n")
        return [
            "--config.file=prometheus.yml",
            "--storage.tsdb.path=data",
            f"--web.listen-address=127.0.0.1:{port}",
            "--web.enable-remote-write-receiver",
        ]

    return peer("prometheus", "prometheus", arguments)


def victoriametrics() -> contextlib.AbstractContextManager[System]:
    return peer(
        "victoriametrics",
        "victoria-metrics",
        lambda folder, port: [f"-storageDataPath={folder}/data", f"-httpListenAddr=127.0.0.1:{port}"],
    )


SYSTEMS: dict[str, Callable[[], contextlib.AbstractContextManager[System]]] = {
    "layer": layer,
    "prometheus": prometheus,
    "victoriametrics": victoriametrics,
}
_senders: set[int] = set()


def measure(system: System, folder: Path, case: Case, untimed: int) -> Result:
    """Send the requests of a case; the first ``untimed`` of each connection before the clock starts."""
    _send(system, folder, case, 0, untimed)
    system.applied()
    time.sleep(QUIET_S)
    before_s = system.cpu_s()
    sent_s = _send(system, folder, case, untimed, case.requests)
    answered = time.monotonic()
    system.applied()
    wall_s = sent_s + time.monotonic() - answered
    time.sleep(QUIET_S)
    result = Result(case.samples_of(case.requests - untimed), wall_s, system.cpu_s() - before_s)
    say(f"{system.name}, {case.series} series x {case.samples}: {result}")
    return result


def _send(system: System, folder: Path, case: Case, first: int, last: int) -> float:
    """The seconds from the first request to the last answer, by the sender's clock."""
    command = [sys.executable, "-m", "tests.benchmarks.write_load"]
    process = subprocess.Popen(
        [*command, str(folder), system.url, case.name, str(first), str(last)], stdout=subprocess.PIPE
    )
    _senders.add(process.pid)
    answer, _ = process.communicate()
    if process.returncode:
        sys.exit(f"{system.name} did not take the load")
    return float(json.loads(answer)["wall_s"])


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as held:
        return int(held.getsockname()[1])


def _wait_until_up(url: str) -> None:
    deadline = time.monotonic() + START_S
    while True:
        try:
            urllib.request.urlopen(url, timeout=1).close()
            return
        except OSError:
            if time.monotonic() > deadline:
                sys.exit(f"{url} does not answer")
            time.sleep(0.1)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def cases(rounds: int) -> tuple[Case, Case]:
    start_ms = int(time.time() - PAST_S) * 1000
    first = Case("four", 10_000, 4, rounds, start_ms, 1000)
    after_ms = start_ms + rounds * 4 * 1000
    return first, Case("one", 10_000, 1, rounds, after_ms, 1000)


def million(folder: Path, rounds: int) -> Result:
    case = Case("million", 1_000_000, 4, rounds, int(time.time() - PAST_S) * 1000, 1000)
    prepare(folder, case)
    with layer() as system:
        return measure(system, folder, case, case.requests // rounds)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=500, help="requests for each block of 2,000 series")
    parser.add_argument("--only", choices=SYSTEMS, action="append", help="leave the others out")
    parser.add_argument("--million", action="store_true", help="the layer with a million series as well")
    options = parser.parse_args()
    end_on_sigterm()
    found: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        both = cases(options.rounds)
        for case in both:
            size = prepare(folder, case)
            say(f"{case.samples} a series: {case.requests} requests a connection, {size / 1e6:.0f} MB")
        results: dict[str, list[Result]] = {}
        for name in options.only or SYSTEMS:
            with SYSTEMS[name]() as system:
                results[name] = [measure(system, folder, case, untimed=5) for case in both]
        ours = results.pop("layer", None)
        for k, suffix in enumerate(("", "_1")):
            if ours:
                found[f"cpu_samples_s{suffix}"] = ours[k].samples / ours[k].cpu_s
                found[f"wall_samples_s{suffix}"] = ours[k].samples / ours[k].wall_s
            for name, theirs in results.items():
                if ours:
                    found[f"cpu_ratio_{name}{suffix}"] = theirs[k].cpu_s / ours[k].cpu_s
                    found[f"wall_ratio_{name}{suffix}"] = theirs[k].wall_s / ours[k].wall_s
        if options.million:
            result = million(folder, rounds=4)
            found["cpu_samples_s_million"] = result.samples / result.cpu_s
    print(json.dumps({key: round(value, 2) for key, value in found.items()}))


if __name__ == "__main__":
    main()
