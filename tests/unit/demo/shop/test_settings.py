from __future__ import annotations

import pytest

from demo.shop.settings import BadEnvironment, ServiceSettings, number_of, required, url_variable

GOOD = {"SHOP_PORT": "8080", "SHOP_URL_CART": "http://cart:9001/"}


def test_a_service_reads_its_port_and_its_peers() -> None:
    settings = ServiceSettings.of("front", GOOD)
    assert (settings.port, settings.url("cart"), settings.version) == (8080, "http://cart:9001", "3.2.0")


def test_the_version_can_be_another() -> None:
    assert ServiceSettings.of("cart", {**GOOD, "SHOP_VERSION": "2.4.0"}).version == "2.4.0"


def test_a_peer_that_is_not_told_is_asked_for_by_its_variable() -> None:
    with pytest.raises(BadEnvironment, match=url_variable("payment")):
        ServiceSettings.of("checkout", GOOD).url("payment")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("SHOP_PORT", ""),
        ("SHOP_PORT", "soon"),
        ("SHOP_PORT", "70000"),
        ("SHOP_URL_CART", "cart:9001"),
        ("SHOP_URL_CART", "http://cart"),
    ],
)
def test_a_bad_value_is_named(key: str, value: str) -> None:
    with pytest.raises(BadEnvironment, match=f"{key}: got '{value}', expected"):
        ServiceSettings.of("front", {**GOOD, key: value})


def test_what_must_be_there_must_be_there() -> None:
    with pytest.raises(BadEnvironment, match="SHOP_DATABASE_DIR: got None, expected a directory"):
        required({}, "SHOP_DATABASE_DIR", "a directory")


@pytest.mark.parametrize(("text", "value"), [(None, 240.0), ("60", 60.0), ("0.5", 0.5)])
def test_a_number_has_a_default(text: str | None, value: float) -> None:
    environment = {} if text is None else {"SHOP_LOAD_PERIOD_S": text}
    assert number_of(environment, "SHOP_LOAD_PERIOD_S", 240.0) == value


@pytest.mark.parametrize("text", ["", "many", "0", "-1", "nan"])
def test_a_number_is_above_0(text: str) -> None:
    with pytest.raises(BadEnvironment, match="a number above 0"):
        number_of({"SHOP_LOAD_RATE_SCALE": text}, "SHOP_LOAD_RATE_SCALE", 1.0)
