from __future__ import annotations

import random
from collections import Counter

import pytest

from demo.shop.load import JOURNEYS, SWING, VISITS_PER_S, plan_visit, visits_per_s


@pytest.mark.parametrize(("at_s", "factor"), [(0, 1), (60, 1 + SWING), (120, 1), (180, 1 - SWING), (240, 1)])
def test_the_rate_swings_like_a_day(at_s: float, factor: float) -> None:
    assert visits_per_s(at_s, 2.0, 240.0) == pytest.approx(2 * VISITS_PER_S * factor)


def test_the_same_seed_makes_the_same_customers() -> None:
    one, other = random.Random(5), random.Random(5)
    assert [plan_visit(one) for _ in range(50)] == [plan_visit(other) for _ in range(50)]


def test_every_page_of_the_shop_is_visited() -> None:
    dice = random.Random(1)
    routes = {page.route for _ in range(300) for page in plan_visit(dice)}
    assert routes == {"home", "category", "search", "product", "add to cart", "cart", "checkout", "ask"}


def test_a_checkout_follows_something_put_into_the_cart() -> None:
    dice = random.Random(2)
    visits = [[page.route for page in plan_visit(dice)] for _ in range(300)]
    assert all("add to cart" in visit for visit in visits if "checkout" in visit)


def test_journeys_come_in_their_proportions() -> None:
    dice = random.Random(3)
    last = Counter(plan_visit(dice)[-1].route for _ in range(4000))
    assert last["ask"] / 4000 == pytest.approx(JOURNEYS["ask"], abs=0.03)
    assert last["checkout"] / 4000 == pytest.approx(JOURNEYS["checkout"], abs=0.03)
