"""A Prometheus configuration: what is read, and what an error says."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from agent.secret import Secret
from agent.telemetry.relabel import Action
from agent.telemetry.scrape_config import Protocol, ScrapeConfig, accept_header
from agent.telemetry.scrape_load import load_scrape_config, shown_config, with_interval
from agent.telemetry.scrape_yaml import ConfigError, format_duration, parse_duration

WHOLE = """
global:
  scrape_interval: 15s
  evaluation_interval: 15s
  external_labels: {cluster: eu, replica: 1}
  sample_limit: 5000
rule_files: [rules/*.yml]
alerting: {alertmanagers: []}
scrape_configs:
- job_name: node
  scrape_interval: 1m30s
  scrape_timeout: 5s
  metrics_path: /probe
  scheme: https
  params: {module: [http, tcp]}
  honor_labels: true
  honor_timestamps: false
  enable_compression: false
  scrape_protocols: [PrometheusText0.0.4]
  fallback_scrape_protocol: PrometheusText0.0.4
  sample_limit: 10
  label_limit: 30
  label_name_length_limit: 100
  label_value_length_limit: 200
  target_limit: 5
  body_size_limit: 10MB
  basic_auth: {username: u, password_file: secret.txt}
  tls_config: {ca_file: ca.pem, server_name: s, insecure_skip_verify: true}
  follow_redirects: false
  static_configs:
  - targets: ['a:1', 'b:2']
    labels: {env: prod}
  file_sd_configs:
  - files: [targets/*.json]
    refresh_interval: 10s
  kubernetes_sd_configs:
  - role: endpoints
    namespaces: {names: [shop]}
    selectors: [{role: pod, label: app=a}]
    attach_metadata: {node: true}
  relabel_configs:
  - {source_labels: [__address__], regex: '(.*):.*', target_label: host}
  metric_relabel_configs:
  - {action: labeldrop, regex: tmp_.*}
- job_name: rest
"""


def load(text: str) -> ScrapeConfig:
    return load_scrape_config(text, Path("/etc/p"))


def test_everything_is_read() -> None:
    config = load(WHOLE)
    job, rest = config.jobs
    assert config.ignored == ("alerting", "rule_files")
    assert config.external_labels == {"cluster": "eu", "replica": "1"}
    assert (job.interval_s, job.timeout_s, job.scheme, job.metrics_path) == (90.0, 5.0, "https", "/probe")
    assert (job.honor_labels, job.honor_timestamps, job.compression) == (True, False, False)
    assert job.params == {"module": ("http", "tcp")}
    assert (job.protocols, job.fallback_protocol) == ((Protocol.TEXT_0,), Protocol.TEXT_0)
    limits = job.limits
    assert (limits.samples, limits.labels, limits.targets, limits.body_bytes) == (10, 30, 5, 10 << 20)
    assert (limits.label_name_length, limits.label_value_length) == (100, 200)
    assert job.http.credentials is not None
    assert job.http.credentials.secret_file == "/etc/p/secret.txt"
    assert (job.http.tls.ca_file, job.http.tls.insecure_skip_verify) == ("/etc/p/ca.pem", True)
    assert not job.http.follow_redirects
    assert [target["__address__"] for target in job.static[0].targets] == ["a:1", "b:2"]
    assert job.files[0].files == ("/etc/p/targets/*.json",)
    kubernetes = job.kubernetes[0]
    assert (kubernetes.role, kubernetes.namespaces, kubernetes.attach_node) == ("endpoints", ("shop",), True)
    assert job.metric_relabel[0].action is Action.LABELDROP
    assert (rest.interval_s, rest.timeout_s, rest.limits.samples) == (15.0, 10.0, 5000)
    assert pickle.loads(pickle.dumps(config)) == config


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("scrape_configs:\n- job_name: a\n  color: red\n", r"scrape_configs\[0\].color \(line 3\): got 'a key"),
        ("scrape_configs:\n- job_name: a\n  consul_sd_configs: []\n", r"consul_sd_configs \(line 3\)"),
        ("color: red\n", r"color \(line 1\)"),
        ("scrape_configs:\n- scrape_interval: 1s\n", r"scrape_configs\[0\].job_name \(line 2\): got 'nothing'"),
        ("scrape_configs:\n- job_name: a\n- job_name: a\n", "no other job has"),
        ("global:\n  scrape_interval: 15\n", r"scrape_interval \(line 2\): got '15', expected a duration"),
        ("global:\n  scrape_interval: 0s\n", "above 0"),
        ("scrape_configs:\n- job_name: a\n  scrape_timeout: 2m\n", "at most the scrape interval, 1m"),
        ("scrape_configs:\n- job_name: a\n  sample_limit: -1\n", "whole number"),
        ("scrape_configs:\n- job_name: a\n  honor_labels: maybe\n", "true or false"),
        ("scrape_configs:\n- job_name: a\n  scheme: ftp\n", "one of http, https"),
        ("scrape_configs:\n- job_name: a\n  body_size_limit: big\n", "a size"),
        ("scrape_configs:\n- job_name: a\n  static_configs:\n  - targets: ['http://a/b']\n", r"targets\[0\] \(line 4\)"),
        ("scrape_configs:\n- job_name: a\n  relabel_configs:\n  - {action: bend}\n", "one of replace"),
        ("scrape_configs:\n- job_name: a\n  relabel_configs:\n  - {regex: '('}\n", r"relabel_configs\[0\]"),
        ("scrape_configs:\n- job_name: a\n  bearer_token: x\n  basic_auth: {}\n", "one way to authenticate"),
        ("scrape_configs:\n- job_name: a\n  authorization: {type: Basic}\n", "basic_auth"),
        ("scrape_configs:\n- job_name: a\n  file_sd_configs: [{files: [a.txt]}]\n", "ends in .json"),
        ("scrape_configs:\n- job_name: a\n  kubernetes_sd_configs: [{role: pods}]\n", "one of pod"),
        ("scrape_configs:\n- job_name: a\n  kubernetes_sd_configs: [{api_server: ftp://a, role: pod}]\n", "URL"),
        ("global:\n  external_labels: {'a-b': c}\n", "label name"),
        ("scrape_configs:\n- job_name: a\n  job_name: b\n", r"\(line 3\): got 'the key twice'"),
        ("scrape_configs: 5\n", "a list"),
        ("a: [\n", r"scrape configuration \(line 2\)"),
        ("a: " + "[" * 200, "valid YAML"),
    ],
)  # fmt: skip
def test_errors_name_the_key_and_the_line(text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        load(text)


def test_an_empty_configuration_has_no_jobs() -> None:
    assert load("") == ScrapeConfig()


def test_secrets_do_not_print() -> None:
    text = "scrape_configs:\n- {job_name: a, authorization: {credentials: hunter2}}\n"
    config = load(text)
    credentials = config.jobs[0].http.credentials
    assert credentials is not None
    assert (credentials.kind, credentials.secret) == ("Bearer", Secret("hunter2"))
    assert "hunter2" not in repr(config)
    assert "hunter2" not in shown_config(text)


def test_a_shorter_interval_shortens_the_time_out() -> None:
    job = with_interval(load(WHOLE).jobs[1], 2.0)
    assert (job.interval_s, job.timeout_s) == (2.0, 2.0)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0.0),
        ("1d2h", 93_600.0),
        ("500ms", 0.5),
        ("1m30s", 90.0),
        ("1s1m", None),
        ("", None),
        ("1.5s", None),
    ],
)
def test_durations(text: str, seconds: float | None) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["15s", "1m30s", "500ms", "1w", "1d2h", "0s", "1h"])
def test_durations_are_printed_short(text: str) -> None:
    seconds = parse_duration(text)
    assert seconds is not None
    assert format_duration(seconds) == text


def test_formats_are_asked_for_in_their_order() -> None:
    header = accept_header((Protocol.OPENMETRICS_1, Protocol.TEXT_0))
    assert (
        header == "application/openmetrics-text;version=1.0.0;q=0.3,text/plain;version=0.0.4;q=0.2,*/*;q=0.1"
    )
