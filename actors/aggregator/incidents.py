"""Lists of incidents: this run's and earlier ones as one, and the filters of the API. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

STORE_LIMIT = 5_000

# How far an incident has come; of two views of one incident the one that is further counts.
PROGRESS = {"open": 0, "acknowledged": 1, "resolved": 2}


@dataclass(frozen=True, slots=True)
class Filter:
    """Empty texts let everything through."""

    status: str = ""
    service: str = ""
    severity: str = ""
    since_s: float = 0.0
    limit: int = STORE_LIMIT


def merge(held: list[dict[str, Any]], kept: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The correlator's incidents and the store's, newest first. The correlator knows the newest evidence,
    the store knows what people decided."""
    merged = {str(incident["id"]): incident for incident in kept}
    for incident in held:
        known = merged.get(str(incident["id"]), {})
        status = max((known, incident), key=_progress)
        view = known | {
            key: value for key, value in incident.items() if value is not None or key not in known
        }
        merged[str(incident["id"])] = view | ({"status": status["status"]} if "status" in status else {})
    return sorted(merged.values(), key=started_s, reverse=True)


def _progress(incident: dict[str, Any]) -> tuple[int, int]:
    """How far an incident has come; one that was opened again has begun anew."""
    return int(incident.get("reopened") or 0), PROGRESS.get(str(incident.get("status")), -1)


def started_s(incident: dict[str, Any]) -> float:
    return float(incident.get("started_s") or 0.0)


def select(incidents: list[dict[str, Any]], wanted: Filter) -> list[dict[str, Any]]:
    return [incident for incident in incidents if _fits(incident, wanted)][: wanted.limit]


def _fits(incident: dict[str, Any], wanted: Filter) -> bool:
    return (
        (not wanted.status or incident.get("status") == wanted.status)
        and (not wanted.severity or incident.get("severity") == wanted.severity)
        and (not wanted.service or wanted.service in services_of(incident))
        and started_s(incident) >= wanted.since_s
    )


def services_of(incident: dict[str, Any]) -> set[str]:
    named = incident.get("services") or []
    return {str(incident.get("service") or ""), *(str(name) for name in named)} - {""}
