"""Remote write into the running layer: by hand in both versions, and by a real Prometheus."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from actors.runtime import Layer
from agent.telemetry.labels import labels_of
from agent.telemetry.remote_write_client import WriteSeries, encode_write_request, encode_write_request_v2
from tests.integration.layer.conftest import free_ports
from tests.integration.layer.test_ways import wait_for

pytestmark = pytest.mark.ray

V1 = {"Content-Type": "application/x-protobuf", "Content-Encoding": "snappy"}
V2 = V1 | {"Content-Type": "application/x-protobuf;proto=io.prometheus.write.v2.Request"}


def figure(layer: Layer, name: str) -> float:
    return sum(one.figures.get(name, 0.0) for one in layer.status().actors if one.kind == "gateway")


def post(otlp: str, body: bytes, headers: dict[str, str]) -> requests.Response:
    return requests.post(f"{otlp}/api/v1/write", data=body, headers=headers, timeout=30)


def test_both_versions_are_taken_and_say_what_was_refused(layer: Layer, otlp: str) -> None:
    at_ms = time.time_ns() // 10**6
    labels = labels_of({"__name__": "by_hand", "job": "rw", "instance": "a"})
    assert post(otlp, encode_write_request([(labels, [(at_ms, 1.0)])]), V1).status_code == 204
    series = [WriteSeries(labels, ((at_ms, 2.0), (at_ms + 1, 3.0)), type="gauge", help="A number.")]
    answer = post(otlp, encode_write_request_v2(series), V2)
    assert (answer.status_code, answer.headers["X-Prometheus-Remote-Write-Samples-Written"]) == (400, "1")
    assert answer.text.startswith("duplicate sample for timestamp: series {__name__=")


def test_a_sample_is_in_every_answer_from_its_acknowledgement_on(otlp: str, api: str) -> None:
    labels = [labels_of({"__name__": "at_once", "job": f"j{i}", "instance": "a"}) for i in range(4)]
    query = {"query": "sum(at_once)"}
    for number in range(30):
        at_ms = time.time_ns() // 10**6
        body = encode_write_request([(one, [(at_ms, float(number))]) for one in labels])
        assert post(otlp, body, V1).status_code == 204
        found = requests.get(f"{api}/api/v1/query", params=query, timeout=10).json()
        assert [row["value"][1] for row in found["data"]["result"]] == [str(4 * number)]


@pytest.fixture
def prometheus(otlp: str, tmp_path: Path) -> Iterator[str]:
    """A Prometheus that scrapes itself every second and writes to the layer."""
    program = shutil.which("prometheus")
    if program is None:
        pytest.skip("prometheus is not installed")
    port = free_ports().popitem()[1]
    (tmp_path / "prometheus.yml").write_text(
        "global: {scrape_interval: 1s}\n"
        f"scrape_configs: [{{job_name: self, static_configs: [{{targets: ['127.0.0.1:{port}']}}]}}]\n"
        f"remote_write: [{{url: '{otlp}/api/v1/write', send_exemplars: true, queue_config: "
        "{batch_send_deadline: 1s}}]\n"
    )
    command = [program, "--config.file=prometheus.yml", f"--web.listen-address=127.0.0.1:{port}"]
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.DEVNULL) as running:
        yield f"http://127.0.0.1:{port}"
        running.terminate()


def counted(prometheus: str, name: str) -> float:
    """One of Prometheus' own metrics, over all its label sets."""
    lines = requests.get(f"{prometheus}/metrics", timeout=5).text.splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith(name))


def test_a_real_prometheus_writes_and_nothing_is_refused(layer: Layer, prometheus: str) -> None:
    before = figure(layer, "samples_total")
    wait_for(lambda: figure(layer, "samples_total") - before > 1000, 30)
    assert counted(prometheus, "prometheus_remote_storage_samples_total") > 1000
    for failure in ("failed", "dropped", "retried"):
        assert counted(prometheus, f"prometheus_remote_storage_samples_{failure}_total") == 0


def test_the_layer_answers_what_the_prometheus_that_wrote_to_it_answers(api: str, prometheus: str) -> None:
    """At a time that both know: newer than the first scrapes, older than the last request."""
    query = '{job="self"}'

    def answer(base: str, at_s: float) -> dict[str, str]:
        found = requests.get(
            f"{base}/api/v1/query", params={"query": query, "time": str(at_s)}, timeout=20
        ).json()
        assert found["status"] == "success", found
        target = prometheus.removeprefix("http://")
        rows = [row for row in found["data"]["result"] if row["metric"]["instance"] == target]
        return {str(sorted(row["metric"].items())): row["value"][1] for row in rows}

    wait_for(lambda: answer(api, time.time()), 30)
    at_s = round(time.time(), 3)
    time.sleep(3)  # what was scraped before then has been sent
    theirs = answer(prometheus, at_s)
    assert len(theirs) > 300
    assert answer(api, at_s) == theirs


def istio(at_ms: int, total: float, tag: str) -> bytes:
    """A scrape of the proxies of a service and of one that calls it, targets of two jobs."""
    names = {"source_workload": f"web-{tag}", "destination_workload": f"ledger-{tag}"}
    spaces = {f"{side}_workload_namespace": "bank" for side in ("source", "destination")}
    series = [
        {"__name__": "istio_requests_total", "job": f"{reporter}-{tag}", "instance": "a:15020", "reporter": reporter,
         "request_protocol": "http", "response_code": code, **names, **spaces}
        for reporter in ("source", "destination")
        for code in ("200", "503")
    ]  # fmt: skip
    return encode_write_request([(labels_of(labels), [(at_ms, total)]) for labels in series])


def test_services_that_only_a_mesh_sees_have_red_series_and_edges(otlp: str, api: str) -> None:
    now_ms, tag, tenant = time.time_ns() // 10**6, "mesh", {"X-Scope-OrgID": "mesh"}
    for number in range(41):  # ten minutes, until now
        body = istio(now_ms - (40 - number) * 15_000, 75.0 * number, tag)
        assert post(otlp, body, V1 | tenant).status_code == 204

    def red() -> list[float]:
        start_s, end_s = now_ms // 1000 - 480, now_ms // 1000 - 120
        path = f"{api}/api/v1/services/ledger-{tag}/red?start={start_s}&end={end_s}&step=60"
        answer = requests.get(path, headers=tenant, timeout=10)
        return answer.json()["series"][0]["rate_per_s"] if answer.ok else []

    wait_for(lambda: red() and red()[-1] >= 10, 20)
    assert [round(rate, 6) for rate in red()] == [10.0] * 6

    def services() -> set[str]:
        answer = requests.get(f"{api}/api/v1/services", headers=tenant, timeout=10).json()
        return {one["service"] for one in answer["services"]}

    wait_for(lambda: f"ledger-{tag}" in services(), 20)

    def edges() -> list[tuple[str, str]]:
        answer = requests.get(f"{api}/api/v1/topology", headers=tenant, timeout=10).json()
        return [(one["caller"], one["callee"]) for one in answer["edges"]]

    wait_for(edges, 30)
    assert edges() == [(f"web-{tag}", f"ledger-{tag}")]
