from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.telemetry.shapes import MAX_LINE_BYTES, MAX_TOKENS, shape_hashes, shape_text

SHAPES = {
    "number": (b"took 12 ms", "took <*> ms"),
    "time": (b"16:42:22.382 INFO", "<*> INFO"),
    "date": (b"2023-01-29T08:42:22.383Z ready", "<*> ready"),
    "decimal, negative": (b"by -3.25e-5", "by -<*>"),
    "hex": (b"trace ffc8ca7e4c8f06c7", "trace <*>"),
    "uuid with a group of letters": (b"id=f3d4d4ef-dead-beef-8eed-59c0d717dd08", "id=<*>"),
    "word that is hex": (b"a facade decade", "a facade decade"),
    "address": (b"to 10.0.0.1:8080, now", "to <*>, now"),
    "path": (b"GET /api/v1/orders/123", "GET /api/<*>/orders/<*>"),
    "statement is kept": (b"t.s.TravelServiceImpl#532 x1", "t.s.TravelServiceImpl#532 <*>"),
    "white space": (b"  a\t\tb\n", "a b"),
    "empty": (b"", ""),
    "not ASCII": ("für 3".encode(), "für <*>"),
    "fourteen tokens": (b" ".join([b"w"] * 20), " ".join(["w"] * MAX_TOKENS)),
}


@pytest.mark.parametrize(("line", "shape"), SHAPES.values(), ids=SHAPES)
def test_masks_what_varies(line: bytes, shape: str) -> None:
    assert shape_text(line) == shape


def hashes(lines: list[bytes]) -> list[int]:
    lengths = np.array([len(line) for line in lines], np.int64)
    raw = np.frombuffer(b"".join(lines) or b"\0", np.uint8)
    found: list[int] = shape_hashes(raw, np.cumsum(lengths) - lengths, lengths).tolist()
    return found


lines: st.SearchStrategy[list[bytes]] = st.lists(
    st.one_of(
        st.binary(max_size=60),
        st.text(alphabet="ab1-:. #/=f0\t", max_size=40).map(str.encode),
        st.sampled_from([b"a 1", b"a 2", b"a b", b"x#1", b"x#2", b"1-2", b"1:22"]),
    ),
    min_size=1,
    max_size=20,
)


@given(lines)
def test_equal_text_means_equal_hash_and_the_other_way_round(found: list[bytes]) -> None:
    by_text: dict[str, set[int]] = {}
    by_hash: dict[int, set[str]] = {}
    for line, value in zip(found, hashes(found), strict=True):
        text = shape_text(line)
        if "�" in text:
            continue  # several byte strings look alike once they are text
        by_text.setdefault(text, set()).add(value)
        by_hash.setdefault(value, set()).add(text)
    assert all(len(values) == 1 for values in by_text.values())
    assert all(len(texts) == 1 for texts in by_hash.values())


@given(st.text(alphabet="abc xyz=", max_size=30), st.integers(0, 10**9), st.integers(0, 10**9))
def test_numbers_do_not_matter(words: str, a: int, b: int) -> None:
    assert shape_text(f"{words} {a}".encode()) == shape_text(f"{words} {b}".encode())


def test_a_line_without_end_costs_no_more_than_a_long_one() -> None:
    endless = b"abcd-" * 1_000_000
    assert len(shape_text(endless)) <= 3 * MAX_LINE_BYTES
    assert hashes([endless]) == hashes([endless[:MAX_LINE_BYTES]])
