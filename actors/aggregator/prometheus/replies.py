"""Answers of Prometheus' API: the envelope, large ones in pieces, gzip where the client takes it.

Pieces are rendered and compressed in threads, one ahead of what is being sent.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import cramjam
import orjson
from aiohttp import hdrs, web

from actors.aggregator.prometheus.series import Piece
from actors.aggregator.security import SECURITY_HEADERS

JSON = "application/json"
MAX_NOTES = 10  # of warnings, and of infos
GZIP_FROM_BYTES = 1 << 10
WHOLE_BYTES = 1 << 20  # an answer from here on is sent while it is made
FEW_CELLS = 4096
GZIP_LEVEL = 1  # what a hop in a data centre has time for


@dataclass(frozen=True, slots=True)
class Reply:
    """``data`` is what goes to JSON, or its text in pieces."""

    data: Any
    warnings: Sequence[str] = ()
    infos: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Rendered:
    """JSON in the making: ``head``, then the pieces, then ``tail``. ``cells`` is how many numbers there are to
    write; a few are not worth a thread."""

    head: bytes
    pieces: Iterator[Piece]
    tail: bytes
    cells: int


@dataclass(frozen=True, slots=True)
class TextReply:
    text: str
    content_type: str
    status: int = 200


NO_CONTENT = Reply(None)


def error_body(kind: str, message: str) -> bytes:
    return orjson.dumps({"status": "error", "errorType": kind, "error": message})


async def send(request: web.Request, reply: Reply | TextReply) -> web.StreamResponse:
    gzip = _takes_gzip(request.headers.get(hdrs.ACCEPT_ENCODING, ""))
    if isinstance(reply, TextReply):
        plain: dict[str, str] = {hdrs.CONTENT_TYPE: reply.content_type}
        return _whole(reply.text.encode("utf-8", "replace"), plain, gzip=gzip, status=reply.status)
    if reply.data is None:
        return web.Response(status=204)
    headers: dict[str, str] = {hdrs.CONTENT_TYPE: JSON, hdrs.VARY: hdrs.ACCEPT_ENCODING}
    if not isinstance(reply.data, Rendered):
        body = b'{"status":"success","data":' + orjson.dumps(reply.data) + _notes(reply)
        return _whole(body, headers, gzip=gzip)
    pieces = _enclosed(reply.data, _notes(reply))
    if reply.data.cells <= FEW_CELLS:
        return _whole(b"".join(pieces), headers, gzip=gzip)
    begin, whole = await asyncio.to_thread(_begin, pieces)
    if whole:
        return await asyncio.to_thread(_whole, begin, headers, gzip=gzip)
    return await _stream(request, headers, chain((begin,), pieces), gzip=gzip)


def _enclosed(data: Rendered, tail: bytes) -> Iterator[Piece]:
    yield b'{"status":"success","data":' + data.head
    yield from data.pieces
    yield data.tail + tail


def _notes(reply: Reply) -> bytes:
    """What stands behind the data."""
    parts = [
        f',"{name}":'.encode() + orjson.dumps(_cut(texts, kind))
        for name, kind, texts in (("warnings", "warning", reply.warnings), ("infos", "info", reply.infos))
        if texts
    ]
    return b"".join(parts) + b"}"


def _cut(texts: Sequence[str], kind: str) -> list[str]:
    more = len(texts) - MAX_NOTES
    omitted = [f"{more} more {kind} annotations omitted"] if more > 0 else []
    return [*texts[:MAX_NOTES], *omitted]


def _begin(pieces: Iterator[Piece]) -> tuple[bytes, bool]:
    """As much as is worth a message of its own, and whether that is all."""
    parts: list[Piece] = []
    size = 0
    for piece in pieces:
        parts.append(piece)
        size += len(piece)
        if size >= WHOLE_BYTES:
            return b"".join(parts), False
    return b"".join(parts), True


def _whole(body: bytes, headers: dict[str, str], *, gzip: bool, status: int = 200) -> web.Response:
    if gzip and len(body) >= GZIP_FROM_BYTES:
        body = bytes(cramjam.gzip.compress(body, GZIP_LEVEL))
        headers = headers | {hdrs.CONTENT_ENCODING: "gzip"}
    return web.Response(body=body, status=status, headers=headers)


async def _stream(
    request: web.Request, headers: dict[str, str], pieces: Iterator[Piece], *, gzip: bool
) -> web.StreamResponse:
    response = web.StreamResponse(headers=headers)
    if gzip:
        response.headers[hdrs.CONTENT_ENCODING] = "gzip"
        pieces = _packed(pieces)
    response.headers.update(SECURITY_HEADERS)
    await response.prepare(request)
    ahead = asyncio.create_task(asyncio.to_thread(next, pieces, None))
    try:
        while (piece := await ahead) is not None:
            ahead = asyncio.create_task(asyncio.to_thread(next, pieces, None))
            await response.write(piece)
    except Exception:
        if request.transport is not None:  # what was begun must not look like an answer
            request.transport.close()
        raise
    finally:
        await asyncio.gather(ahead, return_exceptions=True)
    await response.write_eof()
    return response


def _packed(pieces: Iterable[Piece]) -> Iterator[Piece]:
    packer = cramjam.gzip.Compressor(GZIP_LEVEL)
    for piece in pieces:
        packer.compress(bytes(piece))
        if packed := bytes(packer.flush()):
            yield packed
    yield bytes(packer.finish())


def _takes_gzip(accepted: str) -> bool:
    for entry in accepted.lower().split(","):
        coding, _, weight = entry.partition(";")
        if coding.strip() in ("gzip", "*"):
            return weight.replace(" ", "") not in ("q=0", "q=0.0", "q=0.00", "q=0.000")
    return False
