"""The ruler's way to the layer by HTTP: queries at the aggregator, results by remote write at the gateway."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import aiohttp
import orjson

from actors.ports import DEFAULT_TENANT, SupervisorPort
from agent.errors import BadInput, Overloaded
from agent.promql.errors import ExecutionError
from agent.promql.rule_groups import RuleSample, RuleWrite
from agent.settings import Settings
from agent.telemetry.labels import labels_of
from agent.telemetry.remote_write_client import encode_write_request

QUERY, WRITE = "http", "otlp/http"  # by which protocol the supervisor knows the two addresses
QUERY_PATH, WRITE_PATH = "/api/v1/query", "/api/v1/write"
TIMEOUT = aiohttp.ClientTimeout(total=130.0, connect=5.0)
WRITE_HEADERS = {
    "Content-Type": "application/x-protobuf",
    "Content-Encoding": "snappy",
    "X-Prometheus-Remote-Write-Version": "0.1.0",
}
TENANT_HEADER = "X-Scope-OrgID"
MAX_SHOWN = 300  # characters of an answer in an error


class HttpRulePort:
    def __init__(self, settings: Settings, supervisor: SupervisorPort) -> None:
        self._settings, self._supervisor = settings, supervisor
        self._session: aiohttp.ClientSession | None = None
        self._addresses: dict[str, str] = {}

    async def now_ms(self, tenant: str) -> int:
        status = await self._supervisor.status()
        return status.event_time_ns.get(tenant, 0) // 1_000_000

    async def query(self, tenant: str, expr: str, time_ms: int) -> Sequence[RuleSample]:
        form = {"query": expr, "time": f"{time_ms / 1000:.3f}"}
        token = self._settings.aggregator.auth_token.reveal()
        _, text = await self._post(QUERY, QUERY_PATH, tenant, token, data=form)
        return read_answer(text)

    async def write(self, tenant: str, write: RuleWrite) -> None:
        for one in write.samples:
            if one.histogram is not None:
                raise ExecutionError("the result holds native histograms, which rules cannot record by HTTP")
        body = encode_write_request((one.labels, ((write.time_ms, one.value),)) for one in write.samples)
        token = self._settings.gateway.auth_token.reveal()
        status, text = await self._post(WRITE, WRITE_PATH, tenant, token, data=body, headers=WRITE_HEADERS)
        if status >= 300:
            raise BadInput("rule_samples_refused", f"the gateway refused samples: {_shown(text)}")

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    async def _post(
        self, protocol: str, path: str, tenant: str, token: str, **request: Any
    ) -> tuple[int, bytes]:
        """``(status, body)`` of an answer that is not "later". Raises Overloaded for that, and where nobody
        answers."""
        headers = dict(request.pop("headers", {}))
        if token:
            headers["Authorization"] = f"Bearer {token}"
        if tenant != DEFAULT_TENANT:
            headers[TENANT_HEADER] = tenant
        url = await self._address(protocol) + path
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=TIMEOUT)
        try:
            async with self._session.post(url, headers=headers, **request) as response:
                text = await response.read()
                if response.status == 429 or response.status >= 500:
                    raise Overloaded(f"{url} answers {response.status}: {_shown(text)}")
                return response.status, text
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            self._addresses.pop(protocol, None)  # it may come back at another port
            raise Overloaded(f"{url} does not answer: {type(error).__name__}") from None

    async def _address(self, protocol: str) -> str:
        if protocol not in self._addresses:
            status = await self._supervisor.status()
            found = next((a.listens[protocol] for a in status.actors if protocol in a.listens), "")
            if not found:
                raise Overloaded(f"nothing serves {protocol} yet")
            found = found.replace("//0.0.0.0:", "//127.0.0.1:").replace("//[::]:", "//[::1]:")
            self._addresses[protocol] = found
        return self._addresses[protocol]


def read_answer(text: bytes) -> list[RuleSample]:
    """The samples in an answer of ``/api/v1/query``. Raises ExecutionError with what the API says is wrong."""
    try:
        answer = orjson.loads(text)
        if answer["status"] != "success":
            raise ExecutionError(str(answer["error"]))
        kind, result = answer["data"]["resultType"], answer["data"]["result"]
        if kind == "scalar":
            return [RuleSample((), float(result[1]))]
        if kind != "vector":
            raise ExecutionError(f"rule result is not a vector or scalar, but a {kind}")
        return [_sample(one) for one in result]
    except (orjson.JSONDecodeError, KeyError, TypeError, IndexError) as error:
        raise ExecutionError(
            f"the answer is not one of a query ({type(error).__name__}): {_shown(text)}"
        ) from None


def _sample(one: dict[str, Any]) -> RuleSample:
    if "histogram" in one:
        raise ExecutionError("the result holds native histograms, which rules cannot record by HTTP")
    return RuleSample(labels_of(one["metric"]), float(one["value"][1]))


def _shown(text: bytes) -> str:
    return text[:MAX_SHOWN].decode("utf-8", "replace")
