"""Front: the pages that customers see, each made of what other services say."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

from aiohttp import web

from demo.shop.service import Service, UpstreamFailed


class Front(Service):
    name = "front"

    def routes(self) -> Iterable[web.RouteDef]:
        return [
            web.get("/", self.home),
            web.get("/category/{category}", self.category),
            web.get("/search", self.search),
            web.get("/product/{product}", self.product),
            web.post("/cart/{customer}/items", self.add_to_cart),
            web.get("/cart/{customer}", self.show_cart),
            web.post("/checkout", self.check_out),
            web.post("/ask", self.ask),
        ]

    async def home(self, request: web.Request) -> web.Response:
        popular, chosen = await asyncio.gather(
            self.call("catalogue", "GET", "/popular"),
            self.call(
                "recommendation", "GET", "/recommendations", params={"customer": request.query["customer"]}
            ),
        )
        return web.json_response({"popular": popular["products"], "for_you": chosen["products"]})

    async def category(self, request: web.Request) -> web.Response:
        path = f"/categories/{request.match_info['category']}"
        page = await self.call("catalogue", "GET", path, params={"page": request.query.get("page", "0")})
        self.log.info(
            "category %s shown with %d products", request.match_info["category"], len(page["products"])
        )
        return web.json_response(page)

    async def search(self, request: web.Request) -> web.Response:
        words = request.query["q"]
        found = await self.call("catalogue", "GET", "/search", params={"q": words})
        self.log.info("search for %s found %d products", words, len(found["products"]))
        return web.json_response(found)

    async def product(self, request: web.Request) -> web.Response:
        product = int(request.match_info["product"])
        shown, chosen = await asyncio.gather(
            self.call("catalogue", "GET", f"/products/{product}"),
            self._recommended(product, request.query["customer"]),
        )
        return web.json_response({"product": shown, "for_you": chosen})

    async def add_to_cart(self, request: web.Request) -> web.Response:
        path = f"/carts/{int(request.match_info['customer'])}/items"
        return web.json_response(await self.call("cart", "POST", path, body=await request.json()))

    async def show_cart(self, request: web.Request) -> web.Response:
        return web.json_response(
            await self.call("cart", "GET", f"/carts/{int(request.match_info['customer'])}")
        )

    async def check_out(self, request: web.Request) -> web.Response:
        body = await request.json()
        receipt = await self.call("checkout", "POST", "/checkouts", body=body)
        self.log.info("customer %s checked out order %d", body["customer"], receipt["order"])
        return web.json_response(receipt)

    async def ask(self, request: web.Request) -> web.Response:
        return web.json_response(await self.call("assistant", "POST", "/answers", body=await request.json()))

    async def _recommended(self, product: int, customer: str) -> list[Any]:
        """A product page without recommendations is better than none."""
        params = {"customer": customer, "product": str(product)}
        try:
            answer = await self.call("recommendation", "GET", "/recommendations", params=params)
        except UpstreamFailed as failure:
            self.log.warning("product %d is shown without recommendations: %s", product, failure)
            return []
        products: list[Any] = answer["products"]
        return products
