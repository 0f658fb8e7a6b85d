"""From an SDK's export to the screen: latency and loss under a steady load.

    python -m tests.benchmarks.live [--seconds 30] [--spans 5000] [--samples 20000] [--logs 5000]

A sender process builds telemetry with the OpenTelemetry SDK's own data model and sends it with the SDK's own
OTLP/HTTP exporters; a WebSocket client subscribes to everything. A row's latency is the time from the call of
``export`` to the moment the client has its frame parsed. Everything runs on this machine, sender and client
included. The last line is JSON: p50_ms, p99_ms, max_ms, lost (rows that never came), by_signal, cpu_s_layer.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import os
import tempfile
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import orjson
import websockets

from actors.runtime import Layer
from agent.settings import load
from tests.benchmarks.measure import descendants_cpu_s, end_on_sigterm, say

TICK_S = 0.1
DRAIN_S = 10.0
MARK = "bench_tick"


def send(endpoint: str, seconds: float, spans: int, samples: int, logs: int, reply: Any) -> None:
    """The sender: every tick one batch of each signal; rows carry the tick they were sent in."""
    from tests.benchmarks import sdk_load

    senders: list[tuple[str, Callable[[int], None]]] = [
        ("spans", sdk_load.span_sender(endpoint, round(spans * TICK_S))),
        ("logs", sdk_load.log_sender(endpoint, round(logs * TICK_S))),
        ("metrics", sdk_load.sample_sender(endpoint, round(samples * TICK_S))),
    ]
    started: dict[str, list[float]] = {name: [] for name, _ in senders}
    ticks = round(seconds / TICK_S)
    began = time.time() + 0.5

    def run(name: str, export: Callable[[int], None], offset_s: float) -> None:
        for tick in range(ticks):
            time.sleep(max(0.0, began + offset_s + tick * TICK_S - time.time()))
            started[name].append(time.time())
            export(tick)

    threads = [
        threading.Thread(target=run, args=(name, export, i * TICK_S / len(senders)))
        for i, (name, export) in enumerate(senders)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    reply.put((started, time.time() - began))


class Received:
    """When the client had the rows of each tick, by signal."""

    def __init__(self) -> None:
        self.rows: dict[str, list[tuple[int, float, int]]] = {"spans": [], "logs": [], "metrics": []}
        self.missed = 0

    def take(self, text: str | bytes, now_s: float) -> None:
        message = orjson.loads(text)
        if message["type"] == "missed":
            self.missed += sum(message["rows"].values())
        if message["type"] not in self.rows or message.get("service") != "bench":
            return
        columns = message["columns"]
        if message["type"] == "spans":
            ticks = [int(name.rsplit(" ", 1)[1]) for name in columns["name"]]
        elif message["type"] == "logs":
            ticks = [int(body.rsplit(" ", 1)[1]) for body in columns["body"]]
        else:
            ticks = [int(value) for value in columns["value"]]
        for tick, rows in zip(*np.unique(ticks, return_counts=True), strict=True):
            self.rows[message["type"]].append((int(tick), now_s, int(rows)))


async def listen(url: str, received: Received, ready: asyncio.Event) -> None:
    async with websockets.connect(url, max_size=None, compression=None) as socket:
        await socket.send(
            json.dumps({"type": "subscribe", "id": "bench", "signals": ["spans", "logs", "metrics"]})
        )
        async for text in socket:
            received.take(text, time.time())
            ready.set()


async def run(layer: Layer, seconds: float, spans: int, samples: int, logs: int) -> dict[str, Any]:
    received, ready = Received(), asyncio.Event()
    url = layer.address("http").replace("http://", "ws://") + "/api/v1/live"
    listener = asyncio.create_task(listen(url, received, ready))
    await asyncio.wait_for(ready.wait(), 20)
    await asyncio.sleep(1)
    cpu_before = descendants_cpu_s(exclude=())
    context = multiprocessing.get_context("spawn")
    reply: Any = context.Queue()
    sender = context.Process(
        target=send, args=(layer.address("otlp/http"), seconds, spans, samples, logs, reply)
    )
    sender.start()
    started, took_s = await asyncio.to_thread(reply.get)
    sender.join()
    wanted = {
        name: len(started[name]) * round(rate * TICK_S)
        for name, rate in (("spans", spans), ("logs", logs), ("metrics", samples))
    }
    deadline = time.monotonic() + DRAIN_S
    while time.monotonic() < deadline and _came(received) != wanted:
        await asyncio.sleep(0.2)
    cpu_s = descendants_cpu_s(exclude=()) - cpu_before
    listener.cancel()
    return report(started, received, wanted, took_s) | {
        "cpu_s_layer": round(cpu_s, 1),
        "seconds": round(took_s, 1),
    }


def _came(received: Received) -> dict[str, int]:
    return {name: sum(rows for _, _, rows in entries) for name, entries in received.rows.items()}


def report(
    started: dict[str, list[float]], received: Received, wanted: dict[str, int], took_s: float
) -> dict[str, Any]:
    by_signal, every = {}, []
    for name, entries in received.rows.items():
        latency_ms = np.repeat(
            [(at - started[name][tick]) * 1e3 for tick, at, _ in entries], [rows for _, _, rows in entries]
        )
        every.append(latency_ms)
        came = sum(rows for _, _, rows in entries)
        by_signal[name] = {
            "sent": wanted[name], "lost": wanted[name] - came, "rate_per_s": round(wanted[name] / took_s),
            **_quantiles(latency_ms),
        }  # fmt: skip
        say(f"{name}: {by_signal[name]}")
        slow = sorted(entries, key=lambda e: started[name][e[0]] - e[1])[:8]
        late = ", ".join(
            f"{(at - started[name][tick]) * 1e3:.0f} ms at {tick * TICK_S:.1f} s" for tick, at, _ in slow
        )
        say(f"  latest: {late}")
    lost = sum(part["lost"] for part in by_signal.values())
    return {**_quantiles(np.concatenate(every)), "lost": int(lost), "by_signal": by_signal}


def _quantiles(values_ms: Any) -> dict[str, float]:
    if not len(values_ms):
        return {}
    p50, p99, most = np.quantile(values_ms, (0.5, 0.99, 1.0))
    return {"p50_ms": round(float(p50), 1), "p99_ms": round(float(p99), 1), "max_ms": round(float(most), 1)}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--spans", type=int, default=5_000, help="spans a second")
    parser.add_argument("--samples", type=int, default=20_000, help="samples a second")
    parser.add_argument("--logs", type=int, default=5_000, help="log records a second")
    options = parser.parse_args()
    end_on_sigterm()
    with tempfile.TemporaryDirectory() as folder:
        settings = load(environ={**os.environ, **free_ports(folder)})
        with Layer(settings, lambda what, detail: say(f"{what}: {detail}")) as layer:
            found = asyncio.run(run(layer, options.seconds, options.spans, options.samples, options.logs))
    print(json.dumps(found))


def free_ports(folder: str) -> dict[str, str]:
    return {
        "KUBECHAT_OBS_GENERAL_DATA_DIR": folder,
        "KUBECHAT_OBS_GATEWAY_OTLP_GRPC_PORT": "0",
        "KUBECHAT_OBS_GATEWAY_OTLP_HTTP_PORT": "0",
        "KUBECHAT_OBS_AGGREGATOR_PORT": "0",
        "KUBECHAT_OBS_RAY_DASHBOARD_PORT": "0",
    }


if __name__ == "__main__":
    main()
