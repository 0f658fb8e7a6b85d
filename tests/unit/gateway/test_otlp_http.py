"""Content encodings, and what a request is answered."""

from __future__ import annotations

import gzip
import zlib
from collections import Counter

import pytest
from aiohttp.test_utils import TestClient, TestServer

from actors.gateway.otlp_http import PROTOBUF, decompress, otlp_app, retry_after, shows
from actors.gateway.room import RateLimited, Room
from agent.errors import BadInput, Overloaded
from agent.secret import Secret
from agent.settings import GatewaySettings
from agent.telemetry.batch import Reject, Signal

PLAIN = b"telemetry " * 100


@pytest.mark.parametrize(
    ("encoding", "body"),
    [("", PLAIN), ("identity", PLAIN), ("gzip", gzip.compress(PLAIN)), ("deflate", zlib.compress(PLAIN))],
    ids=["none", "identity", "gzip", "deflate"],
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
    ids=["brotli", "plain", "cut", "more", "large"],  # those of the bytes would hold the time of day
)
def test_others_are_refused_with_their_reason(encoding: str, body: bytes, reason: str) -> None:
    with pytest.raises(BadInput) as refusal:
        decompress(body, encoding, 10_000)
    assert refusal.value.reason == reason


class Taker:
    """Takes bodies; refuses with ``error`` where one is set; counts refusals."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.taken: list[bytes] = []
        self.refused: Counter[str] = Counter()

    async def take(self, signal: Signal, body: bytes, tenant: str) -> dict[Reject, int]:
        if self.error:
            raise self.error
        self.taken.append(body)
        return {}

    def refuse(self, reason: str) -> None:
        self.refused[reason] += 1


async def post(
    taker: Taker, body: bytes, room: Room | None = None, token: str = "", encoding: str = "", shown: str = ""
) -> int:
    settings = GatewaySettings(auth_token=Secret(token))
    app = otlp_app(settings, room or Room(1 << 20), taker.take, taker.refuse)
    server = TestServer(app)
    await server.start_server(auto_decompress=False)  # as the gateway does: the app unpacks
    async with TestClient(server) as client:
        sent = {"Content-Type": PROTOBUF, "Content-Encoding": encoding, "Authorization": shown}
        async with client.post("/v1/traces", data=body, headers=sent) as reply:
            return reply.status


async def test_a_body_is_taken_as_it_was_before_its_encoding() -> None:
    taker = Taker()
    body = PLAIN * 1000
    assert await post(taker, gzip.compress(body), encoding="gzip") == 200
    assert taker.taken == [body]


async def test_no_room_is_come_again_later_and_counted() -> None:
    taker, room = Taker(), Room(100)
    with room.hold(100):
        assert await post(taker, PLAIN, room) == 503
    assert taker.refused == {"overloaded": 1}
    assert await post(taker, PLAIN, room) == 200


async def test_too_much_waiting_is_come_again_later_and_counted() -> None:
    taker = Taker(Overloaded("the write-ahead log is behind"))
    assert await post(taker, PLAIN) == 503
    assert taker.refused == {"overloaded": 1}


async def test_a_source_over_its_rate_is_too_many_requests_and_counted_by_whoever_says_so() -> None:
    taker = Taker(RateLimited("too many rows", 7))
    assert await post(taker, PLAIN) == 429
    assert taker.refused == {}


@pytest.mark.parametrize(("after_s", "told"), [(7, "7"), (6.1, "7"), (0.001, "1"), (0, "1")])
def test_senders_are_told_to_come_in_whole_seconds_and_not_too_early(after_s: float, told: str) -> None:
    assert retry_after(after_s) == {"Retry-After": told}


@pytest.mark.parametrize(("shown", "status"), [("Bearer right", 200), ("Bearer wrong", 401), ("", 401)])
async def test_senders_show_the_token(shown: str, status: int) -> None:
    taker = Taker()
    assert await post(taker, PLAIN, token="right", shown=shown) == status
    assert taker.refused["unauthenticated"] == (status == 401)


@pytest.mark.parametrize("shown", ["Bearer right\udcff", "Bearer \u00e9"])
def test_a_token_of_any_bytes_is_only_wrong(shown: str) -> None:
    assert not shows(b"Bearer right", shown)
