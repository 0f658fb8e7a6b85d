"""The ruler's way to the layer: queries at the aggregator, results by remote write at the gateway."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import aiohttp

from actors.ports import DEFAULT_TENANT, SupervisorPort
from agent.errors import BadInput, Overloaded
from agent.promql.rule_groups import RuleSample, RuleWrite
from agent.secret import Secret
from agent.telemetry.native import CounterReset, encode_histogram
from agent.telemetry.remote_write_client import WriteSeries, encode_write_request, encode_write_request_v2

PROTOCOL = "otlp/http"  # by which the supervisor knows the address
WRITE_PATH = "/api/v1/write"
TIMEOUT = aiohttp.ClientTimeout(total=30.0, connect=5.0)
HEADERS = {
    "Content-Type": "application/x-protobuf",
    "Content-Encoding": "snappy",
    "X-Prometheus-Remote-Write-Version": "0.1.0",
}
HEADERS_V2 = HEADERS | {
    "Content-Type": "application/x-protobuf;proto=io.prometheus.write.v2.Request",
    "X-Prometheus-Remote-Write-Version": "2.0.0",
}
TENANT_HEADER = "X-Scope-OrgID"
MAX_SHOWN = 300  # characters of an answer in an error


class RuleQueries(Protocol):
    """The part of the aggregator that answers rules."""

    async def rule_query(self, tenant: str, expr: str, time_ms: int) -> list[RuleSample]: ...


class LayerRulePort:
    """Implements ``actors.ruler.RulePort``."""

    def __init__(self, supervisor: SupervisorPort, queries: RuleQueries, write_token: Secret) -> None:
        self._supervisor, self._queries, self._token = supervisor, queries, write_token
        self._session: aiohttp.ClientSession | None = None
        self._address = ""

    async def now_ms(self, tenant: str) -> int:
        status = await self._supervisor.status()
        return status.event_time_ns.get(tenant, 0) // 1_000_000

    async def query(self, tenant: str, expr: str, time_ms: int) -> Sequence[RuleSample]:
        return await self._queries.rule_query(tenant, expr, time_ms)

    async def write(self, tenant: str, write: RuleWrite) -> None:
        headers, body = written(write)
        if self._token:
            headers["Authorization"] = f"Bearer {self._token.reveal()}"
        if tenant != DEFAULT_TENANT:
            headers[TENANT_HEADER] = tenant
        status, said = await self._post(headers, body)
        if status >= 300:
            raise BadInput("rule_samples_refused", f"the gateway refused samples: {said}")

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    async def _post(self, headers: dict[str, str], body: bytes) -> tuple[int, str]:
        """``(status, text)`` of an answer that is not "later". Raises Overloaded for that, and where nobody
        answers."""
        url = await self._find() + WRITE_PATH
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=TIMEOUT)
        try:
            async with self._session.post(url, headers=headers, data=body) as response:
                said = (await response.read())[:MAX_SHOWN].decode("utf-8", "replace")
                if response.status == 429 or response.status >= 500:
                    raise Overloaded(f"the gateway answers {response.status}: {said}")
                return response.status, said
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            self._address = ""  # it may come back at another port
            raise Overloaded(f"{url} does not answer: {type(error).__name__}") from None

    async def _find(self) -> str:
        if not self._address:
            status = await self._supervisor.status()
            found = next((a.listens[PROTOCOL] for a in status.actors if PROTOCOL in a.listens), "")
            if not found:
                raise Overloaded(f"nothing serves {PROTOCOL} yet")
            self._address = found.replace("//0.0.0.0:", "//127.0.0.1:").replace("//[::]:", "//[::1]:")
        return self._address


def written(write: RuleWrite) -> tuple[dict[str, str], bytes]:
    """``(headers, body)``: remote write 2.0 where there are native histograms, else 1.0. Histograms of rules
    are gauges, as Prometheus has them: nothing says whether one was reset."""
    if all(one.histogram is None for one in write.samples):
        floats = ((one.labels, ((write.time_ms, one.value),)) for one in write.samples)
        return dict(HEADERS), encode_write_request(floats)
    return dict(HEADERS_V2), encode_write_request_v2(_series(one, write.time_ms) for one in write.samples)


def _series(one: RuleSample, time_ms: int) -> WriteSeries:
    if one.histogram is None:
        return WriteSeries(one.labels, samples=((time_ms, one.value),))
    message = encode_histogram(one.histogram.hinted(CounterReset.GAUGE), time_ms)
    return WriteSeries(one.labels, histograms=(message,))
