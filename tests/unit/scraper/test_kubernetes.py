"""Discovery against an API server that answers lists and watches as Kubernetes documents them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from actors.scraper import kubernetes
from actors.scraper.kubernetes import Kubernetes
from agent.errors import SettingsError
from agent.secret import Secret
from agent.telemetry.scrape_config import Credentials, HttpConfig, KubernetesDiscovery, Selector, TargetGroup


def pod(name: str, ip: str, version: int) -> dict[str, Any]:
    ports = [{"containerPort": 80}]
    return {
        "metadata": {"name": name, "namespace": "shop", "resourceVersion": str(version)},
        "spec": {"containers": [{"name": "c", "ports": ports}]},
        "status": {"podIP": ip},
    }


class FakeApi:
    """Pods in one namespace; pages of one object, so that a list has several."""

    def __init__(self) -> None:
        self.pods = {"a": pod("a", "10.0.0.1", 1), "b": pod("b", "10.0.0.2", 2)}
        self.events: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()
        self.asked: list[web.Request] = []
        self.failing = 0

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(request)
        if self.failing:
            self.failing -= 1
            return web.Response(status=500)
        if "watch" not in request.query:
            return self._page(int(request.query.get("continue", "0")))
        response = web.StreamResponse()
        await response.prepare(request)
        while event := await self.events.get():
            line = json.dumps(event).encode() + b"\n"
            await response.write(line[:20])
            await response.write(line[20:])
        return response

    def _page(self, first: int) -> web.Response:
        items = list(self.pods.values())
        more = {"continue": str(first + 1)} if first + 1 < len(items) else {}
        page = {"items": items[first : first + 1], "metadata": {"resourceVersion": "7", **more}}
        return web.json_response(page)


class Found:
    def __init__(self) -> None:
        self.addresses: dict[str, list[str]] = {}
        self.changed = asyncio.Event()

    def update(self, groups: Sequence[TargetGroup]) -> None:
        for group in groups:
            self.addresses[group.source] = [target["__address__"] for target in group.targets]
        self.changed.set()

    async def until(self, expected: dict[str, list[str]]) -> None:
        async with asyncio.timeout(10):
            while self.addresses != expected:
                self.changed.clear()
                await self.changed.wait()


@pytest.fixture
async def api() -> AsyncIterator[tuple[FakeApi, str]]:
    made = FakeApi()
    app = web.Application()
    app.router.add_get("/api/v1/namespaces/shop/pods", made.answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield made, f"http://127.0.0.1:{runner.addresses[0][1]}"
    made.events.put_nowait(None)
    await runner.cleanup()


@asynccontextmanager
async def following(url: str, **more: Any) -> AsyncIterator[Found]:
    found = Found()
    config = KubernetesDiscovery("pod", api_server=url, namespaces=("shop",), **more)
    task = asyncio.create_task(Kubernetes(config).run(found.update))
    yield found
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kubernetes, "GATHER_S", 0.0)
    monkeypatch.setattr(kubernetes, "RETRY_S", 0.01)


FIRST = {"pod/shop/a": ["10.0.0.1:80"], "pod/shop/b": ["10.0.0.2:80"]}


async def test_lists_and_watches_are_followed(api: tuple[FakeApi, str]) -> None:
    server, url = api
    http = HttpConfig(Credentials("Bearer", secret=Secret("t")))
    async with following(url, http=http, selectors=(Selector("pod", "app=x", "spec.nodeName=n"),)) as found:
        await found.until(FIRST)
        server.events.put_nowait({"type": "ADDED", "object": pod("c", "10.0.0.3", 8)})
        server.events.put_nowait({"type": "MODIFIED", "object": pod("b", "10.0.0.9", 9)})
        server.events.put_nowait({"type": "DELETED", "object": pod("a", "10.0.0.1", 10)})
        server.events.put_nowait({"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": "11"}}})
        await found.until({"pod/shop/a": [], "pod/shop/b": ["10.0.0.9:80"], "pod/shop/c": ["10.0.0.3:80"]})
        server.events.put_nowait(None)  # the watch ends and goes on from the bookmark
        async with asyncio.timeout(10):
            while len([one for one in server.asked if "watch" in one.query]) < 2:
                await asyncio.sleep(0.01)
    watches = [one.query["resourceVersion"] for one in server.asked if "watch" in one.query]
    assert watches == ["7", "11"]
    assert server.asked[0].headers["Authorization"] == "Bearer t"
    assert server.asked[0].query["labelSelector"] == "app=x"
    assert server.asked[0].query["fieldSelector"] == "spec.nodeName=n"


async def test_a_version_that_is_too_old_begins_with_a_list(api: tuple[FakeApi, str]) -> None:
    server, url = api
    async with following(url) as found:
        await found.until(FIRST)
        del server.pods["a"]
        server.events.put_nowait({"type": "ERROR", "object": {"code": 410, "message": "too old"}})
        await found.until({"pod/shop/a": [], "pod/shop/b": ["10.0.0.2:80"]})


async def test_an_api_that_fails_is_asked_again(api: tuple[FakeApi, str]) -> None:
    server, url = api
    server.failing = 2
    async with following(url) as found:
        await found.until(FIRST)


async def test_outside_of_a_cluster_it_says_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    with pytest.raises(SettingsError, match="set api_server or kubeconfig_file"):
        await Kubernetes(KubernetesDiscovery("pod")).run(lambda groups: None)
