from __future__ import annotations

from typing import Any

import aiohttp
import pytest

from agent.detection.red import RedKey, RedKind
from agent.errors import Malformed, NotFound, Overloaded, StoreError, TooLarge, Unsupported
from tests.unit.aggregator.fakes import NOW_S, NS, TRACE_ID, Shop, health
from tests.unit.detection.builders import bin_of

V1 = "/api/v1"


async def get(
    http: aiohttp.ClientSession, path: str, status: int = 200, headers: dict[str, str] | None = None
) -> Any:
    async with http.get(path, headers=headers) as response:
        assert response.status == status, await response.text()
        return await response.json()


async def post(http: aiohttp.ClientSession, path: str, body: Any = None, status: int = 200) -> Any:
    async with http.post(path, json=body) as response:
        assert response.status == status, await response.text()
        return await response.json()


async def test_healthz_says_up(http: aiohttp.ClientSession) -> None:
    assert await get(http, "/healthz") == {"status": "up"}


async def test_readyz_names_what_it_waits_for(http: aiohttp.ClientSession, shop: Shop) -> None:
    shop.supervisor.actors.append(health("stream-1", "starting", detail="replays its log"))
    assert await get(http, "/readyz", 503) == {"ready": False, "waiting_for": {"stream-1": "replays its log"}}


async def test_readyz_when_all_are(http: aiohttp.ClientSession) -> None:
    assert (await get(http, "/readyz"))["ready"]


async def test_readyz_without_supervisor(http: aiohttp.ClientSession, shop: Shop) -> None:
    shop.supervisor.away = True
    assert (await get(http, "/readyz", 503))["error"]["code"] == "overloaded"


async def test_index_links(http: aiohttp.ClientSession) -> None:
    assert V1 + "/services" in (await get(http, "/"))["links"]


async def test_status_is_kept_for_a_moment(http: aiohttp.ClientSession, shop: Shop) -> None:
    for _ in range(3):
        assert (await get(http, V1 + "/status"))["version"] == "9.9"
    assert shop.supervisor.calls == 1


async def test_sources_of_all_streams(http: aiohttp.ClientSession) -> None:
    found = (await get(http, V1 + "/sources"))["sources"]
    assert [(s["service"], s["stream"]) for s in found] == [("cart", 0), ("front", 0), ("payment", 1)]


async def test_sources_of_a_service(http: aiohttp.ClientSession) -> None:
    assert len((await get(http, V1 + "/sources?service=cart"))["sources"]) == 1


async def test_services_show_the_last_minute(http: aiohttp.ClientSession) -> None:
    cart = (await get(http, V1 + "/services"))["services"][0]
    assert (cart["service"], cart["rate_per_s"], cart["versions"]) == ("cart", 5.0, ["1.2"])


async def test_services_that_only_a_mesh_sees(http: aiohttp.ClientSession, shop: Shop) -> None:
    key = RedKey("ledger", "bank", "default", "http", RedKind.SERVED)
    for stream in shop.streams:
        stream.proxies = bin_of(-30, (key, [0.1] * 30, 3))
    found = (await get(http, V1 + "/services"))["services"]
    [ledger] = [one for one in found if one["service"] == "ledger"]
    rate = len(shop.streams) * 30 / 60
    assert (ledger["namespace"], ledger["instances"], ledger["rate_per_s"]) == ("bank", 0, rate)
    red = await get(http, f"{V1}/services/ledger/red?start=now-1m&step=60&by=operation")
    assert [(one["operation"], one["error_ratio"]) for one in red["series"]] == [("http", [0.1])]


@pytest.mark.parametrize("as_header", [True, False])
async def test_tenant_by_header_or_parameter(http: aiohttp.ClientSession, as_header: bool) -> None:
    headers, query = ({"X-Scope-OrgID": "other"}, "") if as_header else ({}, "?tenant=other")
    found = await get(http, f"{V1}/sources{query}", headers=headers)
    assert (found["tenant"], found["sources"]) == ("other", [])


async def test_red_has_null_for_nan(http: aiohttp.ClientSession) -> None:
    found = await get(http, f"{V1}/services/cart/red?start=now-1m&step=30&by=operation")
    assert found["series"][0]["operation"] == "GET /items"
    assert found["series"][0]["p95_ms"] == [9.0, None]
    assert (found["start_s"], found["end_s"]) == (NOW_S - 60, NOW_S)


async def test_red_of_an_unknown_service(http: aiohttp.ClientSession) -> None:
    assert (await get(http, f"{V1}/services/nobody/red", 404))["error"]["code"] == "not_found"


async def test_topology_names_all_services(http: aiohttp.ClientSession) -> None:
    found = await get(http, f"{V1}/topology")
    assert found["services"] == ["cart", "front", "payment"]
    assert found["edges"][0]["p95_ms"] is None


@pytest.mark.parametrize(
    ("query", "count"),
    [("", 1), ("?status=open", 1), ("?status=resolved", 0), ("?service=front", 1), ("?service=payment", 0),
     ("?severity=critical", 1), ("?since=now-10s", 0), ("?since=now-1h&limit=5", 1)],
)  # fmt: skip
async def test_incidents_are_filtered(http: aiohttp.ClientSession, query: str, count: int) -> None:
    assert len((await get(http, f"{V1}/incidents{query}"))["incidents"]) == count


async def test_incidents_of_earlier_runs(http: aiohttp.ClientSession, shop: Shop) -> None:
    shop.store.kept["i-0"] = {"id": "i-0", "status": "resolved", "started_s": 5.0}
    assert [i["id"] for i in (await get(http, f"{V1}/incidents"))["incidents"]] == ["i-1", "i-0"]


async def test_incidents_without_store_say_so(http: aiohttp.ClientSession, shop: Shop) -> None:
    shop.store.error = StoreError("PostgreSQL is away")
    found = await get(http, f"{V1}/incidents")
    assert len(found["incidents"]) == 1
    assert "PostgreSQL is away" in found["partial"]


async def test_incident_by_id(http: aiohttp.ClientSession) -> None:
    assert (await get(http, f"{V1}/incidents/i-1"))["service"] == "cart"
    assert (await get(http, f"{V1}/incidents/i-9", 404))["error"]["code"] == "not_found"


async def test_an_old_incident_opens(http: aiohttp.ClientSession, shop: Shop) -> None:
    shop.store.kept["i-0"] = {"id": "i-0", "status": "resolved", "started_s": 5.0}
    assert (await get(http, f"{V1}/incidents/i-0"))["status"] == "resolved"


async def test_incident_while_the_store_is_away(http: aiohttp.ClientSession, shop: Shop) -> None:
    shop.store.error = StoreError("PostgreSQL is away")
    assert (await get(http, f"{V1}/incidents/i-1"))["status"] == "open"
    assert (await get(http, f"{V1}/incidents/i-0", 503))["error"]["code"] == "store_away"


async def test_acknowledge_then_resolve(http: aiohttp.ClientSession) -> None:
    taken = await post(http, f"{V1}/incidents/i-1/acknowledge", {"by": "ana"})
    assert (taken["status"], taken["acknowledged_by"], taken["service"]) == ("acknowledged", "ana", "cart")
    assert (await post(http, f"{V1}/incidents/i-1/resolve", {}))["status"] == "resolved"
    assert (await get(http, f"{V1}/incidents/i-1"))["status"] == "resolved"


async def test_acknowledge_needs_no_body(http: aiohttp.ClientSession) -> None:
    async with http.post(f"{V1}/incidents/i-1/acknowledge") as response:
        assert (await response.json())["status"] == "acknowledged"


async def test_resolved_stays_resolved(http: aiohttp.ClientSession) -> None:
    await post(http, f"{V1}/incidents/i-1/resolve", {})
    assert (await post(http, f"{V1}/incidents/i-1/resolve", {}))["status"] == "resolved"
    refused = await post(http, f"{V1}/incidents/i-1/acknowledge", {}, 400)
    assert refused["error"]["code"] == "already_resolved"


async def test_ask_by_post(http: aiohttp.ClientSession, shop: Shop) -> None:
    body = {"question": "why is latency up?", "service": "cart", "at": "now-1m", "tenant": "t1"}
    assert (await post(http, f"{V1}/ask", body))["causes"][0]["kind"] == "slow_database"
    question, service, at_ns, tenant = shop.correlator.asked[0]
    assert (question, service, tenant) == ("why is latency up?", "cart", "t1")
    assert at_ns is not None


async def test_ask_by_get(http: aiohttp.ClientSession, shop: Shop) -> None:
    assert (await get(http, f"{V1}/ask?q=why&at=1700000000"))["verdict"] == "cause"
    assert shop.correlator.asked == [("why", None, NOW_S * NS, "default")]


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (Malformed("broken", "bytes"), 400, "broken"),
        (TooLarge("too_long", "much"), 413, "too_long"),
        (Unsupported("dialect", "what"), 415, "dialect"),
        (NotFound("nothing was sent"), 404, "not_found"),
        (Overloaded("later", 2.5), 503, "overloaded"),
        (StoreError("away"), 503, "store_away"),
        (ValueError("a secret detail"), 500, "internal"),
    ],
)
async def test_errors_become_http(
    http: aiohttp.ClientSession, shop: Shop, error: Exception, status: int, code: str
) -> None:
    shop.correlator.error = error
    refused = await post(http, f"{V1}/ask", {"question": "why?"}, status)
    assert refused["error"]["code"] == code
    assert "secret" not in str(refused)


async def test_retry_after(http: aiohttp.ClientSession, shop: Shop) -> None:
    shop.correlator.error = Overloaded("later", 2.5)
    async with http.get(f"{V1}/ask?q=why") as response:
        assert response.headers["Retry-After"] == "3"


@pytest.mark.parametrize(
    ("path", "status", "code", "hint"),
    [
        ("/services?strat=1", 400, "unknown_parameter", "tenant"),
        ("/services/cart/red?strat=now", 400, "unknown_parameter", "start, end, step, by"),
        ("/services/cart/red?start=yesterday", 400, "bad_time", "RFC 3339"),
        ("/services/cart/red?start=now&end=now-1h", 400, "bad_range", "swap"),
        ("/services/cart/red?step=0", 400, "bad_number", "1 to 86400"),
        ("/services/cart/red?by=pod", 400, "bad_choice", "operation"),
        ("/services/cart/red?start=now-30d&step=1", 400, "too_many_points", "step of"),
        ("/services?tenant=a/b", 400, "bad_tenant", "X-Scope-OrgID"),
        ("/services?tenant=a&tenant=b", 400, "repeated_parameter", "once"),
        ("/incidents?limit=1e9", 400, "bad_number", "1000"),
        ("/ask", 400, "bad_question", "why is latency up?"),
        ("/ask?q=" + "x" * 2001, 400, "bad_question", "2000"),
        ("/traces/xyz", 400, "bad_trace_id", "32"),
        ("/evidence/what:1", 400, "bad_reference", "trace:<32"),
        ("/nothing", 404, "no_such_route", "/api/v1/docs"),
        ("/live", 400, "not_a_websocket", "ws://"),
    ],
)
async def test_bad_requests(
    http: aiohttp.ClientSession, path: str, status: int, code: str, hint: str
) -> None:
    error = (await get(http, V1 + path, status))["error"]
    assert error["code"] == code
    assert hint in error["hint"]


@pytest.mark.parametrize(
    ("body", "content_type", "status", "code"),
    [
        (b"{", "application/json", 400, "bad_body"),
        (b'{"question":1}', "application/json", 400, "bad_body"),
        (b'{"question":"a","servise":"b"}', "application/json", 400, "bad_body"),
        (b'{"question":"a"}', "text/plain", 415, "content_type"),
        (b"", "application/json", 400, "bad_body"),
        (b'"' + b"x" * 70_000 + b'"', "application/json", 413, "too_large"),
    ],
)
async def test_bad_bodies(
    http: aiohttp.ClientSession, body: bytes, content_type: str, status: int, code: str
) -> None:
    async with http.post(f"{V1}/ask", data=body, headers={"Content-Type": content_type}) as response:
        assert response.status == status
        assert (await response.json())["error"]["code"] == code


async def test_method_not_allowed(http: aiohttp.ClientSession) -> None:
    async with http.delete(f"{V1}/services") as response:
        assert response.status == 405
        assert "GET" in response.headers["Allow"]


@pytest.mark.parametrize(
    ("reference", "kind"),
    [
        (f"trace:{TRACE_ID}", "trace"),
        ("log:2", "log"),
        ("series:cart/cart-1/http/rate@1..2", "series"),
        ("red:cart@1..2", "red"),
        ("red:cart/GET%20/items@1.5..2", "red"),
        (f"change:cart@{NOW_S}", "change"),
    ],
)
async def test_evidence_is_opened(http: aiohttp.ClientSession, reference: str, kind: str) -> None:
    found = await get(http, f"{V1}/evidence/{reference}")
    assert found["kind"] == kind
    assert found["evidence"]


@pytest.mark.parametrize(
    "reference",
    [
        "trace:" + "0" * 32,
        "log:1",
        f"log:{9 << 48}",
        "series:nobody/x/m@1..2",
        "red:nobody@1..2",
        "red:cart/GET%20/x@1..2",
        "change:nobody@5",
    ],
)
async def test_evidence_that_is_gone(http: aiohttp.ClientSession, reference: str) -> None:
    assert (await get(http, f"{V1}/evidence/{reference}", 404))["error"]["code"] == "not_found"


async def test_trace_is_joined_from_all_streams(http: aiohttp.ClientSession) -> None:
    spans = (await get(http, f"{V1}/traces/{TRACE_ID.upper()}"))["spans"]
    assert [(span["span_id"], span["depth"]) for span in spans] == [
        ("0a", 0),
        ("0b", 1),
        ("1b", 1),
        ("1a", 0),
    ]


async def test_security_headers(http: aiohttp.ClientSession) -> None:
    for path in ("/healthz", "/api/v1/nothing"):
        async with http.get(path) as response:
            assert response.headers["X-Content-Type-Options"] == "nosniff"


async def test_pages_of_other_origins_may_not_change(http: aiohttp.ClientSession) -> None:
    headers = {"Origin": "https://evil.example"}
    async with http.post(f"{V1}/incidents/i-1/resolve", json={}, headers=headers) as response:
        assert response.status == 403


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 200),
        ("LOCALHOST:8400", 200),
        ("127.0.0.1:1", 200),
        ("[::1]:8400", 200),
        ("evil.example", 403),
        ("evil.example:8400", 403),
        ("localhost.evil.example", 403),
        ("127.0.0.1.evil.example", 403),
        ("10.0.0.7", 403),
        ("[::1", 403),
    ],
)
async def test_only_names_of_this_machine(http: aiohttp.ClientSession, host: str, status: int) -> None:
    found = await get(http, f"{V1}/services", status, {"Host": host})
    assert status == 200 or "ask for localhost" in found["error"]["message"]
