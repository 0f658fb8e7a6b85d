"""How a client of HTTP shows who it is and whom it trusts, as a Prometheus configuration says it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

from agent.secret import Secret
from agent.telemetry.scrape_config import Credentials, HttpConfig, TlsConfig
from agent.telemetry.scrape_yaml import ConfigError, Value, mapping

Reader = Callable[[Value], Any]


def url_of(value: Value) -> str:
    parts = urlsplit(value.text())
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise value.wrong("a URL that begins with http:// or https://")
    return value.text().rstrip("/")


def http_keys(path: Callable[[Value], str]) -> dict[str, Reader]:
    tls: dict[str, Reader] = {
        "ca_file": path,
        "cert_file": path,
        "key_file": path,
        "server_name": Value.text,
        "insecure_skip_verify": Value.flag,
    }
    return {
        "basic_auth": lambda found: _basic(found, path),
        "authorization": lambda found: _authorization(found, path),
        "bearer_token": lambda found: Credentials("Bearer", secret=Secret(found.text())),
        "bearer_token_file": lambda found: Credentials("Bearer", secret_file=path(found)),
        "tls_config": lambda found: TlsConfig(**mapping(found, tls)),
        "follow_redirects": Value.flag,
    }


def http_of(value: Value, found: Mapping[str, Any]) -> HttpConfig:
    ways = ("basic_auth", "authorization", "bearer_token", "bearer_token_file")
    given = [key for key in ways if key in found]
    if len(given) > 1:
        raise ConfigError(
            f"{value.path}.{given[1]}", f"{given[0]} too", "one way to authenticate", value.line
        )
    return HttpConfig(
        found[given[0]] if given else None,
        found.get("tls_config", TlsConfig()),
        found.get("follow_redirects", True),
    )


def _secret(value: Value) -> Secret:
    return Secret(value.text())


def _basic(value: Value, path: Callable[[Value], str]) -> Credentials:
    found = mapping(value, {"username": Value.text, "password": _secret, "password_file": path})
    if "password" in found and "password_file" in found:
        raise ConfigError(f"{value.path}.password", "password_file too", "one of the two", value.line)
    return Credentials(
        "Basic", found.get("username", ""), found.get("password", Secret("")), found.get("password_file", "")
    )


def _authorization(value: Value, path: Callable[[Value], str]) -> Credentials:
    found = mapping(value, {"type": Value.text, "credentials": _secret, "credentials_file": path})
    if "credentials" in found and "credentials_file" in found:
        raise ConfigError(f"{value.path}.credentials", "credentials_file too", "one of the two", value.line)
    if found.get("type", "").lower() == "basic":
        raise ConfigError(f"{value.path}.type", "Basic", "basic_auth for that", value.line)
    return Credentials(
        found.get("type", "") or "Bearer",
        secret=found.get("credentials", Secret("")),
        secret_file=found.get("credentials_file", ""),
    )
