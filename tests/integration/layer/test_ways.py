"""The ways of a person: the real SDK in, the API, the live feed and the command line out."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
import requests
import websockets
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcSpanExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter

from actors.runtime import Layer
from tests.otlp import logs, post_until_taken

pytestmark = pytest.mark.ray


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_a_span_of_the_real_sdk_opens_with_its_exception(
    layer: Layer, api: str, otlp: str, protocol: str
) -> None:
    exporter: SpanExporter
    if protocol == "http":
        exporter = OTLPSpanExporter(endpoint=f"{otlp}/v1/traces")
    else:
        exporter = GrpcSpanExporter(endpoint=layer.address("otlp/grpc"), insecure=True)
    provider = TracerProvider(resource=Resource({"service.name": f"sdk-{protocol}"}), shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    with (
        pytest.raises(KeyError),
        provider.get_tracer("test").start_as_current_span("pay", attributes={"order": 17}) as span,
    ):
        raise KeyError("no such card")
    provider.shutdown()
    trace_id = f"{span.get_span_context().trace_id:032x}"
    [found] = wait_for(lambda: requests.get(f"{api}/api/v1/traces/{trace_id}", timeout=5).json().get("spans"))
    assert (found["service"], found["name"], found["status"]) == (f"sdk-{protocol}", "pay", "error")
    assert found["attributes"]["order"] == 17
    assert found["exceptions"][0]["type"] == "KeyError"


def wait_for(look, for_s: float = 15.0):  # type: ignore[no-untyped-def]
    deadline = time.monotonic() + for_s
    while time.monotonic() < deadline:
        found = look()
        if found:
            return found
        time.sleep(0.1)
    raise AssertionError("did not come in time")


async def test_the_live_feed_shows_what_comes_in_and_nothing_else(api: str, otlp: str) -> None:
    url = api.replace("http://", "ws://") + "/api/v1/live"
    async with websockets.connect(url) as socket, asyncio.timeout(20):
        subscription = {
            "type": "subscribe",
            "id": "a",
            "signals": ["logs"],
            "services": ["live-a"],
            "severity": "error",
        }
        await socket.send(json.dumps(subscription))
        assert json.loads(await socket.recv())["type"] == "subscribed"
        await asyncio.sleep(1.0)
        for service, severity in (("live-b", 17), ("live-a", 9), ("live-a", 17)):
            body = logs(service, [f"{service} {severity}"], severity=severity)
            await asyncio.to_thread(post_until_taken, f"{otlp}/v1/logs", body)
        frame = json.loads(await socket.recv())
    assert (frame["type"], frame["service"], frame["columns"]["body"]) == ("logs", "live-a", ["live-a 17"])


def test_asking_before_there_is_anything_normal_says_so(api: str) -> None:
    reply = requests.get(
        f"{api}/api/v1/ask?q=why is latency up?", headers={"X-Scope-OrgID": "nobody"}, timeout=20
    )
    assert reply.status_code == 404
    assert "has sent nothing" in reply.json()["error"]["message"]


def test_ready_says_that_all_actors_are(api: str) -> None:
    reply = requests.get(f"{api}/readyz", timeout=10)
    assert (reply.status_code, reply.json()["ready"]) == (200, True)


def test_metrics_are_what_prometheus_wants(api: str) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed (Debian package prometheus)")
    text = requests.get(f"{api}/metrics", timeout=10).text
    checked = subprocess.run(
        [promtool, "check", "metrics"], input=text, capture_output=True, text=True, check=False
    )
    # postgres_exporter's own name, which every dashboard of PostgreSQL asks for.
    complaints = [
        line for line in checked.stderr.splitlines() if not line.startswith("pg_stat_activity_count ")
    ]
    assert complaints == []
    assert "kubechat_obs_spans_total" in text


def test_the_ray_dashboard_names_the_actors(layer: Layer) -> None:
    token = Path.home() / ".ray" / "auth_token"  # where Ray keeps what its dashboard asks for
    reply = requests.get(
        f"{layer.status().dashboard_url}/api/v0/actors?detail=1&limit=1000&filter_keys=state&filter_predicates=%3D&filter_values=ALIVE",
        headers={"Authorization": f"Bearer {token.read_text().strip()}"} if token.exists() else {},
        timeout=20,
    )
    actors = {a["name"]: a["repr_name"] for a in reply.json()["data"]["result"]["result"]}
    assert {a.name for a in layer.status().actors} <= actors.keys()
    assert actors["stream-0"].startswith("Stream(0")


def test_the_command_line_shows_the_same(layer: Layer, api: str) -> None:
    run = subprocess.run(
        [Path(sys.executable).parent / "kubechat-obs", "status", "--url", api, "--json"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert {a["name"] for a in json.loads(run.stdout)["actors"]} == {a.name for a in layer.status().actors}
