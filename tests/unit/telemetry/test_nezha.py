from __future__ import annotations

import io
import tarfile
from pathlib import Path

import cramjam
import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from agent.errors import Malformed, NotFound
from agent.telemetry.frames import KIND_CLIENT, KIND_INTERNAL, KIND_SERVER
from agent.telemetry.nezha import NS, Recording, files_of, log_line, parse_time_ns, service_of, severity_of
from agent.telemetry.nezha_otlp import Signal, chunks
from agent.telemetry.source import Source

FRONT, BACK = "front-service-5c-aa", "back-service-6d-bb"
T = 1_674_981_768 * NS
TRACE = "b0103bb0161ad7fa352fe1828eeb643a"

SPANS = f"""TraceID,SpanID,ParentID,PodName,OperationName,StartTimeUnixNano,EndTimeUnixNano,Duration
{TRACE},00000000000000a1,root,{FRONT},/*,{T},{T + 100},0
{TRACE},00000000000000a2,00000000000000a1,{FRONT},handle,{T + 10},{T + 90},0
{TRACE},00000000000000a3,00000000000000a2,{FRONT},HTTP GET,{T + 20},{T + 80},0
{TRACE},00000000000000b1,00000000000000a3,{BACK},/api,{T + 30},{T + 70},0
"""
LOGS = (
    "Timestamp,TimeUnixNano,Node,PodName,Container,TraceID,SpanID,Log\n"
    f'x,{T + 40},n,{BACK},server,{TRACE},00000000000000b1,"{{""log"":""16:42:22.382 ERROR a.B#7 gone\\n"",""stream"":""stdout"",'
    '""time"":""2023-01-29T08:42:48.000000040Z""}"\n'
)
METRICS = (
    "Time,TimeStamp,PodName,CpuUsage(m),MemoryUsage(Mi),PodSuccessRate(%)\n"
    f"2023-01-29 08:42:50.5 +0000 UTC m=+0.7,1,{BACK},500,2,0\n"
    f"2023-01-29 08:43:50.5 +0000 UTC m=+60.7,1,{BACK},250,2,0\n"
)
EDGES = "time,timestamp,front-service_back-service\n2023-01-29 08:42:50.5 +0000 UTC m=+0.7,1,0.25\n"
FAULTS = '{"08": [{"inject_time": "2023-01-29 08:43:04", "inject_timestamp": "1", "inject_pod": "%s", "inject_type": "return"}]}'


@pytest.fixture
def files() -> dict[str, bytes]:
    return {
        "2023-01-29-fault_list.json": (FAULTS % BACK).encode(),
        "trace/08_43_trace.csv": SPANS.encode(),
        "trace/08_44_trace.csv": SPANS.encode(),
        "log/08_43_log.csv": LOGS.encode(),
        f"metric/{BACK}_metric.csv": METRICS.encode(),
        "metric/source_50.csv": EDGES.encode(),
    }


def test_reads_faults_in_utc(files: dict[str, bytes]) -> None:
    (fault,) = Recording(files).faults
    assert (fault.time_ns, fault.pod, fault.service) == (1_674_981_784 * NS, BACK, "back-service")


def test_drops_spans_that_stand_in_two_files(files: dict[str, bytes]) -> None:
    assert len(Recording(files).spans) == 4


def test_tells_kinds_from_who_calls_whom(files: dict[str, bytes]) -> None:
    spans = Recording(files).spans
    kinds = {spans.names[n]: k for n, k in zip(spans.name.tolist(), spans.kind.tolist(), strict=True)}
    assert kinds == {"/*": KIND_SERVER, "handle": KIND_INTERNAL, "HTTP GET": KIND_CLIENT, "/api": KIND_SERVER}


def test_reads_lines_with_their_span_and_level(files: dict[str, bytes]) -> None:
    day = Recording(files)
    assert day.bodies == ["16:42:22.382 ERROR a.B#7 gone"]
    assert day.logs.templates == ("<*> ERROR a.B#7 gone",)
    assert (day.logs.span_id.tolist(), day.logs.severity.tolist()) == ([0xB1], [17])


def test_gives_metrics_other_names_and_units_and_leaves_out_what_means_no_data(
    files: dict[str, bytes],
) -> None:
    metrics = Recording(files).metrics
    back = Source("default", "back-service", instance=BACK)
    values = {(s.source, s.name): metrics.value[metrics.offsets[i]] for i, s in enumerate(metrics.series)}
    assert values[back, "k8s.pod.cpu.usage"] == 0.5
    assert values[back, "k8s.pod.memory.usage"] == 2 * 1024 * 1024
    assert {s.name for s in metrics.series} == {
        "k8s.pod.cpu.usage",
        "k8s.pod.memory.usage",
        "mesh.client.duration.p50",
    }


def test_shows_only_what_was_known_then(files: dict[str, bytes]) -> None:
    day = Recording(files)
    known = day.telemetry(T, T + 1000, known_ns=T + 75)
    assert [known.spans.names[n] for n in known.spans.name] == ["/api"]
    assert len(day.telemetry(T, T + 1000).spans) == 4


def test_sends_the_same_data_as_otlp_in_order_of_time(files: dict[str, bytes]) -> None:
    day = Recording(files)
    sent = list(chunks(day, step_s=1.0))
    assert [c.event_time_ns for c in sent] == sorted(c.event_time_ns for c in sent)
    counted = {s: sum(c.records for c in sent if c.signal is s) for s in Signal}
    assert counted == {Signal.TRACES: 4, Signal.LOGS: 1, Signal.METRICS: 5}


def test_otlp_carries_ids_resource_and_body(files: dict[str, bytes]) -> None:
    sent = {c.signal: c.body for c in chunks(Recording(files), step_s=10.0)}
    traces = ExportTraceServiceRequest.FromString(sent[Signal.TRACES])
    by_name = {s.name: s for r in traces.resource_spans for s in r.scope_spans[0].spans}
    assert by_name["/api"].trace_id.hex() == TRACE
    assert by_name["/*"].parent_span_id == b""
    resource = {a.key: a.value.string_value for a in traces.resource_spans[0].resource.attributes}
    assert Source.of(resource) == Source(
        "default", service_of(resource["k8s.pod.name"]), instance=resource["k8s.pod.name"]
    )
    (lines,) = ExportLogsServiceRequest.FromString(sent[Signal.LOGS]).resource_logs
    assert lines.scope_logs[0].log_records[0].body.string_value == "16:42:22.382 ERROR a.B#7 gone"
    metrics = ExportMetricsServiceRequest.FromString(sent[Signal.METRICS])
    assert {m.unit for r in metrics.resource_metrics for m in r.scope_metrics[0].metrics} <= {
        "{cpu}",
        "By",
        "s",
    }


def test_reads_a_folder_and_an_archive_alike(files: dict[str, bytes], tmp_path: Path) -> None:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for name, data in files.items():
            at = tmp_path / "day" / "2023-01-29" / name
            at.parent.mkdir(parents=True, exist_ok=True)
            at.write_bytes(data)
            info = tarfile.TarInfo(f"2023-01-29/{name}")
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    (tmp_path / "day.tar.zst").write_bytes(bytes(cramjam.zstd.compress(packed.getvalue())))
    assert files_of(tmp_path / "day") == files_of(tmp_path / "day.tar.zst") == files


def test_refuses_what_is_no_recorded_day(tmp_path: Path) -> None:
    with pytest.raises(Malformed, match="not a recorded Nezha day"):
        Recording({"readme.md": b""})
    with pytest.raises(NotFound, match=r"expected a folder or a \.tar"):
        files_of(tmp_path / "missing.tar")
    (tmp_path / "bad.tar.zst").write_bytes(b"not zstd")
    with pytest.raises(Malformed, match="not a tar archive"):
        files_of(tmp_path / "bad.tar.zst")


def test_reads_times_as_go_prints_them() -> None:
    assert parse_time_ns("2023-01-29 08:41:09.712997733 +0000 UTC m=+0.78") == 1_674_981_669_712_997_733
    with pytest.raises(Malformed, match="got the time 'yesterday'"):
        parse_time_ns("yesterday")


LEVELS = {
    "a word": ("16:42 WARN x", 13),
    "JSON": ('{"severity": "error", "message": "INFO"}', 17),
    "none": ("plain text", 0),
    "part of a word": ("INFORMATION", 0),
}


@pytest.mark.parametrize(("body", "severity"), LEVELS.values(), ids=LEVELS)
def test_reads_the_level(body: str, severity: int) -> None:
    assert severity_of(body) == severity


def test_takes_the_first_of_several_records_and_the_runtimes_time() -> None:
    cell = '{"log":"a\\n","time":"2023-01-29T08:42:48.5Z"}rest"}'
    assert log_line(cell, -1) == (T + NS // 2, "a")
    assert log_line("not json", 5) == (5, "not json")
