"""Catalogue: products, their categories and reviews, and what was bought together with them.

What was bought together costs the database tens of milliseconds a product, so a product's page is
kept in the cache; lists and prices come fresh from the database each time.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import Iterable
from typing import Any

from aiohttp import web
from opentelemetry import metrics
from opentelemetry.instrumentation.utils import suppress_instrumentation

from demo.shop.cache_client import CacheAway, CacheClient
from demo.shop.pool import Database
from demo.shop.queries import query
from demo.shop.service import Service

PAGE = 16
OFFERED = 120
POPULAR = 8
WARM_PAUSE_S = 0.2  # between two products: a sixth of a core's time, half a minute in all


class Catalogue(Service):
    name = "catalogue"

    async def open(self) -> None:
        self.database = Database("catalogue", size=6)
        await self.database.open(self.settings.database_url)
        self.cache = CacheClient(self.settings.cache_address)
        self.lookups = metrics.get_meter("shop.catalogue").create_counter(
            "shop.cache.lookups", unit="{lookup}"
        )
        async with self.database.connection() as connection:
            self.offered = [row["id"] for row in await connection.fetch(query("on_offer"), OFFERED)]
        self.warming = asyncio.create_task(self._warm())

    async def close(self) -> None:
        self.warming.cancel()
        await self.cache.close()
        await self.database.close()

    def routes(self) -> Iterable[web.RouteDef]:
        return [
            web.get("/products", self.prices),
            web.get("/products/{product}", self.product),
            web.get("/popular", self.popular),
            web.get("/categories/{category}", self.category),
            web.get("/search", self.search),
        ]

    async def category(self, request: web.Request) -> web.Response:
        category, page = request.match_info["category"], int(request.query.get("page", "0"))
        products = await self._rows("category", category, page * PAGE)
        self.log.info("category %s page %d listed with %d products", category, page, len(products))
        return web.json_response({"products": products})

    async def search(self, request: web.Request) -> web.Response:
        noun = request.query["q"]
        products = await self._rows("search", noun)
        self.log.info("search for %s lists %d products", noun, len(products))
        return web.json_response({"products": products})

    async def prices(self, request: web.Request) -> web.Response:
        ids = [int(text) for text in request.query["ids"].split(",")]
        return web.json_response({"products": await self._rows("prices", ids)})

    async def popular(self, _: web.Request) -> web.Response:
        return web.json_response(
            {"products": await self._rows("prices", random.sample(self.offered, POPULAR))}
        )

    async def product(self, request: web.Request) -> web.Response:
        product = int(request.match_info["product"])
        cached = await self._cached(product)
        if cached is not None:
            return web.Response(body=cached, content_type="application/json")
        began_s = time.perf_counter()
        found = await self._rows("product", product)
        if not found:
            return web.json_response({"error": "no such product"}, status=404)
        took_ms = (time.perf_counter() - began_s) * 1000
        self.log.info("product %d was not in the cache, read from the database in %.0f ms", product, took_ms)
        body = json.dumps(found[0]).encode()
        await self._keep(product, body)
        return web.Response(body=body, content_type="application/json")

    async def _cached(self, product: int) -> bytes | None:
        try:
            body = await self.cache.get(f"product:{product}")
        except CacheAway as away:
            self.lookups.add(1, {"result": "error"})
            if away.first:
                self.log.warning("cache lookup of product %d failed: %s", product, away)
            return None
        self.lookups.add(1, {"result": "miss" if body is None else "hit"})
        return body

    async def _keep(self, product: int, body: bytes) -> None:
        try:
            await self.cache.set(f"product:{product}", body)
        except CacheAway as away:
            if away.first:
                self.log.warning("product %d could not be kept in the cache: %s", product, away)

    async def _warm(self) -> None:
        """Have what is on offer in the cache, the most popular first. Slowly: customers are served meanwhile."""
        with suppress_instrumentation():
            for product in self.offered:
                try:
                    if await self.cache.get(f"product:{product}") is None:
                        found = await self._rows("product", product)
                        await self.cache.set(f"product:{product}", json.dumps(found[0]).encode())
                        await asyncio.sleep(WARM_PAUSE_S)
                except CacheAway:
                    return
        self.log.info("cache warmed with %d products", len(self.offered))

    async def _rows(self, name: str, *arguments: object) -> list[dict[str, Any]]:
        async with self.database.connection() as connection:
            return [dict(row) for row in await connection.fetch(query(name), *arguments)]
