"""Recorded days of the Nezha data set (Nezha, FSE 2023): faults, and telemetry as frames.

A day is a folder, or a tar archive of it: ``trace/HH_MM_trace.csv``, ``log/HH_MM_log.csv``,
``metric/<pod>_metric.csv`` and ``<day>-fault_list.json``. Known traps, handled here: the column
``Time`` and the fault's ``inject_time`` are UTC and right, ``TimeStamp`` and ``inject_timestamp``
are not; ``PodSuccessRate(%)`` is 0 throughout and means no data; spans and lines are not in time
order and some stand in two files. ``agent.telemetry.nezha_otlp`` sends the same data as OTLP.
"""

from __future__ import annotations

import csv
import io
import json
import re
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath

import cramjam
import numpy as np
import numpy.typing as npt

from agent.errors import Malformed, NotFound
from agent.telemetry.frames import (
    KIND_CLIENT,
    KIND_INTERNAL,
    KIND_SERVER,
    NO_LOGS,
    NO_SPANS,
    LogFrame,
    MetricFrame,
    Series,
    SpanFrame,
    Telemetry,
    select,
)
from agent.telemetry.shapes import shape_hashes, shape_text
from agent.telemetry.source import Source

NS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault that was injected into ``pod`` at ``time_ns``."""

    time_ns: int
    pod: str
    kind: str

    @property
    def service(self) -> str:
        return service_of(self.pod)


@dataclass(frozen=True, slots=True)
class Column:
    """How one column of a metric file is sent: the value times ``factor``, in ``unit``."""

    name: str
    unit: str
    factor: float = 1.0
    labels: tuple[tuple[str, str], ...] = ()


_MEBI = 1024.0 * 1024.0
COLUMNS: Mapping[str, Column] = {
    "CpuUsage(m)": Column("k8s.pod.cpu.usage", "{cpu}", 1e-3),
    "CpuUsageRate(%)": Column("k8s.pod.cpu_limit_utilization", "1", 1e-2),
    "MemoryUsage(Mi)": Column("k8s.pod.memory.usage", "By", _MEBI),
    "MemoryUsageRate(%)": Column("k8s.pod.memory_limit_utilization", "1", 1e-2),
    "SyscallRead": Column("k8s.pod.syscall.rate", "{call}", 1.0, (("direction", "read"),)),
    "SyscallWrite": Column("k8s.pod.syscall.rate", "{call}", 1.0, (("direction", "write"),)),
    "NetworkReceiveBytes": Column("k8s.pod.network.io.rate", "By/s", 1.0, (("direction", "receive"),)),
    "NetworkTransmitBytes": Column("k8s.pod.network.io.rate", "By/s", 1.0, (("direction", "transmit"),)),
    "PodClientLatencyP90(s)": Column("mesh.client.duration.p90", "s"),
    "PodServerLatencyP90(s)": Column("mesh.server.duration.p90", "s"),
    "PodClientLatencyP95(s)": Column("mesh.client.duration.p95", "s"),
    "PodServerLatencyP95(s)": Column("mesh.server.duration.p95", "s"),
    "PodClientLatencyP99(s)": Column("mesh.client.duration.p99", "s"),
    "PodServerLatencyP99(s)": Column("mesh.server.duration.p99", "s"),
    "PodWorkload(Ops)": Column("mesh.server.request.rate", "{request}/s"),
    "NodeCpuUsageRate(%)": Column("k8s.node.cpu.utilization", "1", 1e-2),
    "NodeMemoryUsageRate(%)": Column("k8s.node.memory.utilization", "1", 1e-2),
    "NodeNetworkReceiveBytes": Column("k8s.node.network.io.rate", "By/s", 1.0, (("direction", "receive"),)),
    "SuccessRate(%)": Column("frontdoor.success_ratio", "1", 1e-2),
    "LatencyP50(s)": Column("frontdoor.duration.p50", "s"),
    "LatencyP90(s)": Column("frontdoor.duration.p90", "s"),
    "LatencyP95(s)": Column("frontdoor.duration.p95", "s"),
    "LatencyP99(s)": Column("frontdoor.duration.p99", "s"),
}
# The mesh's median latency of calls between two services, a column an edge, seen from either end.
EDGE_FILES: Mapping[str, str] = {
    "source_50.csv": "mesh.client.duration.p50",
    "destination_50.csv": "mesh.server.duration.p50",
}
PEER_LABEL = "peer.service"

UNITS: Mapping[str, str] = {c.name: c.unit for c in COLUMNS.values()} | dict.fromkeys(
    EDGE_FILES.values(), "s"
)

_SEVERITIES = {"TRACE": 1, "DEBUG": 5, "INFO": 9, "WARN": 13, "WARNING": 13, "ERROR": 17, "FATAL": 21}
_JSON_SEVERITY = re.compile(r'"severity"\s*:\s*"(\w+)"')
_WORD_SEVERITY = re.compile(r"\b(TRACE|DEBUG|INFO|WARN|WARNING|ERROR|FATAL)\b")


def service_of(pod: str) -> str:
    """A pod's name without the two parts that its replica set and Kubernetes add."""
    return pod.rsplit("-", 2)[0]


def files_of(path: Path) -> dict[str, bytes]:
    """The files of a day by their path below it, from a folder or a ``.tar`` or ``.tar.zst`` archive."""
    if path.is_dir():
        named = ((p.relative_to(path), p) for p in sorted(path.rglob("*")) if p.is_file())
        return {_inner(str(name)): p.read_bytes() for name, p in named}
    if not path.is_file():
        raise NotFound(f"no recorded day at {path}: expected a folder or a .tar or .tar.zst file")
    raw = path.read_bytes()
    try:
        if path.suffix == ".zst":
            raw = bytes(cramjam.zstd.decompress(raw))
        with tarfile.open(fileobj=io.BytesIO(raw)) as archive:
            members = [m for m in archive.getmembers() if m.isfile()]
            contents = ((m.name, archive.extractfile(m)) for m in members)
            return {_inner(name): file.read() for name, file in contents if file is not None}
    except (tarfile.TarError, cramjam.DecompressionError) as error:
        raise Malformed("nezha_archive", f"{path} is not a tar archive of a recorded day: {error}") from error


def _inner(name: str) -> str:
    """The path below the day's folder, however deep that one lies: ``trace/08_43_trace.csv``."""
    parts = PurePosixPath(name).parts
    return "/".join(parts[-2:]) if len(parts) > 1 and parts[-2] in ("trace", "log", "metric") else parts[-1]


class Recording:
    """One recorded day. ``spans`` are in order of their end, ``logs`` of their time; ``bodies[i]`` is
    the text of ``logs`` row i; ``metrics`` holds the whole day."""

    def __init__(self, files: Mapping[str, bytes]) -> None:
        self.faults = tuple(_faults(files))
        self._sources: dict[str, Source] = {}
        self.spans = self._read_spans(files)
        self.logs, self.bodies = self._read_logs(files)
        self.metrics = self._read_metrics(files)
        if not len(self.spans) and not len(self.metrics):
            raise Malformed(
                "nezha_empty", "no trace/*_trace.csv and no metric/*_metric.csv: not a recorded Nezha day"
            )

    @property
    def start_ns(self) -> int:
        return min((int(t.min()) for t in self._times() if len(t)), default=0)

    @property
    def end_ns(self) -> int:
        return max((int(t.max()) for t in self._times() if len(t)), default=0) + 1

    def telemetry(self, start_ns: int, end_ns: int, known_ns: int | None = None) -> Telemetry:
        """What was recorded of ``[start_ns, end_ns)`` before ``known_ns`` (``None``: ever): a span is
        known once it has ended."""
        known = np.iinfo(np.int64).max if known_ns is None else known_ns
        spans, logs, metrics = self.spans, self.logs, self.metrics
        in_spans = (spans.start_ns >= start_ns) & (spans.start_ns < end_ns) & (spans.end_ns < known)
        in_logs = (logs.time_ns >= start_ns) & (logs.time_ns < min(end_ns, known))
        return Telemetry(
            start_ns=start_ns,
            end_ns=end_ns,
            spans=select(spans, in_spans),
            logs=select(logs, in_logs),
            metrics=_metrics_between(metrics, start_ns, min(end_ns, known)),
        )

    def _times(self) -> tuple[npt.NDArray[np.int64], ...]:
        return self.spans.start_ns, self.spans.end_ns, self.logs.time_ns, self.metrics.time_ns

    def _source(self, pod: str, service: str = "") -> Source:
        return self._sources.setdefault(
            pod, Source(tenant="default", service=service or service_of(pod), instance=pod)
        )

    def _read_spans(self, files: Mapping[str, bytes]) -> SpanFrame:
        pods: dict[str, int] = {}
        names: dict[str, int] = {}
        traces: list[str] = []
        ids: list[tuple[str, str]] = []
        numbers: list[tuple[int, int, int, int]] = []
        seen: set[tuple[str, str]] = set()
        for _, row in _rows(files, "trace/"):
            trace, span = row["TraceID"], row["SpanID"]
            if (trace, span) in seen:
                continue
            seen.add((trace, span))
            traces.append(trace)
            ids.append((span, row["ParentID"]))
            pod = pods.setdefault(row["PodName"], len(pods))
            name = names.setdefault(row["OperationName"], len(names))
            numbers.append((int(row["StartTimeUnixNano"]), int(row["EndTimeUnixNano"]), pod, name))
        if not numbers:
            return NO_SPANS
        columns = np.array(numbers, np.int64)
        frame = SpanFrame(
            trace_hi=_hex([t[:16] for t in traces]),
            trace_lo=_hex([t[16:] for t in traces]),
            span_id=_hex([span for span, _ in ids]),
            parent_id=_hex(["0" if parent == "root" else parent for _, parent in ids]),
            start_ns=columns[:, 0],
            end_ns=columns[:, 1],
            kind=_kinds(traces, ids, columns[:, 2]),
            status=np.zeros(len(columns), np.uint8),
            system=np.zeros(len(columns), np.uint8),
            source=columns[:, 2].astype(np.int32),
            name=columns[:, 3].astype(np.int32),
            ref=np.full(len(columns), -1, np.int64),
            sources=tuple(self._source(pod) for pod in pods),
            names=tuple(names),
        )
        return select(frame, np.argsort(frame.end_ns, kind="stable"))

    def _read_logs(self, files: Mapping[str, bytes]) -> tuple[LogFrame, list[str]]:
        pods: dict[str, int] = {}
        seen: set[tuple[int, str, str]] = set()
        rows: list[tuple[int, int, int]] = []
        ids: list[tuple[str, str]] = []
        bodies: list[str] = []
        for _, row in _rows(files, "log/"):
            time_ns, body = log_line(row["Log"], int(row["TimeUnixNano"]))
            key = (time_ns, row["PodName"], body)
            if key in seen:
                continue
            seen.add(key)
            pod = pods.setdefault(row["PodName"], len(pods))
            rows.append((time_ns, pod, severity_of(body)))
            ids.append((row["TraceID"], row["SpanID"]))
            bodies.append(body)
        if not rows:
            return NO_LOGS, []
        order = np.argsort(np.array([row[0] for row in rows], np.int64), kind="stable")
        bodies = [bodies[i] for i in order]
        template, templates = _templates(bodies)
        columns = np.array(rows, np.int64)[order]
        frame = LogFrame(
            time_ns=columns[:, 0],
            trace_hi=_hex([t[:16] for t, _ in ids])[order],
            trace_lo=_hex([t[16:] for t, _ in ids])[order],
            span_id=_hex([s for _, s in ids])[order],
            severity=columns[:, 2].astype(np.uint8),
            source=columns[:, 1].astype(np.int32),
            template=template,
            ref=np.full(len(rows), -1, np.int64),
            sources=tuple(self._source(pod) for pod in pods),
            templates=templates,
        )
        return frame, bodies

    def _read_metrics(self, files: Mapping[str, bytes]) -> MetricFrame:
        samples: dict[Series, list[tuple[int, float]]] = {}
        pods = {s.service: pod for pod, s in self._sources.items()}
        for name, row in _rows(files, "metric/"):
            base = name.rsplit("/", 1)[-1]
            cells = _edge_cells(base, row, pods) if base in EDGE_FILES else _pod_cells(row)
            moment = row.get("Time") or row.get("time") or ""
            if not moment:
                continue  # dependency.csv: a static table
            time_ns = parse_time_ns(moment)
            for pod, column, cell in cells:
                source = self._source(pod, service=pod if base == "front_service.csv" else "")
                series = Series(source, column.name, column.labels)
                samples.setdefault(series, []).append((time_ns, float(cell) * column.factor))
        return _metric_frame(samples)


def severity_of(body: str) -> int:
    """OTLP's severity number of a line by the level word it holds, 0 where it holds none."""
    match = _JSON_SEVERITY.search(body) or _WORD_SEVERITY.search(body[:80])
    return _SEVERITIES.get(match.group(1).upper(), 0) if match else 0


def log_line(cell: str, time_ns: int) -> tuple[int, str]:
    """``(time, text)`` of the line inside the container runtime's JSON. A few records hold more than
    one, of which the first counts, and a few have no time of their own but the runtime's."""
    try:
        record, _ = json.JSONDecoder().raw_decode(cell)
        if time_ns <= 0:
            time_ns = parse_time_ns(str(record["time"]).replace("T", " ").replace("Z", " "))
        return time_ns, str(record["log"]).rstrip("\n")
    except (ValueError, TypeError, KeyError):
        return time_ns, cell


def parse_time_ns(text: str) -> int:
    """Unix time of ``2023-01-29 08:41:09.712997733 +0000 UTC m=+0.789159594``, as Go prints it."""
    try:
        day, clock = text.split(" ")[:2]
        seconds, _, fraction = clock.partition(".")
        moment = datetime.fromisoformat(f"{day} {seconds}").replace(tzinfo=UTC)
        return int(moment.timestamp()) * NS + int((fraction + "000000000")[:9])
    except ValueError as error:
        raise Malformed(
            "nezha_time", f"got the time {text!r}, expected 2023-01-29 08:41:09.712997733 +0000 UTC"
        ) from error


def _faults(files: Mapping[str, bytes]) -> Iterator[Fault]:
    for name in sorted(n for n in files if n.endswith("fault_list.json")):
        found = [
            Fault(parse_time_ns(entry["inject_time"]), entry["inject_pod"], entry["inject_type"])
            for hour in json.loads(files[name]).values()
            for entry in hour
        ]
        yield from sorted(found, key=lambda fault: fault.time_ns)


def _rows(files: Mapping[str, bytes], folder: str) -> Iterator[tuple[str, dict[str, str]]]:
    for name in sorted(n for n in files if n.startswith(folder) and n.endswith(".csv")):
        for row in csv.DictReader(io.StringIO(files[name].decode("utf-8", "replace"))):
            yield name, row


def _pod_cells(row: Mapping[str, str]) -> Iterator[tuple[str, Column, str]]:
    pod = row.get("PodName") or row.get("ServiceName") or ""
    for name, column in COLUMNS.items():
        if row.get(name):
            yield pod, column, row[name]


def _edge_cells(
    base: str, row: Mapping[str, str], pods: Mapping[str, str]
) -> Iterator[tuple[str, Column, str]]:
    """Cells of ``caller_callee`` columns: the caller's view is told by the caller's pod."""
    caller_tells = base == "source_50.csv"
    for name, cell in row.items():
        if "_" not in name or not cell:
            continue
        caller, callee = name.split("_", 1)
        teller, peer = (caller, callee) if caller_tells else (callee, caller)
        if teller in pods:
            yield pods[teller], Column(EDGE_FILES[base], "s", 1.0, ((PEER_LABEL, peer),)), cell


def _hex(texts: list[str]) -> npt.NDArray[np.uint64]:
    return np.array([int(text or "0", 16) for text in texts], np.uint64)


def _kinds(
    traces: list[str], ids: list[tuple[str, str]], pod: npt.NDArray[np.int64]
) -> npt.NDArray[np.uint8]:
    """Kinds are not recorded: a root or a child in another pod is a server, its parent a client."""
    row_of = {(trace, span): i for i, (trace, (span, _)) in enumerate(zip(traces, ids, strict=True))}
    kinds = np.full(len(ids), KIND_INTERNAL, np.uint8)
    servers = []
    for i, (trace, (_, parent)) in enumerate(zip(traces, ids, strict=True)):
        above = row_of.get((trace, parent))
        if above is None:
            servers.append(i)
        elif pod[above] != pod[i]:
            kinds[above] = KIND_CLIENT
            servers.append(i)
    kinds[servers] = KIND_SERVER
    return kinds


def _templates(bodies: list[str]) -> tuple[npt.NDArray[np.int32], tuple[str, ...]]:
    encoded = [body.encode() for body in bodies]
    lengths = np.array([len(body) for body in encoded], np.int64)
    raw = np.frombuffer(b"".join(encoded) or b"\0", np.uint8)
    hashes = shape_hashes(raw, np.cumsum(lengths) - lengths, lengths)
    _, first, inverse = np.unique(hashes, return_index=True, return_inverse=True)
    return inverse.astype(np.int32), tuple(shape_text(encoded[i]) for i in first)


def _metric_frame(samples: Mapping[Series, list[tuple[int, float]]]) -> MetricFrame:
    # Doubles cannot hold nanoseconds: times and values are parted before they become arrays.
    ordered = [sorted(dict(points).items()) for points in samples.values()]
    times = [np.array([t for t, _ in points], np.int64) for points in ordered]
    values = [np.array([v for _, v in points], np.float64) for points in ordered]
    return MetricFrame(
        series=tuple(samples),
        cumulative=np.zeros(len(samples), np.bool_),
        offsets=np.concatenate([np.zeros(1, np.int64), np.cumsum([len(t) for t in times])]).astype(np.int64),
        time_ns=np.concatenate([np.zeros(0, np.int64), *times]),
        value=np.concatenate([np.zeros(0, np.float64), *values]),
    )


def _metrics_between(frame: MetricFrame, start_ns: int, end_ns: int) -> MetricFrame:
    keep = (frame.time_ns >= start_ns) & (frame.time_ns < end_ns)
    counts = np.add.reduceat(keep, frame.offsets[:-1]) if len(frame) else np.zeros(0, np.int64)
    return MetricFrame(
        series=frame.series,
        cumulative=frame.cumulative,
        offsets=np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)]).astype(np.int64),
        time_ns=frame.time_ns[keep],
        value=frame.value[keep],
    )
