from __future__ import annotations

import asyncio

from demo.shop.services.recommendation import HISTORY, OFFERED, PICKS, Recommendation
from demo.shop.settings import ServiceSettings


def opened() -> Recommendation:
    service = Recommendation(ServiceSettings("recommendation", "0.9.7", 1, {}))
    asyncio.run(service.open())
    return service


def test_picks_are_on_offer_and_different() -> None:
    service = opened()
    picks = service._best(service._taste(customer=1))
    assert len(set(picks)) == PICKS
    assert set(picks) <= set(OFFERED)


def test_taste_follows_what_the_customer_looked_at() -> None:
    service = opened()
    service.history.append({"customer": 1, "product": 5, "at": 0.0})
    assert service._taste(customer=1) == service.vectors[5]
    assert service._taste(customer=2) != service.vectors[5]


def test_the_history_is_bounded() -> None:
    service = opened()
    for _ in range(2 * HISTORY):
        service.history.append({"customer": 1, "product": 5, "at": 0.0})
    assert len(service.history) == HISTORY
