from __future__ import annotations

from pathlib import Path

import pytest

from demo.shop.faults import NoSuchFault
from demo.shop.supervisor import Shop, ShopClosed


async def test_nothing_is_broken_in_a_shop_that_is_not_open(tmp_path: Path) -> None:
    with pytest.raises(ShopClosed, match=r"call start\(\) first"):
        await Shop(tmp_path, "http://127.0.0.1:9").inject("slow-query")


async def test_an_unknown_fault_is_refused_first(tmp_path: Path) -> None:
    with pytest.raises(NoSuchFault):
        await Shop(tmp_path, "http://127.0.0.1:9").heal("slow-everything")


async def test_a_shop_that_was_never_started_can_be_stopped(tmp_path: Path) -> None:
    shop = Shop(tmp_path, "http://127.0.0.1:9")
    await shop.stop()
    assert (shop.members(), shop.injected(), shop.seen(10).requests) == ((), (), 0)
