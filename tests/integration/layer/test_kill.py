"""Killing any one actor in the middle of a load loses nothing that was acknowledged."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import requests

from actors.runtime import Layer
from tests.otlp import post_until_taken, traces

KINDS = ["stream-0", "stream-1", "gateway-0", "detector-0", "correlator-0", "aggregator-0", "supervisor"]
BATCH = 50
HEAL_S = 40.0


@contextmanager
def load(otlp: str, services: list[str]) -> Iterator[dict[str, int]]:
    """Sends spans of several services all the time; yields how many were acknowledged, by service."""
    taken = dict.fromkeys(services, 0)
    stop = threading.Event()

    def send(service: str, base: int) -> None:
        while not stop.is_set():
            ids = range(base + taken[service] + 1, base + taken[service] + 1 + BATCH)
            post_until_taken(f"{otlp}/v1/traces", traces(service, ids))
            taken[service] += BATCH
            time.sleep(0.02)

    threads = [
        threading.Thread(target=send, args=(service, (i + 1) << 40)) for i, service in enumerate(services)
    ]
    for thread in threads:
        thread.start()
    try:
        yield taken
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def seen(api: str, services: list[str]) -> dict[str, int]:
    sources = requests.get(f"{api}/api/v1/sources", timeout=10).json()["sources"]
    return {source["service"]: source["spans"] for source in sources if source["service"] in services}


@pytest.mark.ray
@pytest.mark.parametrize("name", KINDS)
def test_a_killed_actor_heals_and_nothing_acknowledged_is_lost(
    layer: Layer, api: str, otlp: str, name: str
) -> None:
    services = [f"{name}-load-{i}" for i in range(4)]
    pid = next(actor.pid for actor in layer.status().actors if actor.name == name)
    with load(otlp, services) as taken:
        time.sleep(0.5)
        os.kill(pid, signal.SIGKILL)
        healed_s = wait_healed(layer, name, pid)
        time.sleep(0.5)
    assert healed_s < HEAL_S
    assert min(taken.values()) > 0
    deadline = time.monotonic() + 15
    while time.monotonic() < deadline and found(api, services) != taken:
        time.sleep(0.3)
    assert found(api, services) == taken


@pytest.mark.ray
def test_a_killed_supervisor_goes_on_watching_without_being_asked(layer: Layer, otlp: str) -> None:
    pids = {actor.kind: actor.pid for actor in layer.status().actors}
    os.kill(pids["supervisor"], signal.SIGKILL)
    time.sleep(5.0)
    os.kill(pids["gateway"], signal.SIGKILL)
    wait_away(otlp)
    post_until_taken(f"{otlp}/v1/traces", traces("nobody-asked", [1]))


def wait_away(otlp: str) -> None:
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        try:
            requests.get(otlp, timeout=1)
        except requests.RequestException:
            return
        time.sleep(0.02)
    raise AssertionError("the gateway still answers")


def found(api: str, services: list[str]) -> dict[str, int]:
    try:
        return seen(api, services)
    except requests.RequestException:
        return {}


def wait_healed(layer: Layer, name: str, old_pid: int) -> float:
    began = time.monotonic()
    while time.monotonic() - began < HEAL_S:
        try:
            actors = {actor.name: actor for actor in layer.status().actors}
            if actors[name].pid not in (0, old_pid) and all(a.state == "ready" for a in actors.values()):
                break
        except Exception:  # whatever it is: the supervisor itself may be away
            pass
        time.sleep(0.2)
    return time.monotonic() - began
