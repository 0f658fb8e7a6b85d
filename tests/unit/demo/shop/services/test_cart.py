from __future__ import annotations

import pytest

from demo.shop.services.cart import TOTALS, campaign_total, plain_total

TWO_KETTLES = {"product_id": 1, "quantity": 2, "price_cents": 1000, "category": "kitchen"}
LAMP = {"product_id": 2, "quantity": 1, "price_cents": 500, "category": "lighting"}


def test_a_total_is_the_sum_of_the_prices() -> None:
    assert plain_total([TWO_KETTLES, LAMP]) == 2500


def test_a_campaign_takes_off_its_share() -> None:
    assert campaign_total([TWO_KETTLES]) == 1900


def test_a_campaign_does_not_know_every_category() -> None:
    with pytest.raises(KeyError, match="lighting"):
        campaign_total([TWO_KETTLES, LAMP])


def test_an_empty_cart_is_free_in_every_release() -> None:
    assert {total([]) for total in TOTALS.values()} == {0}
