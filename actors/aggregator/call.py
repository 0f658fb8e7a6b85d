"""One request as a handler sees it: checked names, a tenant, and a body of the declared type."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from actors.aggregator.reading import BadRequest, parse_choice, parse_number, parse_time_ns

if TYPE_CHECKING:
    from actors.aggregator.api import Api


@dataclass(frozen=True, slots=True)
class Call:
    tenant: str
    path: Mapping[str, str]
    query: Mapping[str, str]
    body: object = None

    def text(self, name: str) -> str:
        return self.query.get(name, "")

    def number(self, name: str, default: float, low: float, high: float) -> float:
        text = self.query.get(name)
        return default if text is None else parse_number(name, text, low, high)

    def choice(self, name: str, choices: tuple[str, ...]) -> str:
        return parse_choice(name, self.query.get(name, choices[0]), choices)

    async def stretch(self, api: Api, start: str) -> tuple[int, int]:
        """``start`` and ``end`` of the query in Unix ns; by default from ``start`` to now."""
        now_ns = await api.now_ns(self.tenant)
        start_ns = parse_time_ns("start", self.query.get("start", start), now_ns)
        end_ns = parse_time_ns("end", self.query.get("end", "now"), now_ns)
        if start_ns >= end_ns:
            raise BadRequest("bad_range", "start is not before end", "swap them, or widen the range")
        return start_ns, end_ns
