"""The systems that benchmarks of metrics compare, each started with an empty folder and ended afterwards: the layer, a
real Prometheus, a real VictoriaMetrics."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import psutil

from actors.runtime import Layer
from agent.settings import load
from tests.benchmarks.live import free_ports
from tests.benchmarks.measure import cpu_s_of, descendants

START_S = 60.0
NOTHING_SET: Mapping[str, str] = MappingProxyType({})

senders: set[int] = set()  # processes that belong to no system


@dataclass(frozen=True, slots=True)
class System:
    """``url`` takes remote write, ``query_url`` begins the HTTP API; ``applied`` returns once all that was acknowledged
    can be queried. ``processes`` are all that it runs; its data lie in ``folder``."""

    name: str
    url: str
    query_url: str
    folder: Path
    applied: Callable[[], None]
    processes: Callable[[], Iterable[psutil.Process]]

    def cpu_s(self) -> float:
        return cpu_s_of(self.processes())


@contextmanager
def layer(within: Path | None = None, environ: Mapping[str, str] = NOTHING_SET) -> Iterator[System]:
    """``environ`` holds settings. This process is part of it: it began Ray and PostgreSQL."""
    with tempfile.TemporaryDirectory(dir=within) as folder:
        settings = load(environ={**os.environ, **free_ports(folder), **environ})
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
                Path(folder),
                lambda: asyncio.run(applied()),
                lambda: (me, *descendants(senders)),
            )


@contextmanager
def peer(
    name: str, program: str, arguments: Callable[[str, int], list[str]], within: Path | None = None
) -> Iterator[System]:
    """A server of one process that takes what it acknowledged at once."""
    path = shutil.which(program)
    if path is None:
        sys.exit(f"{program} is missing; apt-get install {program}")
    with tempfile.TemporaryDirectory(dir=within) as folder, ExitStack() as ending:
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
            Path(folder),
            lambda: None,
            lambda: (watched,),
        )


def prometheus(within: Path | None = None) -> AbstractContextManager[System]:
    def arguments(folder: str, port: int) -> list[str]:
        (Path(folder) / "prometheus.yml").write_text("{}\n")
        return [
            "--config.file=prometheus.yml",
            "--storage.tsdb.path=data",
            f"--web.listen-address=127.0.0.1:{port}",
            "--web.enable-remote-write-receiver",
            "--web.enable-admin-api",
        ]

    return peer("prometheus", "prometheus", arguments, within)


def victoriametrics(within: Path | None = None) -> AbstractContextManager[System]:
    return peer(
        "victoriametrics",
        "victoria-metrics",
        lambda folder, port: [f"-storageDataPath={folder}/data", f"-httpListenAddr=127.0.0.1:{port}"],
        within,
    )


SYSTEMS: Mapping[str, Callable[[], AbstractContextManager[System]]] = {
    "layer": layer,
    "prometheus": prometheus,
    "victoriametrics": victoriametrics,
}


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
