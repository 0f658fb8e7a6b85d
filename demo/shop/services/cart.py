"""Cart: what each customer has put aside, and what it comes to."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from aiohttp import web

from demo.shop.pool import Database
from demo.shop.queries import query
from demo.shop.service import Service

Item = Mapping[str, Any]
# Per mille off, by category, as the campaigns of release 2.4 have it.
CAMPAIGNS = {"kitchen": 50, "garden": 100, "tools": 75}


def plain_total(items: Sequence[Item]) -> int:
    """Cents for all items."""
    return sum(item["price_cents"] * item["quantity"] for item in items)


def campaign_total(items: Sequence[Item]) -> int:
    """Cents for all items, less what the campaign of each category takes off."""
    total = 0
    for item in items:
        per_mille = 1000 - CAMPAIGNS[item["category"]]
        total += item["price_cents"] * item["quantity"] * per_mille // 1000
    return total


# A release is code: from 2.4 on the campaigns count.
TOTALS: Mapping[str, Callable[[Sequence[Item]], int]] = {"2.3": plain_total, "2.4": campaign_total}


class Cart(Service):
    name = "cart"

    async def open(self) -> None:
        self.total = TOTALS[self.settings.version.rpartition(".")[0]]
        self.database = Database("carts", size=5)
        await self.database.open(self.settings.database_url)

    async def close(self) -> None:
        await self.database.close()

    async def turned(self, knob: str, value: float) -> None:
        if knob == "keep_ratio":
            self.database.keep_ratio = value
            if not value:
                await self.database.give_back()

    def routes(self) -> Iterable[web.RouteDef]:
        return [
            web.get("/carts/{customer}", self.show),
            web.post("/carts/{customer}/items", self.put),
            web.delete("/carts/{customer}", self.empty),
        ]

    async def show(self, request: web.Request) -> web.Response:
        customer = int(request.match_info["customer"])
        items = await self._items(customer)
        return web.json_response({"items": items, "total_cents": self.total(items)})

    async def put(self, request: web.Request) -> web.Response:
        customer = int(request.match_info["customer"])
        wanted = await request.json()
        found = await self.call("catalogue", "GET", "/products", params={"ids": str(int(wanted["product"]))})
        if not found["products"]:
            return web.json_response({"error": "no such product"}, status=404)
        (product,) = found["products"]
        async with self.database.connection() as connection:
            await connection.execute(
                query("cart_put"), customer, product["id"], int(wanted["quantity"]), product["price_cents"], product["category"]
            )  # fmt: skip
            rows = await connection.fetch(query("cart_items"), customer)
        items = [dict(row) for row in rows]
        total_cents = self.total(items)
        self.log.info(
            "product %d added to the cart of customer %d, now %d items for %d cents",
            product["id"], customer, len(items), total_cents, extra={"shop.customer.id": customer},
        )  # fmt: skip
        return web.json_response({"items": items, "total_cents": total_cents})

    async def empty(self, request: web.Request) -> web.Response:
        customer = int(request.match_info["customer"])
        async with self.database.connection() as connection:
            await connection.execute(query("cart_empty"), customer)
        return web.json_response({"items": [], "total_cents": 0})

    async def _items(self, customer: int) -> list[dict[str, Any]]:
        async with self.database.connection() as connection:
            return [dict(row) for row in await connection.fetch(query("cart_items"), customer)]
