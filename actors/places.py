"""Where things lie: names of actors, folders below the data folder."""

from __future__ import annotations

import os
from pathlib import Path

from agent.settings import Settings

SUPERVISOR, GATEWAY, CORRELATOR, AGGREGATOR = "supervisor", "gateway-0", "correlator-0", "aggregator-0"


def stream_count(settings: Settings) -> int:
    return settings.streams.count or os.cpu_count() or 1


def stream_name(stream: int) -> str:
    return f"stream-{stream}"


def detector_name(detector: int) -> str:
    return f"detector-{detector}"


def log_folder(settings: Settings, stream: int) -> Path:
    """The write-ahead log of a stream. The number of streams is in the path: a log written for another
    number holds other sources."""
    return settings.data_dir / "log" / f"of-{stream_count(settings)}" / f"{stream:04d}"


def state_folder(settings: Settings) -> Path:
    """What actors keep to be quick after a restart; losing it loses no telemetry."""
    return settings.data_dir / "state"


def database_folder(settings: Settings) -> Path:
    return settings.data_dir / "postgresql"
