"""Edges and incidents as the REST API shows them. Times are Unix seconds."""

from __future__ import annotations

from typing import Any

from agent.correlation.incidents import Incident
from agent.correlation.topology import Edge
from agent.detection.anomaly import Anomaly

NS = 1e9


def edge_json(edge: Edge) -> dict[str, Any]:
    return {
        "caller": edge.caller.service,
        "callee": edge.callee.service,
        "calls": round(edge.calls, 1),
        "errors": round(edge.errors, 1),
        "p50_ms": edge.p50_ns / 1e6,
        "p95_ms": edge.p95_ns / 1e6,
        "first_seen_s": edge.first_ns / NS,
        "last_seen_s": edge.last_ns / NS,
        "sends_spans": not edge.pseudo,
    }


def incident_json(incident: Incident) -> dict[str, Any]:
    return {
        "id": incident.id,
        "tenant": incident.tenant,
        "title": incident.title,
        "description": "; ".join(anomaly.sentence for anomaly in incident.anomalies),
        "severity": str(incident.severity),
        "status": "open" if incident.open else "resolved",
        "services": list(incident.services),
        "reopened": incident.reopened,
        "onset_s": incident.onset_ns / NS,
        "started_s": incident.opened_ns / NS,
        "updated_s": incident.updated_ns / NS,
        "resolved_s": incident.resolved_ns / NS if incident.resolved_ns else None,
        "anomalies": [_anomaly(anomaly) for anomaly in incident.anomalies],
    }


def _anomaly(anomaly: Anomaly) -> dict[str, Any]:
    return {
        "id": anomaly.id,
        "service": anomaly.service,
        "operation": anomaly.operation,
        "signal": str(anomaly.signal),
        "side": str(anomaly.side),
        "score": round(anomaly.score, 3),
        "onset_s": anomaly.onset_ns / NS,
        "detected_s": anomaly.detected_ns / NS,
        "ended_s": anomaly.ended_ns / NS if anomaly.ended_ns else None,
        "observed": anomaly.observed,
        "expected": anomaly.expected,
        "unit": anomaly.unit,
        "sentence": anomaly.sentence,
    }
