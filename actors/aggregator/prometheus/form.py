"""The parameters of a request, from its address and, for POST, its form; the form's come first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import parse_qsl

from aiohttp import hdrs, web

from actors.aggregator.prometheus.problems import bad_data

FORM = "application/x-www-form-urlencoded"
MAX_FORM_BYTES = 10 << 20  # Go's own limit of a form


@dataclass(frozen=True, slots=True)
class Form:
    tenant: str
    values: dict[str, list[str]]

    def one(self, name: str) -> str:
        """The first value of a name, "" where there is none."""
        return self.values.get(name, ("",))[0]

    def all(self, name: str) -> Sequence[str]:
        return self.values.get(name, ())


async def read_form(request: web.Request, tenant: str) -> Form:
    values: dict[str, list[str]] = {}
    if request.method == hdrs.METH_POST and request.content_type == FORM:
        for name, value in _pairs(await _body(request)):
            values.setdefault(name, []).append(value)
    for name, value in request.query.items():
        values.setdefault(name, []).append(value)
    return Form(tenant, values)


async def _body(request: web.Request) -> bytes:
    parts, size = [], 0
    async for chunk in request.content.iter_chunked(64 << 10):
        size += len(chunk)
        if size > MAX_FORM_BYTES:
            raise bad_data("error parsing form values: http: POST too large")
        parts.append(chunk)
    return b"".join(parts)


def _pairs(body: bytes) -> list[tuple[str, str]]:
    try:
        return parse_qsl(body.decode("utf-8"), keep_blank_values=True, max_num_fields=10_000)
    except ValueError as error:
        raise bad_data(f"error parsing form values: {error}") from None
