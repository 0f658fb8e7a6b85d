"""Where things lie: names of actors, folders below the data folder."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import structlog

from agent.settings import Settings
from agent.windows.log import has_writer, segments

SUPERVISOR, GATEWAY, CORRELATOR, AGGREGATOR = "supervisor", "gateway-0", "correlator-0", "aggregator-0"
RULER = "ruler-0"
SCRAPER = "scraper-0"


# A log written for another number of streams is deleted once nothing was written to it for so long.
FORGET_LOG_S = 3600.0


def stream_count(settings: Settings) -> int:
    """The number that is set, or else the one that ``settle_streams`` settled on."""
    return settings.streams.count or _remembered(settings) or os.cpu_count() or 1


def settle_streams(settings: Settings) -> int:
    """Decide how many streams there are, before any is started, and remember it: the number of cores may
    change between two starts (a container's limits, another machine), and the log with it.

    Logs of another number hold other sources and are not read; a log line names them, and those that are old
    and that nobody writes to are deleted."""
    count = stream_count(settings)
    if count != _remembered(settings):
        file = _count_file(settings)
        file.parent.mkdir(parents=True, exist_ok=True)
        fresh = file.with_suffix(".new")
        fresh.write_text(f"{count}\n")
        fresh.replace(file)
    for folder in sorted(_logs(settings).glob("of-*")):
        if folder.name != f"of-{count}" and folder.is_dir():
            _leave(folder, count)
    return count


def _leave(folder: Path, count: int) -> None:
    """Delete the logs of another number of streams, or say that they are there."""
    streams = [stream for stream in folder.iterdir() if stream.is_dir()]
    written_s = max(
        (path.stat().st_mtime for s in streams for _, path in segments(s)), default=folder.stat().st_mtime
    )
    log = structlog.get_logger()
    if time.time() - written_s > FORGET_LOG_S and not any(has_writer(stream) for stream in streams):
        shutil.rmtree(folder)
        log.warning("deleted an old log that was written for another number of streams", folder=str(folder))
    else:
        log.warning(
            "a log was written for another number of streams and is not read; set streams.count to read it",
            folder=str(folder),
            streams=count,
        )


def _remembered(settings: Settings) -> int:
    """0 where nothing is remembered, or nothing that makes sense."""
    try:
        text = _count_file(settings).read_text().strip()
    except OSError:
        return 0
    return int(text) if text.isascii() and text.isdigit() and 0 < int(text) <= 1024 else 0


def _count_file(settings: Settings) -> Path:
    return _logs(settings) / "streams"


def _logs(settings: Settings) -> Path:
    return settings.data_dir / "log"


def stream_name(stream: int) -> str:
    return f"stream-{stream}"


def detector_name(detector: int) -> str:
    return f"detector-{detector}"


def log_folder(settings: Settings, stream: int) -> Path:
    """The write-ahead log of a stream. The number of streams is in the path: a log written for another
    number holds other sources."""
    return _logs(settings) / f"of-{stream_count(settings)}" / f"{stream:04d}"


def query_socket(settings: Settings, stream: int) -> Path:
    """Where a stream answers queries."""
    return settings.data_dir / "run" / f"{stream_name(stream)}.queries"


def position_socket(settings: Settings, stream: int) -> Path:
    """Where a stream is told how far its log goes."""
    return settings.data_dir / "run" / f"{stream_name(stream)}.log"


def state_folder(settings: Settings) -> Path:
    """What actors keep to be quick after a restart; losing it loses no telemetry."""
    return settings.data_dir / "state"


def database_folder(settings: Settings) -> Path:
    return settings.data_dir / "postgresql"
