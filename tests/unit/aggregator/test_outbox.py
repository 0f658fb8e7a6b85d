from __future__ import annotations

import msgspec

from actors.aggregator.outbox import ENTRY_BYTES, Outbox


def drained(outbox: Outbox) -> list[bytes]:
    return list(iter(outbox.take, None))


def test_order_is_kept() -> None:
    outbox = Outbox(10_000)
    for text in (b"a", b"b", b"c"):
        outbox.put(text)
    assert drained(outbox) == [b"a", b"b", b"c"]


def test_the_oldest_goes_and_is_told_first() -> None:
    outbox = Outbox(2 * (ENTRY_BYTES + 10))
    for n in range(5):
        outbox.put(b"%010d" % n, "logs", 2)
    first, *rest = drained(outbox)
    assert msgspec.json.decode(first) == {"type": "missed", "rows": {"logs": 6}}
    assert rest == [b"%010d" % 3, b"%010d" % 4]


def test_bytes_are_bounded() -> None:
    outbox = Outbox(5_000)
    for _ in range(1_000):
        outbox.put(b"x" * 300, "spans", 1)
    assert outbox.waiting_bytes <= 5_000


def test_one_larger_than_all_is_missed() -> None:
    outbox = Outbox(1_000)
    outbox.put(b"x" * 5_000, "spans", 9)
    assert msgspec.json.decode(outbox.take() or b"")["rows"] == {"spans": 9}
    assert outbox.take() is None


def test_missed_total_goes_on_after_it_was_told() -> None:
    outbox = Outbox(1_000)
    outbox.miss("spans", 4)
    outbox.take()
    outbox.miss("logs", 1)
    assert outbox.missed_total == 5
