"""The shop as it is: real processes, a real database, the real SDK, and a receiver of what it sends."""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
import sys
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass

import aiohttp
import psutil
import pytest
import pytest_asyncio
from aiohttp import web

from demo.shop import supervisor
from demo.shop.faults import FAULTS
from demo.shop.process import REPOSITORY
from demo.shop.supervisor import SERVICES, Member, Shop
from tests.integration.demo.sink import Log, Sink, Span
from tests.integration.demo.watching import alive, postgres_in, until, until_true

pytestmark = pytest.mark.asyncio(loop_scope="module")

MEMORY_LIMIT_BYTES = 80 << 20  # a service needs some 60
SENT_WITHIN_S = 20.0  # the services send each 100 ms, where they get a core
CLIENT, SERVER = 3, 2
ASKED_FROM = bytes.fromhex("00000000000000aa")  # the span of the test itself, which sends none

Body = Mapping[str, object]
Page = tuple[str, str, Body | None]
QUESTION: Body = {"customer": 1, "product": 3, "question": "Is it heavy?"}
ITEM: Body = {"product": 2, "quantity": 1}  # lighting, of which the cart's campaigns know nothing


@dataclass(slots=True)
class Open:
    """An open shop, its customers, and a customer of the test's own."""

    shop: Shop
    sink: Sink
    session: aiohttp.ClientSession
    started: list[Member]

    @property
    def front(self) -> str:
        return self.member("front").url

    def member(self, name: str) -> Member:
        return next(member for member in self.shop.members() if member.name == name)

    def has(self, name: str) -> bool:
        return any(member.name == name for member in self.shop.members())

    def runs(self, member: Member) -> bool:
        return any(other.pid == member.pid for other in self.shop.members())

    async def request(
        self, method: str, path: str, body: Body | None = None, trace: str = ""
    ) -> tuple[int, float]:
        """Status and milliseconds."""
        headers = {"traceparent": f"00-{trace}-{ASKED_FROM.hex()}-01"} if trace else None
        began_s = time.perf_counter()
        async with self.session.request(method, self.front + path, json=body, headers=headers) as response:
            await response.read()
            return response.status, (time.perf_counter() - began_s) * 1000

    async def least_ms(self, page: Page) -> float:
        """Of four: what else runs on the machine only ever adds to it."""
        return min([(await self.request(*page))[1] for _ in range(4)])

    async def takes_longer(self, page: Page, limit_ms: float) -> bool:
        """Twice in a row. Known when the limit has passed: nobody waits for the page."""
        for _ in range(2):
            try:
                async with asyncio.timeout(limit_ms / 1000):
                    await self.request(*page)
            except TimeoutError:
                continue
            return False
        return True

    async def spans(self, trace: str, count: int, services: set[str]) -> list[Span]:
        """The spans of a trace, once it is whole: there are ``count``, each service is among them, and so is
        each span's parent. The services send on their own, so a part alone may come first."""
        await until(lambda: self._whole(trace, count, services), SENT_WITHIN_S)
        return self._of(trace)

    def _whole(self, trace: str, count: int, services: set[str]) -> bool:
        spans = self._of(trace)
        ids = {ASKED_FROM, *(span.id for span in spans)}
        return (
            len(spans) >= count
            and services <= {span.service for span in spans}
            and all(span.parent in ids for span in spans)
        )

    def _of(self, trace: str) -> list[Span]:
        return [span for span in self.sink.spans if span.trace.hex() == trace]

    def logs(self, trace: str) -> list[Log]:
        return [log for log in self.sink.logs if log.trace.hex() == trace]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def here(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Open]:
    sink, started = Sink(), list[Member]()
    runner = web.AppRunner(sink.app(), access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    endpoint = f"http://127.0.0.1:{runner.addresses[0][1]}"
    shop = Shop(tmp_path_factory.mktemp("shop"), endpoint, memory_limit_bytes=MEMORY_LIMIT_BYTES)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OTEL_BSP_SCHEDULE_DELAY", "100")
        patch.setenv("OTEL_BLRP_SCHEDULE_DELAY", "100")
        patch.setenv("OTEL_METRIC_EXPORT_INTERVAL", "1000")
        patch.setattr(supervisor, "RESTART_DELAY_S", 0.2)
        await shop.start(started.append)
        async with aiohttp.ClientSession() as session:
            yield Open(shop, sink, session, started)
        await shop.stop()
    await runner.cleanup()


async def test_every_process_is_announced_once_it_is_ready(here: Open) -> None:
    names = {member.name for member in here.started}
    assert names == {*SERVICES, "cache", "network", "database", "load"}
    assert len({member.pid for member in here.started}) == len(names) == 12


async def test_a_category_is_one_trace_from_the_front_to_the_database(here: Open) -> None:
    trace = secrets.token_hex(16)
    await here.request("GET", "/category/kitchen", trace=trace)
    spans = {span.id: span for span in await here.spans(trace, 4, {"front", "catalogue"})}
    (query,) = (span for span in spans.values() if "db.system.name" in span.attributes)
    chain = [query]
    while chain[-1].parent in spans:
        chain.append(spans[chain[-1].parent])
    assert [(span.service, span.kind) for span in chain] == [
        ("catalogue", CLIENT), ("catalogue", SERVER), ("front", CLIENT), ("front", SERVER),
    ]  # fmt: skip
    assert chain[-1].name == "GET /category/{category}"


async def test_a_question_is_one_trace_from_the_front_to_the_model(here: Open) -> None:
    trace = secrets.token_hex(16)
    await here.request("POST", "/ask", QUESTION, trace)
    services = {"front", "assistant", "catalogue", "model"}
    spans = await here.spans(trace, 9, services)
    assert {span.service for span in spans} == services
    (chat,) = (span for span in spans if "gen_ai.system" in span.attributes)
    assert chat.name == "chat shop-small-1"
    assert chat.attributes["gen_ai.usage.input_tokens"] > chat.attributes["gen_ai.usage.output_tokens"] > 0


async def test_a_checkout_reaches_payment_through_the_network(here: Open) -> None:
    trace = secrets.token_hex(16)
    await here.request("POST", "/cart/9001/items", ITEM)
    status, _ = await here.request("POST", "/checkout", {"customer": 9001}, trace)
    services = {"front", "checkout", "cart", "payment"}
    spans = await here.spans(trace, 12, services)
    assert status in (200, 402)
    assert {span.service for span in spans} == services


async def test_log_lines_carry_the_trace_that_they_belong_to(here: Open) -> None:
    trace = secrets.token_hex(16)
    await here.request("GET", "/category/garden", trace=trace)
    await until(lambda: {log.service for log in here.logs(trace)} == {"front", "catalogue"}, SENT_WITHIN_S)


@pytest.mark.parametrize("name", ["process.cpu.time", "process.memory.usage", "http.server.request.duration"])
async def test_every_service_sends(here: Open, name: str) -> None:
    await until(
        lambda: {m.service for m in here.sink.metrics.values() if m.name == name} == set(SERVICES),
        SENT_WITHIN_S,
    )


async def test_the_resource_says_what_runs_where(here: Open) -> None:
    await until(lambda: any(span.service == "cart" for span in here.sink.spans), SENT_WITHIN_S)
    resource = next(span.resource for span in here.sink.spans if span.service == "cart")
    assert resource["service.namespace"] == "shop"
    assert resource["service.version"] == "2.3.1"
    assert resource["service.instance.id"] == resource["k8s.pod.name"]
    assert resource["service.instance.id"].endswith(f"-{here.member('cart').pid}")


async def test_customers_are_served(here: Open) -> None:
    await until(lambda: here.shop.seen(30).requests >= 10, 15)
    assert here.shop.seen(30).failed == 0


@pytest.mark.parametrize(
    ("fault", "more_ms", "page"),
    [
        ("slow-query", 60, ("GET", "/category/kitchen", None)),
        ("cpu-burn", 100, ("GET", "/product/7?customer=1", None)),
        ("slow-model", 400, ("POST", "/ask", QUESTION)),
        ("cache-lost", 10, ("GET", "/product/2?customer=1", None)),
    ],
    ids=["slow-query", "cpu-burn", "slow-model", "cache-lost"],
)
async def test_a_fault_slows_its_page_until_it_is_healed(
    here: Open, fault: str, more_ms: float, page: Page
) -> None:
    async def slow() -> bool:
        return await here.takes_longer(page, limit_ms)

    async def fast() -> bool:
        return not await slow()

    limit_ms = await here.least_ms(page) + more_ms
    await here.shop.inject(fault)
    await until_true(slow, 5)
    await here.shop.heal(fault)
    await until_true(fast, 10)


async def test_network_delay_delays_checkouts_but_not_payment(here: Open) -> None:
    trace = ""

    async def slow() -> bool:
        nonlocal trace
        trace = secrets.token_hex(16)
        await here.request("POST", "/cart/9002/items", ITEM)
        return (await here.request("POST", "/checkout", {"customer": 9002}, trace))[1] > 780

    await here.shop.inject("network-delay")
    await until_true(slow, 10)
    await here.shop.heal("network-delay")
    spans = await here.spans(trace, 12, {"front", "checkout", "cart", "payment"})
    (payment,) = (span for span in spans if span.service == "payment")
    assert payment.took_ms < 500


async def test_bad_deploy_raises_in_the_new_version_only(here: Open) -> None:
    trace = secrets.token_hex(16)
    await here.shop.inject("bad-deploy")
    broken, _ = await here.request("POST", "/cart/9003/items", ITEM, trace)
    await here.shop.heal("bad-deploy")
    healed, _ = await here.request("POST", "/cart/9003/items", ITEM)
    assert (broken, healed) == (502, 200)
    spans = await here.spans(trace, 4, {"front", "cart"})
    server = next(span for span in spans if span.service == "cart" and span.kind == SERVER)
    assert server.failed
    assert server.resource["service.version"] == "2.4.0"
    assert any("Traceback" in event and "KeyError" in event for event in server.events)
    await until(
        lambda: any(log.severity == 17 and log.service == "cart" for log in here.logs(trace)), SENT_WITHIN_S
    )


async def test_pool_exhausted_lets_requests_time_out_until_healed(here: Open) -> None:
    async def fails() -> bool:
        return (await here.request("GET", "/cart/9004"))[0] == 502

    async def serves() -> bool:
        return not await fails()

    await here.shop.inject("pool-exhausted")
    await until_true(fails, 10)
    await until(
        lambda: any("waiting for a database connection" in log.body for log in here.sink.logs), SENT_WITHIN_S
    )
    await here.shop.heal("pool-exhausted")
    await until_true(serves, 10)


async def test_memory_leak_grows_until_the_limit_and_the_service_comes_back(here: Open) -> None:
    before = here.member("recommendation")
    await here.shop.inject("memory-leak")
    await until(lambda: not here.runs(before), 30)
    await here.shop.heal("memory-leak")
    await until(lambda: here.has("recommendation"), 10)
    assert here.member("recommendation").restarts == before.restarts + 1


async def test_a_killed_keeper_comes_back_to_its_database(here: Open) -> None:
    before = here.member("database")
    server = {process.pid for process in postgres_in(here.shop.data_dir)}
    os.kill(before.pid, signal.SIGKILL)
    await until(lambda: not here.runs(before) and here.has("database"), 10)
    assert here.member("database").url == before.url
    assert server & {process.pid for process in postgres_in(here.shop.data_dir)}
    assert (await here.request("GET", "/category/kitchen"))[0] == 200


async def test_no_telemetry_tells_what_was_broken(here: Open) -> None:
    words = [*(name for name in FAULTS if name != "none"), "inject", "keep_ratio", "refine_ms", "feed_per_s"]
    everything = b"".join(here.sink.bodies)
    assert everything
    assert not [word for word in words if word.encode() in everything]


async def test_it_can_be_stopped_in_the_middle_of_a_rollout(here: Open) -> None:
    """The shop is closed then; what comes after this can use its database."""
    rollout = asyncio.create_task(here.shop.inject("bad-deploy"))
    await asyncio.sleep(0.1)
    family = [*psutil.Process().children(recursive=True), *postgres_in(here.shop.data_dir)]
    await here.shop.stop()
    await asyncio.gather(rollout, return_exceptions=True)
    assert len(family) > 13
    assert not alive(family)
    assert not here.shop.members()


async def test_nothing_outlives_a_supervisor_that_is_killed(here: Open) -> None:
    await here.shop.stop()
    folder = here.shop.data_dir
    up = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "demo.shop", "up", "--otlp", "http://127.0.0.1:9", "--data-dir", str(folder),
        stdout=asyncio.subprocess.PIPE, cwd=REPOSITORY,
    )  # fmt: skip
    assert up.stdout is not None
    while b"open at" not in await asyncio.wait_for(up.stdout.readline(), 40):
        pass
    family = [*psutil.Process(up.pid).children(recursive=True), *postgres_in(folder)]
    up.kill()
    assert len(family) > 13
    await until(lambda: not alive(family), 15)
    assert not postgres_in(folder)
    assert await up.wait() == -signal.SIGKILL
