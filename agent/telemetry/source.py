"""Who sends telemetry: a source is one resource (service instance, pod, node, model) of one tenant."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

UNKNOWN_SERVICE = "unknown_service"

# In order of preference; the first that a resource carries names the instance.
INSTANCE_ATTRIBUTES = ("k8s.pod.name", "service.instance.id", "container.id", "host.name", "k8s.node.name")


@dataclass(frozen=True, slots=True, order=True)
class Source:
    """A sender of telemetry. Empty strings mean that the resource does not say."""

    tenant: str
    service: str
    namespace: str = ""
    instance: str = ""
    version: str = ""
    node: str = ""

    @staticmethod
    def of(attributes: Mapping[str, str], tenant: str = "default") -> Source:
        """The source that a resource's attributes describe (OpenTelemetry semantic conventions)."""
        instance = next((attributes[name] for name in INSTANCE_ATTRIBUTES if attributes.get(name)), "")
        return Source(
            tenant=tenant,
            service=attributes.get("service.name") or UNKNOWN_SERVICE,
            namespace=attributes.get("service.namespace") or attributes.get("k8s.namespace.name", ""),
            instance=instance,
            version=attributes.get("service.version", ""),
            node=attributes.get("k8s.node.name") or attributes.get("host.name", ""),
        )

    @property
    def placement_key(self) -> str:
        """What decides the owning stream: all instances of a service lie together, so that its RED
        series are made in one place (docs/decisions/0003)."""
        return f"{self.tenant}\x1f{self.namespace}\x1f{self.service}"
