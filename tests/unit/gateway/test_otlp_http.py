"""Content encodings."""

from __future__ import annotations

import gzip
import zlib

import pytest

from actors.gateway.otlp_http import decompress
from agent.errors import BadInput

PLAIN = b"telemetry " * 100


@pytest.mark.parametrize(
    ("encoding", "body"),
    [("", PLAIN), ("identity", PLAIN), ("gzip", gzip.compress(PLAIN)), ("deflate", zlib.compress(PLAIN))],
)
def test_known_encodings_come_back_whole(encoding: str, body: bytes) -> None:
    assert decompress(body, encoding, 10_000) == PLAIN


@pytest.mark.parametrize(
    ("encoding", "body", "reason"),
    [
        ("br", PLAIN, "unknown_encoding"),
        ("gzip", PLAIN, "bad_gzip"),
        ("gzip", gzip.compress(PLAIN)[:-4], "truncated_gzip"),
        ("gzip", gzip.compress(PLAIN) + b"more", "bad_gzip"),
        ("gzip", gzip.compress(b"\0" * 100_000), "body_too_large"),
    ],
)
def test_others_are_refused_with_their_reason(encoding: str, body: bytes, reason: str) -> None:
    with pytest.raises(BadInput) as refusal:
        decompress(body, encoding, 10_000)
    assert refusal.value.reason == reason
