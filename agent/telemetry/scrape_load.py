"""From the text of a Prometheus configuration to ``ScrapeConfig``.

Every key that Prometheus has and that is not done here is refused by name rather than passed over, but
whole sections that are about other things (alerting, rules, remote write) are named in ``ignored``, so that
an existing ``prometheus.yml`` can be used as it is.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from agent.telemetry.relabel import LABEL_NAME, Action, Rule
from agent.telemetry.scrape_config import (
    DEFAULT_PROTOCOLS,
    FileDiscovery,
    JobConfig,
    KubernetesDiscovery,
    Limits,
    Protocol,
    ScrapeConfig,
    Selector,
    TargetGroup,
)
from agent.telemetry.scrape_load_http import Reader, http_keys, http_of, url_of
from agent.telemetry.scrape_yaml import ConfigError, Value, document, format_duration, mapping

IGNORED = (
    "rule_files", "alerting", "remote_write", "remote_read", "storage", "tracing", "otlp", "runtime",
)  # fmt: skip
IGNORED_GLOBALS = ("evaluation_interval", "rule_query_offset", "query_log_file", "scrape_failure_log_file")
SECRET = "<secret>"  # noqa: S105 - what stands in its place
SECRET_KEYS = ("password", "credentials", "bearer_token", "client_secret", "secret_key", "key", "headers")
ROLES = ("pod", "service", "endpoints", "endpointslice", "node", "ingress")
FILE_NAME = re.compile(r"[^*]*(?:\*[^/]*)?\.(?:json|yml|yaml|JSON|YML|YAML)")


def load_scrape_config(text: str, folder: Path) -> ScrapeConfig:
    """The configuration of a file that lies in ``folder``, to which relative names in it belong. Raises
    ``ConfigError`` naming the key, its line, what was got and what would be right."""
    root = document(text)
    ignored = {key for key, _ in root.pairs() if key in IGNORED}
    shared: dict[str, Any] = {}
    known: dict[str, Reader] = {key: lambda value: None for key in IGNORED}
    known |= {"global": lambda value: shared.update(_globals(value)), "scrape_configs": lambda value: value}
    found = mapping(root, known)
    jobs = []
    for item in found["scrape_configs"].items() if "scrape_configs" in found else []:
        jobs.append(_job(item, shared, folder))
        if [job.name for job in jobs].count(jobs[-1].name) > 1:
            raise ConfigError(
                f"{item.path}.job_name", jobs[-1].name, "a name that no other job has", item.line
            )
    return ScrapeConfig(tuple(jobs), shared.get("external_labels", {}), tuple(sorted(ignored)))


LIMITS: dict[str, str] = {
    "sample_limit": "samples",
    "label_limit": "labels",
    "label_name_length_limit": "label_name_length",
    "label_value_length_limit": "label_value_length",
    "target_limit": "targets",
    "keep_dropped_targets": "keep_dropped_targets",
}


def _shared_keys() -> dict[str, Reader]:
    """What a job may have and ``global`` too, as its default."""
    known: dict[str, Reader] = dict.fromkeys(LIMITS, Value.whole)
    return known | {
        "scrape_interval": _positive_duration,
        "scrape_timeout": _positive_duration,
        "scrape_protocols": _protocols,
        "body_size_limit": Value.size_bytes,
        "scrape_native_histograms": Value.flag,
        "always_scrape_classic_histograms": Value.flag,
    }


def _globals(value: Value) -> dict[str, Any]:
    known = _shared_keys() | {"external_labels": _labels}
    known |= {key: lambda found: None for key in IGNORED_GLOBALS}
    found = mapping(value, known)
    return {**found, "_given": set(found)}


def _job_keys(folder: Path) -> dict[str, Reader]:
    def path(found: Value) -> str:
        return _path(found, folder)

    return _shared_keys() | {
        "job_name": Value.text,
        "metrics_path": Value.text,
        "scheme": lambda found: found.choice(_one_of("http", "https"), ["http", "https"]),
        "params": lambda found: {key: item.texts() for key, item in found.pairs()},
        "honor_labels": Value.flag,
        "honor_timestamps": Value.flag,
        "track_timestamps_staleness": Value.flag,
        "fallback_scrape_protocol": _protocol,
        "enable_compression": Value.flag,
        "static_configs": _static,
        "file_sd_configs": lambda found: tuple(_file_discovery(item, path) for item in found.items()),
        "kubernetes_sd_configs": lambda found: tuple(_kubernetes(item, path) for item in found.items()),
        "relabel_configs": _rules,
        "metric_relabel_configs": _rules,
        **http_keys(path),
    }


def _job(value: Value, shared: Mapping[str, Any], folder: Path) -> JobConfig:
    found = mapping(value, _job_keys(folder))
    if not found.get("job_name"):
        raise ConfigError(f"{value.path}.job_name", "nothing", "a name for the job", value.line)
    merged = {
        **{key: item for key, item in shared.items() if key not in ("external_labels", "_given")},
        **found,
    }
    interval_s, timeout_s = _times(value, found, shared)
    protocols, fallback = _wanted_protocols(merged), found.get("fallback_scrape_protocol")
    names = (
        "metrics_path",
        "scheme",
        "params",
        "honor_labels",
        "honor_timestamps",
        "track_timestamps_staleness",
    )
    return JobConfig(
        name=found["job_name"],
        interval_s=interval_s,
        timeout_s=timeout_s,
        protocols=protocols,
        fallback_protocol=fallback,
        classic_histograms=merged.get("always_scrape_classic_histograms", False),
        compression=found.get("enable_compression", True),
        limits=Limits(
            body_bytes=merged.get("body_size_limit", 0),
            **{name: merged.get(key, 0) for key, name in LIMITS.items()},
        ),
        http=http_of(value, found),
        static=found.get("static_configs", ()),
        files=found.get("file_sd_configs", ()),
        kubernetes=found.get("kubernetes_sd_configs", ()),
        relabel=found.get("relabel_configs", ()),
        metric_relabel=found.get("metric_relabel_configs", ()),
        **{name: found[name] for name in names if name in found},
    )


def _times(value: Value, found: Mapping[str, Any], shared: Mapping[str, Any]) -> tuple[float, float]:
    """Interval and time-out; a time-out that is not given is never longer than the interval."""
    interval_s = found.get("scrape_interval", shared.get("scrape_interval", 60.0))
    given = found.get("scrape_timeout")
    if given is not None and given > interval_s:
        raise ConfigError(
            f"{value.path}.scrape_timeout",
            format_duration(given),
            f"at most the scrape interval, {format_duration(interval_s)}",
            value.line,
        )
    return interval_s, given if given is not None else min(interval_s, shared.get("scrape_timeout", 10.0))


def _wanted_protocols(merged: Mapping[str, Any]) -> tuple[Protocol, ...]:
    if "scrape_protocols" in merged:
        protocols: tuple[Protocol, ...] = merged["scrape_protocols"]
        return protocols
    return (
        (Protocol.PROTOBUF, *DEFAULT_PROTOCOLS)
        if merged.get("scrape_native_histograms")
        else DEFAULT_PROTOCOLS
    )


def _positive_duration(value: Value) -> float:
    seconds = value.duration_s()
    if seconds <= 0:
        raise value.wrong("a duration above 0")
    return seconds


def _one_of(*names: str) -> Callable[[str], str]:
    def check(text: str) -> str:
        if text not in names:
            raise ValueError(text)
        return text

    return check


def _protocol(value: Value) -> Protocol:
    try:
        return Protocol(value.text())
    except ValueError:
        raise value.wrong("one of " + ", ".join(Protocol)) from None


def _protocols(value: Value) -> tuple[Protocol, ...]:
    found = tuple(_protocol(item) for item in value.items())
    if not found or len(set(found)) != len(found):
        raise value.wrong("a list of different protocols")
    return found


def _labels(value: Value) -> dict[str, str]:
    labels = {}
    for name, found in value.pairs():
        if not LABEL_NAME.fullmatch(name):
            raise found.wrong("a label name of letters, digits and _", name)
        labels[name] = found.text()
    return labels


def _static(value: Value) -> tuple[TargetGroup, ...]:
    return tuple(static_group(item, str(i)) for i, item in enumerate(value.items()))


def static_group(value: Value, source: str) -> TargetGroup:
    """One entry of ``static_configs`` or of a file of targets."""
    found = mapping(value, {"targets": _addresses, "labels": _labels})
    return TargetGroup(
        source,
        tuple({"__address__": address} for address in found.get("targets", ())),
        found.get("labels", {}),
    )


def _addresses(value: Value) -> tuple[str, ...]:
    for item in value.items():
        if "/" in item.text():
            raise item.wrong("an address as host:port; scheme and metrics_path have keys of their own")
    return value.texts()


def _path(value: Value, folder: Path) -> str:
    return str(folder / value.text()) if value.text() else ""


def _file_discovery(value: Value, path: Callable[[Value], str]) -> FileDiscovery:
    def names(found: Value) -> tuple[str, ...]:
        for item in found.items():
            if not FILE_NAME.fullmatch(item.text()):
                raise item.wrong("a name that ends in .json, .yml or .yaml, with * in its last part only")
        return tuple(path(item) for item in found.items())

    found = mapping(value, {"files": names, "refresh_interval": _positive_duration})
    if not found.get("files"):
        raise ConfigError(f"{value.path}.files", "nothing", "at least one file", value.line)
    return FileDiscovery(found["files"], found.get("refresh_interval", 300.0))


def _kubernetes(value: Value, path: Callable[[Value], str]) -> KubernetesDiscovery:
    namespaces: dict[str, Reader] = {"names": Value.texts, "own_namespace": Value.flag}
    known: dict[str, Reader] = {
        "role": lambda found: found.choice(_one_of(*ROLES), list(ROLES)),
        "api_server": url_of,
        "kubeconfig_file": path,
        "namespaces": lambda found: mapping(found, namespaces),
        "selectors": lambda found: tuple(_selector(item) for item in found.items()),
        "attach_metadata": lambda found: mapping(found, {"node": Value.flag}),
        **http_keys(path),
    }
    found = mapping(value, known)
    if "role" not in found:
        raise ConfigError(f"{value.path}.role", "nothing", "one of " + ", ".join(ROLES), value.line)
    if found.get("api_server") and found.get("kubeconfig_file"):
        raise ConfigError(f"{value.path}.api_server", "kubeconfig_file too", "one of the two", value.line)
    spaces = found.get("namespaces", {})
    return KubernetesDiscovery(
        role=found["role"],
        api_server=found.get("api_server", ""),
        kubeconfig=found.get("kubeconfig_file", ""),
        namespaces=spaces.get("names", ()),
        own_namespace=spaces.get("own_namespace", False),
        selectors=found.get("selectors", ()),
        attach_node=found.get("attach_metadata", {}).get("node", False),
        http=http_of(value, found),
    )


def _selector(value: Value) -> Selector:
    known: dict[str, Reader] = {
        "role": lambda found: found.choice(_one_of(*ROLES), list(ROLES)),
        "label": Value.text,
        "field": Value.text,
    }
    found = mapping(value, known)
    if "role" not in found:
        raise ConfigError(f"{value.path}.role", "nothing", "one of " + ", ".join(ROLES), value.line)
    return Selector(found["role"], found.get("label", ""), found.get("field", ""))


def _rules(value: Value) -> tuple[Rule, ...]:
    return tuple(_rule(item) for item in value.items())


def _rule(value: Value) -> Rule:
    known: dict[str, Reader] = {
        "action": lambda found: found.choice(Action, list(Action)),
        "source_labels": Value.texts,
        "separator": Value.text,
        "regex": Value.text,
        "target_label": Value.text,
        "replacement": Value.text,
        "modulus": Value.whole,
    }
    found = mapping(value, known)
    try:
        return Rule(**found)
    except ValueError as error:
        raise ConfigError(value.path, "a rule that is not valid", str(error), value.line) from None


def shown_config(text: str) -> str:
    """The configuration as YAML with every secret taken out, for a page that anyone may read."""
    return yaml.safe_dump(_masked(yaml.safe_load(text)), sort_keys=False, allow_unicode=True)


def _masked(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: SECRET if key in SECRET_KEYS else _masked(item) for key, item in value.items()}
    return [_masked(item) for item in value] if isinstance(value, list) else value


def with_interval(job: JobConfig, interval_s: float) -> JobConfig:
    """The job with another interval; its time-out stays, or becomes the interval where that is shorter."""
    return replace(job, interval_s=interval_s, timeout_s=min(job.timeout_s, interval_s))
