"""Kubernetes discovery: lists and watches through kubernetes-asyncio, objects as plain JSON.

For each kind and namespace: a list, then a watch from its version on. A watch that ends goes on where it was;
one whose version is too old (410) begins with a list again. While the API is away the targets stay.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import structlog
from kubernetes_asyncio import config as access
from kubernetes_asyncio.client import ApiClient, ApiException, Configuration

from actors.scraper.discovery import Update
from actors.scraper.fetch import authorization
from agent.errors import SettingsError
from agent.telemetry.scrape_board import MAIN, Board, kinds_of
from agent.telemetry.scrape_config import KubernetesDiscovery
from agent.telemetry.scrape_kubernetes import key_of

log = structlog.get_logger("scraper")

PREFIX = {
    "endpointslices": "/apis/discovery.k8s.io/v1",
    "ingresses": "/apis/networking.k8s.io/v1",
}
CORE = "/api/v1"
GATHER_S = 0.1  # changes that come together are told together
WATCH_S = 300  # how long the server is asked to keep a watch open
RETRY_S, LONGEST_RETRY_S = 1.0, 30.0
PAGE = 500
LIST_S = 60.0
MAX_EVENT_BYTES = 16 << 20
OWN_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")


class Gone(Exception):
    """The version that a watch should begin at is no longer kept."""


class Kubernetes:
    def __init__(self, config: KubernetesDiscovery) -> None:
        self._config = config
        self._board = Board(config.role, config.attach_node)
        self._changed = asyncio.Event()
        self._missing: set[tuple[str, str]] = set()

    async def run(self, update: Update) -> None:
        namespaces = self._namespaces()
        scopes = [
            (kind, namespace)
            for kind in kinds_of(self._config.role, self._config.attach_node)
            for namespace in (namespaces if kind != "nodes" else ("",))
        ]
        self._missing = set(scopes)
        async with ApiClient(await configuration(self._config)) as client, asyncio.TaskGroup() as tasks:
            for kind, namespace in scopes:
                tasks.create_task(self._follow(client, kind, namespace))
            tasks.create_task(self._tell(update))

    async def _tell(self, update: Update) -> None:
        while True:
            await self._changed.wait()
            await asyncio.sleep(GATHER_S)
            self._changed.clear()
            if not self._missing and (groups := self._board.changed()):
                update(groups)

    async def _follow(self, client: ApiClient, kind: str, namespace: str) -> None:
        version, wait_s = "", RETRY_S
        while True:
            try:
                if not version:
                    version = await self._list(client, kind, namespace)
                version = await self._watch(client, kind, namespace, version)
                wait_s = RETRY_S
                continue
            except Gone:
                version = ""
                continue
            except (ApiException, aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
                reason = f"HTTP {error.status}" if isinstance(error, ApiException) else type(error).__name__
                log.warning(
                    "the Kubernetes API does not answer", kind=kind, namespace=namespace, reason=reason
                )
            await asyncio.sleep(wait_s)
            wait_s = min(2 * wait_s, LONGEST_RETRY_S)

    async def _list(self, client: ApiClient, kind: str, namespace: str) -> str:
        """The objects as they are now, in pages; the version that a watch goes on from."""
        items: list[Any] = []
        more = ""
        while True:
            query = {"limit": str(PAGE), **({"continue": more} if more else {})}
            async with asyncio.timeout(LIST_S):
                response = await self._get(client, kind, namespace, query)
                page = orjson.loads(await response.read())
            items += page.get("items") or []
            meta = page.get("metadata") or {}
            more = meta.get("continue") or ""
            if not more:
                break
        self._board.replace(kind, namespace, items)
        self._missing.discard((kind, namespace))
        self._changed.set()
        return str(meta.get("resourceVersion") or "")

    async def _watch(self, client: ApiClient, kind: str, namespace: str, version: str) -> str:
        """Follows until the server ends it; the version to go on from."""
        query = {
            "watch": "true",
            "resourceVersion": version,
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(WATCH_S),
        }
        response = await self._get(client, kind, namespace, query)
        rest = b""
        try:
            async for chunk in response.content.iter_any():
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    version = self._apply(kind, namespace, orjson.loads(line)) or version
                if len(rest) > MAX_EVENT_BYTES:
                    raise ValueError(f"an event of more than {MAX_EVENT_BYTES} bytes")
        finally:
            response.close()
        return version

    def _apply(self, kind: str, namespace: str, event: Mapping[str, Any]) -> str:
        what, item = event.get("type"), event.get("object") or {}
        if what == "ERROR":
            if item.get("code") == 410:
                raise Gone
            raise ValueError(f"the watch ended: {item.get('message', '')}")
        if what in ("ADDED", "MODIFIED"):
            self._board.put(kind, namespace, item)
            self._changed.set()
        elif what == "DELETED":
            self._board.remove(kind, key_of(item))
            self._changed.set()
        return str((item.get("metadata") or {}).get("resourceVersion") or "")

    async def _get(
        self, client: ApiClient, kind: str, namespace: str, query: Mapping[str, str]
    ) -> aiohttp.ClientResponse:
        """Raises ``Gone`` or ``ApiException`` where the answer is not 200."""
        below = f"/namespaces/{namespace}" if namespace else ""
        selectors = {
            f"{name}Selector": text
            for one in self._config.selectors
            if MAIN[one.role] == kind
            for name, text in (("label", one.label), ("field", one.field))
            if text
        }
        response: aiohttp.ClientResponse = await client.call_api(
            f"{PREFIX.get(kind, CORE)}{below}/{kind}",
            "GET",
            query_params=[*query.items(), *selectors.items()],
            header_params={"Accept": "application/json", **authorization(self._config.http)},
            auth_settings=["BearerToken"],
            _preload_content=False,
            _request_timeout=aiohttp.ClientTimeout(sock_connect=10.0, sock_read=WATCH_S + 30.0),
        )
        if response.status == 200:
            return response
        response.close()
        if response.status == 410:
            raise Gone
        raise ApiException(status=response.status, reason=response.reason)

    def _namespaces(self) -> tuple[str, ...]:
        """Those that are followed; ("",) for all."""
        named = self._config.namespaces
        if self._config.own_namespace:
            try:
                named = (*named, OWN_NAMESPACE.read_text(encoding="utf-8").strip())
            except OSError as error:
                raise SettingsError(
                    "namespaces.own_namespace", str(error), "a pod's service account"
                ) from None
        return tuple(dict.fromkeys(named)) or ("",)


async def configuration(config: KubernetesDiscovery) -> Configuration:
    """How the API is reached. Raises ``SettingsError``."""
    made = Configuration()
    try:
        if config.api_server:
            made.host = config.api_server
            tls = config.http.tls
            made.ssl_ca_cert, made.cert_file, made.key_file = (
                tls.ca_file or None,
                tls.cert_file or None,
                tls.key_file or None,
            )
            made.verify_ssl, made.tls_server_name = not tls.insecure_skip_verify, tls.server_name or None
        elif config.kubeconfig:
            await access.load_kube_config(config_file=config.kubeconfig, client_configuration=made)
        else:
            access.load_incluster_config(client_configuration=made)  # type: ignore[no-untyped-call]
    except (access.ConfigException, OSError) as error:
        missing = "KUBERNETES_SERVICE_HOST" not in os.environ
        hint = "; set api_server or kubeconfig_file outside of a cluster" if missing else ""
        raise SettingsError(
            "kubernetes_sd_configs", str(error), f"access to the Kubernetes API{hint}"
        ) from None
    return made
