from __future__ import annotations

import pytest

from actors.aggregator.reading import NS, BadRequest
from actors.aggregator.references import (
    ChangeReference,
    LogReference,
    RedReference,
    Reference,
    SeriesReference,
    TraceReference,
    parse_reference,
)


@pytest.mark.parametrize(
    ("text", "reference"),
    [
        ("trace:" + "aB" * 16, TraceReference("ab" * 16)),
        ("log:281474976710657", LogReference(1 << 48 | 1)),
        ("series:cart/cart-1/http/rate@10..20.5", SeriesReference("cart", "cart-1", "http/rate", 10 * NS, 20_500_000_000)),
        ("series:cart//cpu@10..20", SeriesReference("cart", "", "cpu", 10 * NS, 20 * NS)),
        ("red:cart/GET /items/{id}@10..20", RedReference("cart", "GET /items/{id}", 10 * NS, 20 * NS)),
        ("red:cart/mail a@b@10..20", RedReference("cart", "mail a@b", 10 * NS, 20 * NS)),
        ("red:cart@10..20", RedReference("cart", "", 10 * NS, 20 * NS)),
        ("change:cart@10", ChangeReference("cart", 10 * NS)),
    ],
)  # fmt: skip
def test_references(text: str, reference: Reference) -> None:
    assert parse_reference(text) == reference


@pytest.mark.parametrize(
    "text",
    ["", "trace", "trace:12", "log:-1", "log:x", "log:" + "9" * 30, "series:cart/cpu@1..2", "series:a/b/c@1", "red:@1..2", "red:a@5..1", "change:cart", "page:1"],
)  # fmt: skip
def test_what_is_no_reference(text: str) -> None:
    with pytest.raises(BadRequest) as refused:
        parse_reference(text)
    assert "trace:<32 hex digits>" in refused.value.hint
