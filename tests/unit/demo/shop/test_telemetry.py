from __future__ import annotations

import logging
import os

from demo.shop.telemetry import _Seldom, instance_id


def test_an_instance_is_named_like_a_pod() -> None:
    name, version_hash, pid = instance_id("cart", "2.3.1").split("-")
    assert (name, len(version_hash), pid) == ("cart", 4, str(os.getpid()))


def test_another_version_is_another_instance() -> None:
    assert instance_id("cart", "2.3.1") != instance_id("cart", "2.4.0")


def test_complaints_are_seldom() -> None:
    seldom = _Seldom(interval_s=3600)
    record = logging.makeLogRecord({})
    assert [seldom.filter(record) for _ in range(3)] == [True, False, False]
