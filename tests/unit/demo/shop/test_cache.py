from __future__ import annotations

import pytest

from demo.shop.cache import VALUE_BYTES, Store, value_length


def put(store: Store, key: bytes, value: bytes) -> bytes:
    return store.answer([b"set", key, b"0", b"0", str(len(value)).encode()], value)


def test_what_was_set_is_got() -> None:
    store = Store()
    assert put(store, b"a", b"hello") == b"STORED\r\n"
    assert store.answer([b"get", b"a"]) == b"VALUE a 0 5\r\nhello\r\nEND\r\n"


def test_what_was_not_set_is_a_miss() -> None:
    assert Store().answer([b"get", b"a"]) == b"END\r\n"


@pytest.mark.parametrize("forget", [[b"delete", b"a"], [b"flush_all"]])
def test_what_was_deleted_is_gone(forget: list[bytes]) -> None:
    store = Store()
    put(store, b"a", b"hello")
    store.answer(forget)
    assert store.answer([b"get", b"a"]) == b"END\r\n"


def test_the_least_recently_used_goes_first() -> None:
    store = Store(entries=2)
    put(store, b"a", b"1")
    put(store, b"b", b"2")
    store.answer([b"get", b"a"])
    put(store, b"c", b"3")
    assert store.answer([b"get", b"b"]) == b"END\r\n"
    assert store.answer([b"get", b"a"]) != b"END\r\n"


@pytest.mark.parametrize("words", [[], [b"get"], [b"incr", b"a"], [b"set", b"a"]])
def test_what_is_not_spoken_is_an_error(words: list[bytes]) -> None:
    assert Store().answer(words) == b"ERROR\r\n"


@pytest.mark.parametrize(
    ("line", "length"),
    [
        (b"get a", None),
        (b"set a 0 0 5", 5),
        (b"set a 0 0 -5", -1),
        (b"set a 0 0 x", -1),
        (b"set a", -1),
        (b"set a 0 0 %d" % (VALUE_BYTES + 1), -1),
    ],
)
def test_the_length_of_a_value_is_trusted_only_within_limits(line: bytes, length: int | None) -> None:
    assert value_length(line.split()) == length
