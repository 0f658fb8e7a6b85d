"""Payment: asks the customer's bank, which takes its time, and says yes or, rarely, no."""

from __future__ import annotations

import asyncio
import random
import uuid
from collections.abc import Iterable

from aiohttp import web

from demo.shop.service import Service

DECLINED_RATIO = 0.005
BANK_MEDIAN_S, BANK_SPREAD = 0.025, 0.2


class Payment(Service):
    name = "payment"

    def routes(self) -> Iterable[web.RouteDef]:
        return [web.post("/payments", self.pay)]

    async def pay(self, request: web.Request) -> web.Response:
        order = await request.json()
        customer, amount_cents = int(order["customer"]), int(order["amount_cents"])
        await asyncio.sleep(BANK_MEDIAN_S * random.lognormvariate(0, BANK_SPREAD))
        if random.random() < DECLINED_RATIO:
            self.log.warning(
                "payment of %d cents by customer %d declined: insufficient funds", amount_cents, customer
            )
            return web.json_response({"error": "declined"}, status=402)
        payment = f"pay_{uuid.uuid4().hex[:12]}"
        self.log.info("payment %s of %d cents by customer %d authorised", payment, amount_cents, customer)
        return web.json_response({"payment": payment})
