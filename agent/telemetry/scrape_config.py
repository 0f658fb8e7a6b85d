"""What is scraped, how and how often: the model of the ``scrape_configs`` of a Prometheus configuration.

A limit of 0 is no limit. Secrets are ``Secret`` and do not print. Intervals are those of the file; whoever
scrapes may be told others at run time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from agent.secret import Secret
from agent.telemetry.relabel import Rule


class Protocol(StrEnum):
    """Names of Prometheus' ``scrape_protocols``."""

    PROTOBUF = "PrometheusProto"
    OPENMETRICS_1 = "OpenMetricsText1.0.0"
    OPENMETRICS_0 = "OpenMetricsText0.0.1"
    TEXT_1 = "PrometheusText1.0.0"
    TEXT_0 = "PrometheusText0.0.4"


DEFAULT_PROTOCOLS = (Protocol.OPENMETRICS_1, Protocol.OPENMETRICS_0, Protocol.TEXT_1, Protocol.TEXT_0)
ACCEPT = {
    Protocol.PROTOBUF: (
        "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited"
    ),
    Protocol.OPENMETRICS_1: "application/openmetrics-text;version=1.0.0",
    Protocol.OPENMETRICS_0: "application/openmetrics-text;version=0.0.1",
    Protocol.TEXT_1: "text/plain;version=1.0.0",
    Protocol.TEXT_0: "text/plain;version=0.0.4",
}


def accept_header(protocols: tuple[Protocol, ...]) -> str:
    """The protocols in the order of preference, each with less weight than the one before."""
    weights = len(protocols)
    wanted = [f"{ACCEPT[protocol]};q=0.{weights + 1 - i}" for i, protocol in enumerate(protocols)]
    return ",".join([*wanted, "*/*;q=0.1"])


@dataclass(frozen=True, slots=True)
class TargetGroup:
    """Targets with what they have in common. ``source`` names the group among those of its discovery: a
    group of the same source takes its place."""

    source: str
    targets: tuple[Mapping[str, str], ...]
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Credentials:
    """``kind`` is ``Basic`` or the type of ``authorization`` (``Bearer``). A file is read at each scrape, so
    that a rotated secret is taken up."""

    kind: str
    username: str = ""
    secret: Secret = field(default_factory=lambda: Secret(""))
    secret_file: str = ""


@dataclass(frozen=True, slots=True)
class TlsConfig:
    ca_file: str = ""
    cert_file: str = ""
    key_file: str = ""
    server_name: str = ""
    insecure_skip_verify: bool = False


@dataclass(frozen=True, slots=True)
class HttpConfig:
    credentials: Credentials | None = None
    tls: TlsConfig = TlsConfig()
    follow_redirects: bool = True


@dataclass(frozen=True, slots=True)
class FileDiscovery:
    files: tuple[str, ...]
    refresh_s: float = 300.0


@dataclass(frozen=True, slots=True)
class Selector:
    role: str
    label: str = ""
    field: str = ""


@dataclass(frozen=True, slots=True)
class KubernetesDiscovery:
    """``api_server`` empty: in the cluster, or the file ``kubeconfig``."""

    role: str
    api_server: str = ""
    kubeconfig: str = ""
    namespaces: tuple[str, ...] = ()
    own_namespace: bool = False
    selectors: tuple[Selector, ...] = ()
    attach_node: bool = False
    http: HttpConfig = HttpConfig()


@dataclass(frozen=True, slots=True)
class Limits:
    samples: int = 0
    labels: int = 0
    label_name_length: int = 0
    label_value_length: int = 0
    targets: int = 0
    body_bytes: int = 0
    keep_dropped_targets: int = 0


@dataclass(frozen=True, slots=True)
class JobConfig:
    """One entry of ``scrape_configs``."""

    name: str
    interval_s: float
    timeout_s: float
    metrics_path: str = "/metrics"
    scheme: str = "http"
    params: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    honor_labels: bool = False
    honor_timestamps: bool = True
    track_timestamps_staleness: bool = False
    protocols: tuple[Protocol, ...] = DEFAULT_PROTOCOLS
    fallback_protocol: Protocol | None = None
    classic_histograms: bool = False
    compression: bool = True
    limits: Limits = Limits()
    http: HttpConfig = HttpConfig()
    static: tuple[TargetGroup, ...] = ()
    files: tuple[FileDiscovery, ...] = ()
    kubernetes: tuple[KubernetesDiscovery, ...] = ()
    relabel: tuple[Rule, ...] = ()
    metric_relabel: tuple[Rule, ...] = ()


@dataclass(frozen=True, slots=True)
class ScrapeConfig:
    """``ignored`` are sections of a Prometheus configuration that do not concern scraping."""

    jobs: tuple[JobConfig, ...] = ()
    external_labels: Mapping[str, str] = field(default_factory=dict)
    ignored: tuple[str, ...] = ()
