"""What a service of the shop is told by its environment, read once at start.

Everything about telemetry (endpoint, protocol, delays) is OpenTelemetry's own set of variables and is
read by the SDK itself; only what the shop needs besides stands here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

# Where each service is reached, as a service would find its peers in a cluster: by name, by environment.
URL_PREFIX = "SHOP_URL_"
STOCK_VERSIONS = {
    "front": "3.2.0",
    "catalogue": "5.0.3",
    "cart": "2.3.1",
    "checkout": "1.14.2",
    "payment": "4.1.0",
    "recommendation": "0.9.7",
    "assistant": "1.1.0",
    "model": "0.4.2",
}


class BadEnvironment(Exception):
    """A variable is missing or malformed; the message says which, what was got and what is right."""

    def __init__(self, key: str, got: str | None, expected: str) -> None:
        super().__init__(f"environment variable {key}: got {got!r}, expected {expected}")


@dataclass(frozen=True, slots=True)
class ServiceSettings:
    """``urls`` are base URLs by service name; ``database_url`` and ``cache_address`` are empty for
    services that use neither."""

    name: str
    version: str
    port: int
    urls: Mapping[str, str]
    database_url: str = ""
    cache_address: str = ""

    @staticmethod
    def of(name: str, environment: Mapping[str, str]) -> ServiceSettings:
        """Read ``SHOP_PORT``, ``SHOP_VERSION``, ``SHOP_URL_<SERVICE>``, ``SHOP_DATABASE_URL`` and
        ``SHOP_CACHE_ADDRESS`` (host:port)."""
        return ServiceSettings(
            name=name,
            version=environment.get("SHOP_VERSION") or STOCK_VERSIONS[name],
            port=port_of(environment),
            urls=_urls(environment),
            database_url=environment.get("SHOP_DATABASE_URL", ""),
            cache_address=environment.get("SHOP_CACHE_ADDRESS", ""),
        )

    def url(self, service: str) -> str:
        """The base URL of a peer."""
        try:
            return self.urls[service]
        except KeyError:
            raise BadEnvironment(url_variable(service), None, f"the base URL of {service}") from None


def required(environment: Mapping[str, str], key: str, expected: str) -> str:
    """The value of a variable that must be there."""
    value = environment.get(key)
    if not value:
        raise BadEnvironment(key, value, expected)
    return value


def port_of(environment: Mapping[str, str], key: str = "SHOP_PORT") -> int:
    """The port that a variable names."""
    text = environment.get(key)
    if text is None or not text.isdecimal() or not 0 < int(text) < 65536:
        raise BadEnvironment(key, text, "a port from 1 to 65535")
    return int(text)


def number_of(environment: Mapping[str, str], key: str, default: float) -> float:
    """The number above 0 that a variable holds, or the default where it is not set."""
    text = environment.get(key)
    try:
        value = default if text is None else float(text)
    except ValueError:
        value = 0.0
    if not value > 0:
        raise BadEnvironment(key, text, "a number above 0")
    return value


def url_variable(service: str) -> str:
    return URL_PREFIX + service.upper()


def _urls(environment: Mapping[str, str]) -> dict[str, str]:
    urls = {}
    for key, value in environment.items():
        if key.startswith(URL_PREFIX):
            parts = urlsplit(value)
            if parts.scheme != "http" or not parts.hostname or not parts.port:
                raise BadEnvironment(key, value, "http://<name>:<port>")
            urls[key.removeprefix(URL_PREFIX).lower()] = value.rstrip("/")
    return urls
