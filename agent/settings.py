"""Settings: read once, checked at start, passed down; nothing else looks at files or the environment.

A value comes from, in this order: the environment (``KUBECHAT_OBS_<SECTION>_<KEY>``, and the two names that
everyone knows, ``DATABASE_URL`` and ``RAY_ADDRESS``), the TOML file, the default. Every section is a frozen
dataclass whose fields are made with ``setting``: type, default, range and meaning stand in one place, and
``docs/settings.md`` is checked against them.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
import os
import tomllib
import types
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Union, get_args, get_origin, get_type_hints

from agent.errors import SettingsError
from agent.secret import Secret
from agent.setting import Meta, setting

ENV_PREFIX = "KUBECHAT_OBS_"
# Read by the command line, which may run in the same environment as the layer.
CLIENT_NAMES = {ENV_PREFIX + "CONFIG", ENV_PREFIX + "URL", ENV_PREFIX + "TOKEN"}
# Said in place of the value where a name is wrong: it may be a secret under a misspelt name.
UNKNOWN = "a name that no setting has"
ENV_ALIASES = {"DATABASE_URL": ("database", "url"), "RAY_ADDRESS": ("ray", "address")}


@dataclass(frozen=True, slots=True)
class GeneralSettings:
    data_dir: str = setting(
        "~/.local/share/kubechat-obs", "Where logs, windows and the embedded database are kept."
    )
    log_level: str = setting(
        "info", "How much the layer says of itself.", choices=("debug", "info", "warning", "error")
    )
    log_format: str = setting(
        "auto",
        "`json` for machines, `console` for people, `auto`: console on a terminal.",
        choices=("auto", "json", "console"),
    )
    self_tracing: bool = setting(True, "Send the layer's own traces into itself, as service `kubechat-obs`.")


@dataclass(frozen=True, slots=True)
class GatewaySettings:
    host: str = setting("127.0.0.1", "Address to listen on. Anything but loopback wants `auth_token`.")
    otlp_grpc_port: int = setting(4317, "OTLP over gRPC; 0 takes a free port.", low=0, high=65535)
    otlp_http_port: int = setting(4318, "OTLP over HTTP; 0 takes a free port.", low=0, high=65535)
    auth_token: Secret = setting(
        Secret(""), "Senders must show it as `Authorization: Bearer <token>`; empty asks for none."
    )
    max_body_bytes: int = setting(
        16 << 20,
        "Largest request body as sent; larger ones get 413 or RESOURCE_EXHAUSTED.",
        low=1024,
        unit="bytes",
    )
    max_decoded_bytes: int = setting(
        48 << 20, "Largest request body once decompressed.", low=1024, high=1 << 30, unit="bytes"
    )
    max_pending_bytes: int = setting(
        256 << 20,
        "What may wait for the disk at most; above it senders are told to come back (503, RESOURCE_EXHAUSTED).",
        low=1 << 20,
        unit="bytes",
    )
    max_past_s: float = setting(
        20 * 365 * 86400.0, "Rows older than this against the clock are refused.", low=1.0, unit="seconds"
    )
    max_future_s: float = setting(
        120.0, "Rows further ahead of the clock than this are refused.", low=0.0, unit="seconds"
    )
    max_name_bytes: int = setting(
        1024, "Longest span, metric or label name; a row with a longer one is refused.", low=16, unit="bytes"
    )
    max_row_bytes: int = setting(
        1 << 20,
        "Largest single span, log record or metric point; a larger one is refused.",
        low=1024,
        unit="bytes",
    )
    out_of_order_s: float = setting(
        60.0,
        "How far behind the last sample of its series a sample of remote write may lie. Not 0, Prometheus' default: "
        "a request that is sent again because its answer was lost brings samples older than the last one.",
        low=0.0,
        unit="seconds",
    )
    max_series: int = setting(
        2_000_000,
        "Prometheus series of a tenant that got samples lately; new ones beyond are refused.",
        low=1,
    )
    max_series_per_source: int = setting(
        500_000, "Prometheus series of one job and instance; new ones beyond are refused.", low=1
    )
    max_rows_per_source_per_s: int = setting(
        0,
        "Samples, spans and log records a second of one source (job and instance, or service and instance of a resource), "
        "a minute's worth at once; what is beyond is told to come back (429, RESOURCE_EXHAUSTED; Prometheus does where "
        "`retry_on_http_429` is set). 0 is no limit.",
        low=0,
        high=100_000_000,
        unit="rows",
    )
    max_labels: int = setting(
        128, "Labels of one Prometheus series; one with more is refused.", low=1, high=1000
    )
    max_label_value_bytes: int = setting(
        8192, "Longest label value; a series with a longer one is refused.", low=16, unit="bytes"
    )
    max_tenants: int = setting(
        32, "How many tenants (header `X-Scope-OrgID`) may send; requests of further ones are refused.", low=1
    )


@dataclass(frozen=True, slots=True)
class StreamSettings:
    count: int = setting(0, "How many stream actors share the sources; 0 is one a core.", low=0, high=1024)
    window_s: float = setting(
        900.0, "How much event time the hot window of a stream holds at most.", low=60.0, unit="seconds"
    )
    max_window_bytes: int = setting(
        384 << 20,
        "What the columns of one stream's windows may weigh; beyond it the oldest go.",
        low=1 << 20,
        unit="bytes",
    )
    lateness_s: float = setting(
        5.0,
        "How long the correlator holds a stretch of event time open for rows that come late, before it learns it.",
        low=0.0,
        unit="seconds",
    )
    max_sources: int = setting(
        20_000, "Sources a tenant in one stream; rows of further ones are counted and left out.", low=1
    )
    max_series_per_source: int = setting(
        10_000, "Metric series of one source; samples of further ones are counted and left out.", low=1
    )
    max_series: int = setting(
        1_000_000,
        "Prometheus series of a tenant in one stream; samples of further ones are counted and left out.",
        low=1,
    )
    metric_block_s: float = setting(
        900.0,
        "How much event time of samples is kept as it came before it is compressed into a block on disk; "
        "less, an eighth at least, where series bring many samples in it.",
        low=60.0,
        high=86_400.0,
        unit="seconds",
    )
    metric_retention_s: float = setting(
        15 * 86_400.0, "How long blocks of samples are kept, in event time.", low=3600.0, unit="seconds"
    )
    max_names: int = setting(
        50_000,
        "Distinct span names and log templates of a tenant in one stream; further ones fall together as `…other`.",
        low=1,
    )
    segment_bytes: int = setting(
        64 << 20, "Size of one file of the write-ahead log.", low=1 << 20, high=1 << 30, unit="bytes"
    )


@dataclass(frozen=True, slots=True)
class DetectionSettings:
    lateness_s: float = setting(
        2.0,
        "How long after its end a bin of five seconds may still grow before it is judged.",
        low=0.0,
        unit="seconds",
    )
    warm_up_s: float = setting(
        45.0, "How long a service or operation is watched before it is judged.", low=10.0, unit="seconds"
    )
    alone_nats: float = setting(
        24.0,
        "Evidence that one witness alone needs to open an incident, in nats; more means fewer and later incidents.",
        low=8.0,
        high=200.0,
    )
    end_after_s: float = setting(
        30.0, "How long a service must be normal again before an anomaly ends.", low=5.0, unit="seconds"
    )
    adapt_after_s: float = setting(
        900.0,
        "What lasts longer than this is the new normal, and the anomaly ends.",
        low=60.0,
        unit="seconds",
    )


@dataclass(frozen=True, slots=True)
class IncidentSettings:
    together_s: float = setting(
        120.0, "Anomalies that begin within this of each other can be one incident.", low=1.0, unit="seconds"
    )
    within_hops: int = setting(2, "How far apart in the service graph they may be.", low=0, high=10)
    quiet_s: float = setting(
        30.0,
        "How long all anomalies must have ended before an incident is resolved.",
        low=0.0,
        unit="seconds",
    )
    reopen_s: float = setting(
        300.0,
        "A fresh anomaly on the same services within this of the resolution opens the same incident again.",
        low=0.0,
        unit="seconds",
    )


@dataclass(frozen=True, slots=True)
class RootCauseSettings:
    threshold: float = setting(
        0.5, "How sure an answer must be that something is wrong to name a cause.", low=0.05, high=1.0
    )
    window_s: float = setting(
        120.0, "How much event time before a question is looked at.", low=20.0, high=900.0, unit="seconds"
    )
    keep_s: float = setting(
        6 * 3600.0, "How long the statistics of normal time are kept.", low=300.0, unit="seconds"
    )
    max_segments: int = setting(1200, "How many stretches of normal time are kept at most.", low=10)


@dataclass(frozen=True, slots=True)
class RaySettings:
    address: str = setting(
        "",
        "A running Ray cluster to join (`RAY_ADDRESS`), e.g. `ray://head:10001` or `auto`; empty starts one here.",
    )
    namespace: str = setting("kubechat-obs", "The Ray namespace that the actors live in.")
    dashboard_port: int = setting(
        8265, "Port of the Ray dashboard, where Ray is started here.", low=0, high=65535
    )
    object_store_bytes: int = setting(
        128 << 20,
        "Shared memory for Ray's object store, where Ray is started here.",
        low=80 << 20,
        unit="bytes",
    )


@dataclass(frozen=True, slots=True)
class DatabaseSettings:
    url: Secret = setting(
        Secret(""),
        "PostgreSQL to use (`DATABASE_URL`), e.g. `postgresql://user:password@host/kubechat`; empty starts the embedded one.",
    )
    pool_size: int = setting(4, "Connections of each actor that talks to PostgreSQL.", low=1, high=100)
    statement_timeout_s: float = setting(
        10.0, "A statement that takes longer is cancelled.", low=0.1, unit="seconds"
    )


@dataclass(frozen=True, slots=True)
class AggregatorSettings:
    host: str = setting("127.0.0.1", "Address of the API. Anything but loopback wants `auth_token`.")
    port: int = setting(
        8400, "Port of REST, WebSocket and `/metrics`; 0 takes a free one.", low=0, high=65535
    )
    auth_token: Secret = setting(
        Secret(""), "Clients must show it as `Authorization: Bearer <token>`; empty asks for none."
    )
    live_queue_bytes: int = setting(
        8 << 20,
        "What may wait for one WebSocket client; a slower one loses the oldest and is told how much.",
        low=64 << 10,
        unit="bytes",
    )
    heartbeat_s: float = setting(
        15.0, "How often a quiet WebSocket gets a heartbeat.", low=1.0, unit="seconds"
    )
    max_live_clients: int = setting(200, "WebSocket clients at once; further ones get 503.", low=1)
    ask_timeout_s: float = setting(
        20.0, "A question that takes longer is answered with an error.", low=0.5, unit="seconds"
    )
    query_timeout_s: float = setting(
        120.0,
        "A PromQL query that takes longer is stopped; `timeout` of a request may say less.",
        low=0.1,
        unit="seconds",
    )
    query_concurrency: int = setting(20, "PromQL queries at once; further ones wait for their turn.", low=1)
    query_max_samples: int = setting(
        50_000_000, "Samples that one PromQL query may load; beyond it it fails.", low=1
    )
    query_lookback_s: float = setting(
        300.0,
        "How long after its last sample a series still has a value in PromQL.",
        low=0.001,
        unit="seconds",
    )
    query_features: str = setting(
        "",
        "What of PromQL is switched on beyond the stable language, by Prometheus' names joined by commas: "
        "`promql-experimental-functions`, `promql-extended-range-selectors`, `promql-binop-fill-modifiers`, "
        "`promql-delayed-name-removal`. As in Prometheus 3.14, `promql-duration-expr` is taken and does nothing: "
        "durations may be computed without it.",
    )


@dataclass(frozen=True, slots=True)
class ScrapeSettings:
    config_file: str = setting(
        "",
        "A Prometheus configuration whose `scrape_configs` are scraped (`docs/scraping.md`); empty scrapes nothing.",
    )
    max_body_bytes: int = setting(
        256 << 20,
        "Largest exposition once decompressed, where `body_size_limit` of the job does not say less.",
        low=1024,
        unit="bytes",
    )
    max_queue_bytes: int = setting(
        128 << 20,
        "What may wait for the gateway; beyond it the oldest is dropped and counted.",
        low=1 << 20,
        unit="bytes",
    )


@dataclass(frozen=True, slots=True)
class OtlpSettings:
    translation_strategy: str = setting(
        "UnderscoreEscapingWithSuffixes",
        "How names of OTLP metrics and attributes become those of Prometheus series, as Prometheus calls it.",
        choices=(
            "UnderscoreEscapingWithSuffixes",
            "UnderscoreEscapingWithoutSuffixes",
            "NoUTF8EscapingWithSuffixes",
            "NoTranslation",
        ),
    )
    promote_resource_attributes: str = setting(
        "",
        "Resource attributes that become labels of every series, joined by commas; all others stand on `target_info`.",
    )
    keep_identifying_attributes: bool = setting(
        False, "Keep service.name, service.namespace and service.instance.id on `target_info` too."
    )
    promote_scope_metadata: bool = setting(
        False, "Make name, version and attributes of the scope labels (`otel_scope_...`) of every series."
    )


@dataclass(frozen=True, slots=True)
class RuleSettings:
    files: str = setting(
        "", "Prometheus rule files, paths or patterns joined by commas; without any no ruler runs."
    )
    interval_s: float = setting(
        60.0, "How often a group without its own interval is evaluated.", low=0.1, unit="seconds"
    )
    query_offset_s: float = setting(
        0.0, "How far back a group without its own offset looks at the data.", low=0.0, unit="seconds"
    )
    clock: str = setting(
        "wall",
        "`wall`: at the wall clock's time. `event`: at the time of the tenant's data, for replays.",
        choices=("wall", "event"),
    )
    tenant: str = setting("default", "The tenant whose metrics the rules read and write.")


def _sections() -> dict[str, type]:
    return {f.name: get_type_hints(Settings)[f.name] for f in dataclasses.fields(Settings)}


@dataclass(frozen=True, slots=True)
class Settings:
    general: GeneralSettings = field(default_factory=GeneralSettings)
    gateway: GatewaySettings = field(default_factory=GatewaySettings)
    streams: StreamSettings = field(default_factory=StreamSettings)
    detection: DetectionSettings = field(default_factory=DetectionSettings)
    incidents: IncidentSettings = field(default_factory=IncidentSettings)
    rootcause: RootCauseSettings = field(default_factory=RootCauseSettings)
    ray: RaySettings = field(default_factory=RaySettings)
    database: DatabaseSettings = field(default_factory=DatabaseSettings)
    aggregator: AggregatorSettings = field(default_factory=AggregatorSettings)
    otlp: OtlpSettings = field(default_factory=OtlpSettings)
    rules: RuleSettings = field(default_factory=RuleSettings)
    scrape: ScrapeSettings = field(default_factory=ScrapeSettings)

    @property
    def data_dir(self) -> Path:
        return Path(self.general.data_dir).expanduser()


def load(path: Path | None = None, environ: Mapping[str, str] = os.environ) -> Settings:
    """The settings of a TOML file and an environment.

    Raises ``SettingsError`` naming the key, what was got and what would be right."""
    values = _read_file(path) if path else {}
    for section, key, text in _read_environment(environ):
        values.setdefault(section, {})[key] = text
    sections = {name: _section(name, cls, values.pop(name, {})) for name, cls in _sections().items()}
    if values:
        raise SettingsError(next(iter(values)), "a section", f"one of {', '.join(_sections())}")
    settings = Settings(**sections)
    _check_exposure(settings)
    return settings


def documented() -> Iterator[tuple[str, str, Any, Meta]]:
    """``(section, key, default, meta)`` of every setting, in order; what the docs are held against."""
    for name, cls in _sections().items():
        for f in dataclasses.fields(cls):
            yield name, f.name, f.default, f.metadata["setting"]


def _read_file(path: Path) -> dict[str, dict[str, Any]]:
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise SettingsError("config", str(path), "a TOML file that exists") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError("config", str(path), f"a valid TOML file ({error})") from None
    for name, section in values.items():
        if not isinstance(section, dict):
            raise SettingsError(
                name, "a value outside of any section", f"a section such as [{next(iter(_sections()))}]"
            )
    return values


def _read_environment(environ: Mapping[str, str]) -> Iterator[tuple[str, str, str]]:
    for name, text in environ.items():
        if name in ENV_ALIASES and text:
            yield *ENV_ALIASES[name], text
    for name, text in environ.items():
        if not name.startswith(ENV_PREFIX) or name in CLIENT_NAMES:
            continue
        section, _, key = name.removeprefix(ENV_PREFIX).lower().partition("_")
        cls = _sections().get(section)
        if cls is None or key not in {f.name for f in dataclasses.fields(cls)}:
            known = [f"{ENV_PREFIX}{one}_{field}".upper() for one, field, _, _ in documented()]
            raise SettingsError(name, UNKNOWN, f"{_like(name, known)}the names that docs/settings.md lists")
        yield section, key, text


def _like(name: str, known: list[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.8)
    return f"{close[0]}, or another of " if close else "one of "


def _section(name: str, cls: type, values: dict[str, Any]) -> Any:
    hints = get_type_hints(cls)
    known = {f.name: f for f in dataclasses.fields(cls)}
    checked = {}
    for key, value in values.items():
        if key not in known:
            raise SettingsError(f"{name}.{key}", UNKNOWN, f"one of {', '.join(known)}")
        checked[key] = _convert(f"{name}.{key}", value, hints[key], known[key].metadata["setting"])
    return cls(**checked)


def _convert(key: str, value: Any, kind: Any, meta: Meta) -> Any:
    """``value`` as the type and in the range that the setting asks for."""
    expected = meta.expected(kind)
    if get_origin(kind) in (Union, types.UnionType):
        if value in (None, "", "none"):
            return None
        kind = next(k for k in get_args(kind) if k is not type(None))
    try:
        converted = _parse(value, kind)
    except OverflowError:
        raise SettingsError(key, value, f"{expected}, and finite") from None
    except (TypeError, ValueError):
        raise SettingsError(key, Secret(str(value)) if kind is Secret else value, expected) from None
    if not meta.allows(converted):
        raise SettingsError(key, value, expected)
    return converted


BOOLEANS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}


def _parse(value: Any, kind: Any) -> Any:
    if kind is bool:
        if str(value).lower() not in BOOLEANS:
            raise ValueError(value)
        return BOOLEANS[str(value).lower()]
    if isinstance(value, bool) or (kind in (str, Secret) and not isinstance(value, str)):
        raise ValueError(value)
    if kind in (int, float) and not math.isfinite(float(value)):
        raise OverflowError(value)
    return kind(value)


LOOPBACK = ("127.0.0.1", "localhost", "::1")


def _check_exposure(settings: Settings) -> None:
    for name, section in (("gateway", settings.gateway), ("aggregator", settings.aggregator)):
        if section.host not in LOOPBACK and not section.auth_token:
            raise SettingsError(
                f"{name}.auth_token",
                "nothing",
                f"a token, because {name}.host is {section.host}, which others can reach",
            )
