"""Bodies of remote write that cost little: labels encoded once, values and times put in their places; and a plain
socket to send them on."""

from __future__ import annotations

import socket
from collections.abc import Mapping, Sequence
from urllib.parse import urlsplit

import cramjam
import numpy as np

from agent.telemetry.frames import F64, I64
from agent.telemetry.labels import encode_labels, labels_of
from agent.telemetry.varint import varint

_SAMPLE = b"\x12\x10\x09" + b"\0" * 8 + b"\x10" + b"\0" * 6  # a double and a time of six bytes
_VALUE_AT, _TIME_AT = 3, 12


class Template:
    """A body of some series with ``samples`` of each, in which only values and times change."""

    def __init__(self, series: Sequence[Mapping[str, str]], samples: int) -> None:
        self._shape = len(series), samples
        out = bytearray()
        at: list[int] = []
        for labels in series:
            canonical = encode_labels(labels_of(labels))
            size = len(canonical) + samples * len(_SAMPLE)
            out += b"\x0a" + varint(size) + canonical
            at += range(len(out), len(out) + samples * len(_SAMPLE), len(_SAMPLE))
            out += _SAMPLE * samples
        self._bytes = np.frombuffer(out, np.uint8)
        self._at = np.asarray(at)[:, None]

    def body(self, time_ms: I64, value: F64) -> bytes:
        """Snappy. A row a series, the oldest sample first; ``time_ms`` may be one row for all."""
        times = np.broadcast_to(time_ms, self._shape).reshape(-1)
        values = np.ascontiguousarray(value).reshape(-1)
        self._bytes[self._at + _VALUE_AT + np.arange(8)] = values.view(np.uint8).reshape(-1, 8)
        groups = times[:, None] >> (7 * np.arange(6)) & 127 | np.asarray([128] * 5 + [0])
        self._bytes[self._at + _TIME_AT + np.arange(6)] = groups.astype(np.uint8)
        return bytes(cramjam.snappy.compress_raw(self._bytes.tobytes()))


class Connection:
    """One that stays open, for requests one after the other."""

    def __init__(self, url: str) -> None:
        where = urlsplit(url)
        self._head = (
            f"POST {where.path} HTTP/1.1\r\nHost: {where.netloc}\r\nContent-Type: application/x-protobuf\r\n"
            "Content-Encoding: snappy\r\nX-Prometheus-Remote-Write-Version: 0.1.0\r\nContent-Length: %d\r\n\r\n"
        ).encode()
        self._socket = socket.create_connection((where.hostname or "", where.port or 80))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def send(self, body: bytes | memoryview) -> bytes:
        """The answer where the body was refused; empty where it was taken."""
        self._socket.sendmsg([self._head % len(body)])
        self._socket.sendall(body)
        answer = self._socket.recv(4096)
        return b"" if answer.startswith((b"HTTP/1.1 204", b"HTTP/1.1 200")) else answer or b"no answer"

    def close(self) -> None:
        self._socket.close()
