"""The shop's customers: an open loop of visits, each a few pages with a pause between them.

Visits begin as a Poisson process whose rate swings like that of a day, with a period of some minutes;
a visit does not wait for anybody else's, so a slow shop gets no mercy. The customers send no
telemetry; what they saw is reported to the supervisor.
"""

from __future__ import annotations

import asyncio
import math
import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import aiohttp

from demo.shop.child import announce, no_orders, run_until_stopped
from demo.shop.service import client_session

VISITS_PER_S = 2.8  # about 8 pages a second
SWING = 0.4
PAUSE_S = (0.15, 0.9)
REPORT_INTERVAL_S = 0.5
CUSTOMERS = 3000
OFFERED = 120
PRODUCTS = 80_000
BARGAIN_RATIO = 0.97  # of the looks are at what is on offer
GIVE_UP_S = 15.0

JOURNEYS: Mapping[str, float] = {"browse": 0.26, "search": 0.17, "cart": 0.15, "checkout": 0.23, "ask": 0.19}
CATEGORIES = (
    "kitchen",
    "garden",
    "lighting",
    "bath",
    "office",
    "toys",
    "tools",
    "textiles",
    "travel",
    "sport",
)
NOUNS = (
    "kettle",
    "lamp",
    "chair",
    "basket",
    "shelf",
    "bottle",
    "blanket",
    "mirror",
    "clock",
    "hammer",
    "towel",
)
QUESTIONS = (
    "Is it easy to clean?",
    "Does it fit into a small flat?",
    "Is it a good present?",
    "How long does it last?",
)

# The more popular a product is, the more it is looked at (Zipf with exponent 0.8).
_POPULARITY = list(accumulate((rank + 1) ** -0.8 for rank in range(OFFERED)))


@dataclass(frozen=True, slots=True)
class Page:
    """One request of a visit. ``route`` is the name under which it is counted."""

    route: str
    method: str
    path: str
    body: Mapping[str, Any] | None = None


def visits_per_s(since_start_s: float, scale: float, period_s: float) -> float:
    """The rate at which visits begin, ``SWING`` around its mean."""
    return VISITS_PER_S * scale * (1 + SWING * math.sin(2 * math.pi * since_start_s / period_s))


def plan_visit(dice: random.Random) -> Sequence[Page]:
    """The pages of one visit, all of one customer."""
    customer = dice.randrange(1, CUSTOMERS)
    product = _pick_product(dice)
    look = Page("product", "GET", f"/product/{product}?customer={customer}")
    item = {"product": product, "quantity": dice.randint(1, 3)}
    put = Page("add to cart", "POST", f"/cart/{customer}/items", item)
    cart = Page("cart", "GET", f"/cart/{customer}")
    (journey,) = dice.choices(list(JOURNEYS), list(JOURNEYS.values()))
    match journey:
        case "browse":
            shelf = f"/category/{dice.choice(CATEGORIES)}?page={dice.randint(0, 3)}"
            return [Page("home", "GET", f"/?customer={customer}"), Page("category", "GET", shelf), look]
        case "search":
            return [Page("search", "GET", f"/search?q={dice.choice(NOUNS)}"), look]
        case "cart":
            return [look, put, cart]
        case "checkout":
            return [look, put, cart, Page("checkout", "POST", "/checkout", {"customer": customer})]
        case _:
            question = {"customer": customer, "product": product, "question": dice.choice(QUESTIONS)}
            return [look, Page("ask", "POST", "/ask", question)]


def _pick_product(dice: random.Random) -> int:
    if dice.random() < BARGAIN_RATIO:
        return dice.choices(range(1, OFFERED + 1), cum_weights=_POPULARITY)[0]
    return dice.randrange(OFFERED + 1, PRODUCTS)


class Customers:
    """``served`` collects ``(unix time, route, milliseconds, status)``; status 0 is no answer at all."""

    def __init__(self, front_url: str, seed: int) -> None:
        self.front_url = front_url
        self.dice = random.Random(seed)
        self.served: list[tuple[float, str, float, int]] = []

    async def come(self, session: aiohttp.ClientSession, scale: float, period_s: float) -> None:
        """Let visits begin, forever."""
        loop = asyncio.get_running_loop()
        began_s = at_s = loop.time()
        visits: set[asyncio.Task[None]] = set()
        while True:
            at_s += self.dice.expovariate(visits_per_s(at_s - began_s, scale, period_s))
            await asyncio.sleep(max(0.0, at_s - loop.time()))
            visit = asyncio.create_task(self._visit(session, plan_visit(self.dice)))
            visits.add(visit)
            visit.add_done_callback(visits.discard)

    async def report(self) -> None:
        while True:
            await asyncio.sleep(REPORT_INTERVAL_S)
            if self.served:
                served, self.served = self.served, []
                announce(served=served)

    async def _visit(self, session: aiohttp.ClientSession, pages: Sequence[Page]) -> None:
        for number, page in enumerate(pages):
            if number:
                await asyncio.sleep(self.dice.uniform(*PAUSE_S))
            await self._request(session, page)

    async def _request(self, session: aiohttp.ClientSession, page: Page) -> None:
        began_s = time.perf_counter()
        try:
            async with session.request(page.method, self.front_url + page.path, json=page.body) as response:
                await response.read()
                status = response.status
        except (aiohttp.ClientError, TimeoutError):
            status = 0
        self.served.append((time.time(), page.route, (time.perf_counter() - began_s) * 1000, status))


async def _run(front_url: str, seed: int, scale: float, period_s: float) -> None:
    customers = Customers(front_url, seed)
    async with client_session(GIVE_UP_S) as session:
        tasks = [
            asyncio.create_task(customers.come(session, scale, period_s)),
            asyncio.create_task(customers.report()),
        ]
        announce(ready=True)
        await run_until_stopped(no_orders)
        for task in tasks:
            task.cancel()


def run_load(front_url: str, seed: int, scale: float, period_s: float) -> None:
    asyncio.run(_run(front_url, seed, scale, period_s))
