"""What a WebSocket client asks for: its messages, and whether a frame fits. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from actors.aggregator.incidents import services_of
from actors.aggregator.reading import BadRequest, check_known, parse_tenant
from actors.ports import DEFAULT_TENANT, LiveFrame

TELEMETRY = ("spans", "logs", "metrics")
INCIDENTS = "incidents"
SIGNALS = (*TELEMETRY, INCIDENTS)
LEVELS = {"trace": 1, "debug": 5, "info": 9, "warn": 13, "error": 17, "fatal": 21}
QUERY_NAMES = ("signals", "services", "severity", "tenant")
QUERY_ID = "query"

EXPECTED = (
    '{"type":"subscribe","id":"a","signals":["spans","logs","metrics","incidents"],"services":["cart"],'
    '"severity":"warn","tenant":"default"}, {"type":"unsubscribe","id":"a"} or {"type":"ping"}; '
    "in subscribe everything but type may be left out"
)


class Subscribe(msgspec.Struct, frozen=True, tag="subscribe", forbid_unknown_fields=True):
    id: str = "0"
    signals: tuple[str, ...] = SIGNALS
    services: tuple[str, ...] = ()
    severity: str = ""
    tenant: str = ""


class Unsubscribe(msgspec.Struct, frozen=True, tag="unsubscribe", forbid_unknown_fields=True):
    id: str = "0"


class Ping(msgspec.Struct, frozen=True, tag="ping", forbid_unknown_fields=True):
    pass


Message = Subscribe | Unsubscribe | Ping
_DECODER: msgspec.json.Decoder[Message] = msgspec.json.Decoder(Message)


@dataclass(frozen=True, slots=True)
class Subscription:
    """``services`` empty lets all through; ``severity`` is the least OTLP severity number of log records."""

    id: str
    tenant: str
    signals: frozenset[str]
    services: frozenset[str]
    severity: int

    def wants(self, frame: LiveFrame) -> bool:
        return (
            frame.signal in self.signals
            and frame.tenant == self.tenant
            and (not self.services or frame.service in self.services)
            and (frame.signal != "logs" or frame.severity >= self.severity)
        )

    def wants_incident(self, tenant: str, incident: Mapping[str, Any]) -> bool:
        return (
            INCIDENTS in self.signals
            and tenant == self.tenant
            and (not self.services or not self.services.isdisjoint(services_of(dict(incident))))
        )

    @property
    def wants_telemetry(self) -> bool:
        return not self.signals.isdisjoint(TELEMETRY)

    def confirmation(self) -> dict[str, Any]:
        severity = next((name for name, number in LEVELS.items() if number == self.severity), "")
        return {
            "type": "subscribed",
            "id": self.id,
            "tenant": self.tenant,
            "signals": sorted(self.signals),
            "services": sorted(self.services),
            "severity": severity,
        }


def read_message(text: str | bytes) -> Message:
    try:
        return _DECODER.decode(text)
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise BadRequest("bad_message", f"not understood: {error}", EXPECTED) from None


def subscription(message: Subscribe, tenant: str = DEFAULT_TENANT) -> Subscription:
    """Raises ``BadRequest`` naming what is not known."""
    for signal in message.signals:
        if signal not in SIGNALS:
            raise BadRequest("bad_signal", f"signals: got {signal!r}", f"of {', '.join(SIGNALS)}")
    if message.severity and message.severity not in LEVELS:
        raise BadRequest("bad_severity", f"severity: got {message.severity!r}", f"one of {', '.join(LEVELS)}")
    return Subscription(
        id=message.id,
        tenant=parse_tenant(message.tenant or tenant),
        signals=frozenset(message.signals),
        services=frozenset(message.services),
        severity=LEVELS.get(message.severity, 0),
    )


def from_query(query: Mapping[str, str], tenant: str) -> Subscription | None:
    """The subscription that the address itself asks for; ``None`` where it asks for none."""
    check_known(query, QUERY_NAMES)
    if not query:
        return None

    def words(name: str) -> tuple[str, ...]:
        return tuple(word.strip() for word in query.get(name, "").split(",") if word.strip())

    message = Subscribe(QUERY_ID, words("signals") or SIGNALS, words("services"), query.get("severity", ""))
    return subscription(message, query.get("tenant") or tenant)
