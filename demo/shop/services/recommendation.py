"""Recommendation: scores what is on offer by what was looked at lately."""

from __future__ import annotations

import asyncio
import random
import time
from collections import deque
from collections.abc import Iterable, MutableSequence
from typing import Any

from aiohttp import web

from demo.shop.service import Service

OFFERED = range(1, 121)
DIMENSIONS = 12
PICKS = 4
HISTORY = 400
FEED_INTERVAL_S = 0.1

Look = dict[str, Any]


class Recommendation(Service):
    """Knobs: ``refine_ms`` is how long each answer is refined after the first scoring;
    ``feed_per_s`` lets the looks of a whole feed into the history, which then forgets nothing."""

    name = "recommendation"

    async def open(self) -> None:
        dice = random.Random(7)
        self.vectors = {product: [dice.gauss(0, 1) for _ in range(DIMENSIONS)] for product in OFFERED}
        self.history: MutableSequence[Look] = deque(maxlen=HISTORY)
        self.feed: asyncio.Task[None] | None = None

    async def close(self) -> None:
        if self.feed is not None:
            self.feed.cancel()

    async def turned(self, knob: str, value: float) -> None:
        if knob != "feed_per_s":
            return
        if self.feed is not None:
            self.feed.cancel()
            self.feed = None
        if value:
            self.history = list(self.history)
            self.feed = asyncio.create_task(self._follow_feed(value))
        else:
            self.history = deque(self.history, maxlen=HISTORY)

    def routes(self) -> Iterable[web.RouteDef]:
        return [web.get("/recommendations", self.recommend)]

    async def recommend(self, request: web.Request) -> web.Response:
        customer = int(request.query["customer"])
        product = int(request.query.get("product", "0"))
        self.history.append({"customer": customer, "product": product, "at": time.time()})
        taste = self._taste(customer)
        picks = self._best(taste)
        deadline_s = time.perf_counter() + self.knobs.get("refine_ms", 0.0) / 1000
        while time.perf_counter() < deadline_s:
            picks = self._best([(t + v) / 2 for t, v in zip(taste, self.vectors[picks[0]], strict=True)])
        found = await self.call("catalogue", "GET", "/products", params={"ids": ",".join(map(str, picks))})
        self.log.info("recommended %d products to customer %d", len(picks), customer)
        return web.json_response({"products": found["products"]})

    def _taste(self, customer: int) -> list[float]:
        looks = [look["product"] for look in self.history if look["customer"] == customer]
        vectors = [self.vectors[product] for product in looks[-20:] if product in self.vectors]
        if not vectors:
            return [1.0] * DIMENSIONS
        return [sum(column) / len(vectors) for column in zip(*vectors, strict=True)]

    def _best(self, taste: list[float]) -> list[int]:
        scores = {
            product: sum(a * b for a, b in zip(taste, vector, strict=True))
            for product, vector in self.vectors.items()
        }
        return sorted(scores, key=scores.__getitem__, reverse=True)[:PICKS]

    async def _follow_feed(self, looks_per_s: float) -> None:
        """Looks of visitors elsewhere; each is a small object of its own, as a consumer would keep them."""
        began_s, taken = time.monotonic(), 0
        while True:
            await asyncio.sleep(FEED_INTERVAL_S)
            due = int((time.monotonic() - began_s) * looks_per_s)
            for _ in range(due - taken):
                self.history.append(
                    {"customer": random.randrange(5000), "product": 0, "at": time.time(), "page": [0, 0]}
                )
            taken = due
