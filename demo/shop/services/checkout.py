"""Checkout: takes the cart, has it paid, writes the order, empties the cart."""

from __future__ import annotations

from collections.abc import Iterable

from aiohttp import web
from opentelemetry import metrics

from demo.shop.pool import Database
from demo.shop.queries import query
from demo.shop.service import Service


class Checkout(Service):
    name = "checkout"

    async def open(self) -> None:
        self.database = Database("orders", size=4)
        await self.database.open(self.settings.database_url)
        self.orders = metrics.get_meter("shop.checkout").create_counter("shop.orders.placed", unit="{order}")

    async def close(self) -> None:
        await self.database.close()

    def routes(self) -> Iterable[web.RouteDef]:
        return [web.post("/checkouts", self.check_out)]

    async def check_out(self, request: web.Request) -> web.Response:
        customer = int((await request.json())["customer"])
        cart = await self.call("cart", "GET", f"/carts/{customer}")
        if not cart["items"]:
            self.log.warning("checkout of customer %d refused: the cart is empty", customer)
            return web.json_response({"error": "the cart is empty"}, status=409)
        body = {"customer": customer, "amount_cents": cart["total_cents"]}
        paid = await self.call("payment", "POST", "/payments", body=body)
        async with self.database.connection() as connection:
            order = await connection.fetchval(
                query("order_place"), customer, cart["total_cents"], paid["payment"]
            )
        await self.call("cart", "DELETE", f"/carts/{customer}")
        self.orders.add(1)
        self.log.info(
            "order %d placed for customer %d: %d items, %d cents, payment %s",
            order, customer, len(cart["items"]), cart["total_cents"], paid["payment"],
            extra={"shop.order.id": order, "shop.customer.id": customer},
        )  # fmt: skip
        return web.json_response({"order": order, "total_cents": cart["total_cents"]})
