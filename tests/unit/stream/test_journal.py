"""What is kept for the detectors: bounded by bytes, read in pages."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from actors.stream.core import Increment
from actors.stream.journal import Journal, increment_bytes
from agent.detection.histogram import BUCKETS
from agent.detection.red import NO_BINS
from agent.telemetry.frames import NO_METRICS


def increment(number: int, rows: int = 100) -> Increment:
    red = replace(NO_BINS, buckets=np.zeros((rows, BUCKETS), np.int32))
    return Increment("default", number, red, NO_METRICS)


SIZE = increment_bytes(increment(0))


def filled(count: int, max_bytes: int = 1000 * SIZE) -> Journal:
    made = Journal(max_bytes)
    made.add(increment(i) for i in range(1, count + 1))
    return made


def numbers(items: tuple[Increment, ...]) -> list[int]:
    return [item.watermark_ns for item in items]


def test_an_increment_weighs_its_columns() -> None:
    assert SIZE >= 100 * BUCKETS * 4


def test_pages_follow_one_another_until_nothing_is_left() -> None:
    journal, cursor, pages = filled(7), 0, []
    while (page := journal.after(cursor, 3 * SIZE))[1]:
        cursor = page[0]
        pages.append(numbers(page[1]))
    assert pages == [[1, 2, 3], [4, 5, 6], [7]]
    assert cursor == journal.cursor


def test_the_oldest_go_when_the_bytes_are_used_up() -> None:
    journal = filled(10, 4 * SIZE)
    assert journal.nbytes == 4 * SIZE
    assert numbers(journal.after(0)[1]) == [7, 8, 9, 10]


def test_one_that_is_larger_than_a_page_comes_alone() -> None:
    assert journal_page(filled(2), SIZE // 2) == [1]


def journal_page(journal: Journal, max_bytes: int) -> list[int]:
    return numbers(journal.after(0, max_bytes)[1])


def test_an_empty_journal_has_nothing() -> None:
    assert Journal().after(0) == (0, ())
