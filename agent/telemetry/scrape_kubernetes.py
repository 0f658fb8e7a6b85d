"""Kubernetes objects, as the API gives them in JSON, to target groups with Prometheus' meta labels.

One function a role; ``look`` finds the other objects that labels are taken from (the service and the pods
behind endpoints, the node below a pod).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from agent.telemetry.scrape_config import TargetGroup

META = "__meta_kubernetes_"
_NOT_LABEL = re.compile(r"[^a-zA-Z0-9_]")

Object = Mapping[str, Any]
# Finds an object by kind and key (``namespace/name``, or the name where there is no namespace).
Look = Callable[[str, str], Object | None]
Labels = dict[str, str]


def key_of(item: Object) -> str:
    meta = item.get("metadata") or {}
    namespace, name = meta.get("namespace") or "", meta.get("name") or ""
    return f"{namespace}/{name}" if namespace else str(name)


def group_of(role: str, item: Object, look: Look, attach_node: bool) -> TargetGroup:
    """The targets of one object of a role."""
    labels, targets = _ROLES[role](item, look, attach_node)
    return TargetGroup(f"{role}/{key_of(item)}", tuple(targets), labels)


def _object_labels(item: Object, prefix: str) -> Labels:
    """Name, namespace, labels and annotations of an object."""
    meta = item.get("metadata") or {}
    found = {f"{META}{prefix}_name": _text(meta.get("name"))}
    if meta.get("namespace"):
        found[f"{META}namespace"] = meta["namespace"]
    for kind in ("label", "annotation"):
        for name, value in (meta.get(f"{kind}s") or {}).items():
            clean = _NOT_LABEL.sub("_", name)
            found[f"{META}{prefix}_{kind}_{clean}"] = _text(value)
            found[f"{META}{prefix}_{kind}present_{clean}"] = "true"
    return found


def _node_labels(name: str | None, look: Look, attach: bool) -> Labels:
    """Name and labels of the node, where they are asked for."""
    node = look("nodes", name) if attach and name else None
    if node is None:
        return {}
    found = {f"{META}node_name": str(name)}
    for label, value in ((node.get("metadata") or {}).get("labels") or {}).items():
        clean = _NOT_LABEL.sub("_", label)
        found[f"{META}node_label_{clean}"] = _text(value)
        found[f"{META}node_labelpresent_{clean}"] = "true"
    return found


def _pod_labels(pod: Object) -> Labels:
    meta, spec, status = (pod.get(part) or {} for part in ("metadata", "spec", "status"))
    found = _object_labels(pod, "pod")
    ready = [c.get("status") for c in status.get("conditions") or [] if c.get("type") == "Ready"]
    found |= {
        f"{META}pod_ip": _text(status.get("podIP")),
        f"{META}pod_ready": _text(ready[0]).lower() if ready else "unknown",
        f"{META}pod_phase": _text(status.get("phase")),
        f"{META}pod_node_name": _text(spec.get("nodeName")),
        f"{META}pod_host_ip": _text(status.get("hostIP")),
        f"{META}pod_uid": _text(meta.get("uid")),
    }
    for owner in meta.get("ownerReferences") or []:
        if owner.get("controller"):
            found[f"{META}pod_controller_kind"] = _text(owner.get("kind"))
            found[f"{META}pod_controller_name"] = _text(owner.get("name"))
            break
    return found


def _containers(pod: Object) -> Iterator[tuple[Object, bool]]:
    """Every container and whether it is one that runs before the others."""
    spec = pod.get("spec") or {}
    for container in spec.get("containers") or []:
        yield container, False
    for container in spec.get("initContainers") or []:
        yield container, True


def _container_labels(container: Object, port: Object | None) -> Labels:
    found = {
        f"{META}pod_container_name": _text(container.get("name")),
        f"{META}pod_container_image": _text(container.get("image")),
    }
    if port is not None:
        found |= {
            f"{META}pod_container_port_name": _text(port.get("name")),
            f"{META}pod_container_port_number": _text(port.get("containerPort")),
            f"{META}pod_container_port_protocol": _text(port.get("protocol") or "TCP"),
        }
    return found


def _pod(pod: Object, look: Look, attach_node: bool) -> tuple[Labels, list[Labels]]:
    status = pod.get("status") or {}
    address = status.get("podIP")
    if not address:  # it is only starting, or was evicted
        return {}, []
    ids = {
        one.get("name"): _text(one.get("containerID"))
        for kind in ("containerStatuses", "initContainerStatuses")
        for one in status.get(kind) or []
    }
    labels = _pod_labels(pod) | _node_labels((pod.get("spec") or {}).get("nodeName"), look, attach_node)
    targets = []
    for container, first in _containers(pod):
        own = {f"{META}pod_container_init": _flag(first)}
        own[f"{META}pod_container_id"] = ids.get(container.get("name"), "")
        for port in container.get("ports") or [None]:
            where = _joined(address, port["containerPort"]) if port else _bracketed(address)
            targets.append({"__address__": where, **_container_labels(container, port), **own})
    return labels, targets


def _service_labels(service: Object) -> Labels:
    return _object_labels(service, "service")


def _service(service: Object, look: Look, attach_node: bool) -> tuple[Labels, list[Labels]]:
    meta, spec = service.get("metadata") or {}, service.get("spec") or {}
    kind = _text(spec.get("type") or "ClusterIP")
    own = {f"{META}service_type": kind}
    if kind == "ExternalName":
        own[f"{META}service_external_name"] = _text(spec.get("externalName"))
    else:
        own[f"{META}service_cluster_ip"] = _text(spec.get("clusterIP"))
    if kind == "LoadBalancer":
        own[f"{META}service_loadbalancer_ip"] = _text(spec.get("loadBalancerIP"))
    host = f"{meta.get('name')}.{meta.get('namespace')}.svc"
    targets = [
        {
            "__address__": f"{host}:{port.get('port')}",
            f"{META}service_port_name": _text(port.get("name")),
            f"{META}service_port_number": _text(port.get("port")),
            f"{META}service_port_protocol": _text(port.get("protocol") or "TCP"),
            **own,
        }
        for port in spec.get("ports") or []
    ]
    return _service_labels(service), targets


class _Backends:
    """Targets of endpoints and the pods behind them; ``rest`` are container ports that no endpoint names."""

    def __init__(self, look: Look, namespace: str) -> None:
        self._look, self._namespace = look, namespace
        self._pods: dict[str, tuple[Object, set[int]]] = {}

    def labels(self, reference: Object | None, port: int | None) -> Labels:
        """Those of the pod that an endpoint refers to, and of its container with the port."""
        if not reference or reference.get("kind") != "Pod":
            return {}
        key = f"{reference.get('namespace') or self._namespace}/{reference.get('name')}"
        pod = self._look("pods", key)
        if pod is None:
            return {}
        _, ports = self._pods.setdefault(key, (pod, set()))
        found = _pod_labels(pod)
        if port is None:
            return found
        ports.add(port)
        for container, first in _containers(pod):
            for own in container.get("ports") or []:
                if own.get("containerPort") == port:
                    init = {f"{META}pod_container_init": _flag(first)}
                    return found | _container_labels(container, own) | init
        return found

    def rest(self) -> Iterator[Labels]:
        for pod, ports in self._pods.values():
            address = (pod.get("status") or {}).get("podIP")
            for container, first in _containers(pod) if address else ():
                for port in container.get("ports") or []:
                    if port.get("containerPort") not in ports:
                        yield {
                            "__address__": _joined(str(address), port["containerPort"]),
                            **_container_labels(container, port),
                            f"{META}pod_container_init": _flag(first),
                            **_pod_labels(pod),
                        }


def _endpoints(item: Object, look: Look, attach_node: bool) -> tuple[Labels, list[Labels]]:
    namespace = (item.get("metadata") or {}).get("namespace") or ""
    service = look("services", key_of(item))
    labels = _object_labels(item, "endpoints") | (_service_labels(service) if service else {})
    backends = _Backends(look, namespace)
    targets: list[Labels] = []
    for subset in item.get("subsets") or []:
        for port in subset.get("ports") or []:
            for part, ready in (("addresses", True), ("notReadyAddresses", False)):
                targets += [
                    _endpoint(address, port, ready)
                    | _node_labels(address.get("nodeName"), look, attach_node)
                    | backends.labels(address.get("targetRef"), port.get("port"))
                    for address in subset.get(part) or []
                ]
    return labels, [*targets, *backends.rest()]


def _endpoint(address: Object, port: Object, ready: bool) -> Labels:
    return {
        "__address__": _joined(address["ip"], port["port"]),
        f"{META}endpoint_port_name": _text(port.get("name")),
        f"{META}endpoint_port_protocol": _text(port.get("protocol") or "TCP"),
        f"{META}endpoint_ready": _flag(ready),
        f"{META}endpoint_node_name": _text(address.get("nodeName")),
        f"{META}endpoint_hostname": _text(address.get("hostname")),
        **_reference(address.get("targetRef"), "endpoint_address"),
    }


def _endpoint_slice(item: Object, look: Look, attach_node: bool) -> tuple[Labels, list[Labels]]:
    meta = item.get("metadata") or {}
    namespace = meta.get("namespace") or ""
    labels = _object_labels(item, "endpointslice")
    labels[f"{META}endpointslice_address_type"] = _text(item.get("addressType"))
    owner = (meta.get("labels") or {}).get("kubernetes.io/service-name")
    service = look("services", f"{namespace}/{owner}") if owner else None
    backends = _Backends(look, namespace)
    targets: list[Labels] = []
    for endpoint in item.get("endpoints") or []:
        reference = endpoint.get("targetRef")
        is_node = (reference or {}).get("kind") == "Node"
        node = _node_labels(reference["name"] if is_node else endpoint.get("nodeName"), look, attach_node)
        own = _slice_endpoint(endpoint)
        for port in item.get("ports") or []:
            number = port.get("port")
            for address in endpoint.get("addresses") or []:
                where = _bracketed(address) if number is None else _joined(address, number)
                found = {"__address__": where, **_slice_port(port), **own, **node}
                targets.append(found | backends.labels(reference, number))
    return labels | (_service_labels(service) if service else {}), [*targets, *backends.rest()]


def _slice_endpoint(endpoint: Object) -> Labels:
    prefix = f"{META}endpointslice_"
    found = {
        f"{prefix}endpoint_hostname": _text(endpoint.get("hostname")),
        f"{prefix}endpoint_node_name": _text(endpoint.get("nodeName")),
        f"{prefix}endpoint_zone": _text(endpoint.get("zone")),
        **_reference(endpoint.get("targetRef"), "endpointslice_address"),
    }
    for name in ("ready", "serving", "terminating"):
        value = (endpoint.get("conditions") or {}).get(name)
        if value is not None:
            found[f"{prefix}endpoint_conditions_{name}"] = _flag(value)
    for name, value in (endpoint.get("deprecatedTopology") or {}).items():
        clean = _NOT_LABEL.sub("_", name)
        found[f"{prefix}endpoint_topology_{clean}"] = _text(value)
        found[f"{prefix}endpoint_topology_present_{clean}"] = "true"
    return found


def _slice_port(port: Object) -> Labels:
    return {
        f"{META}endpointslice_port": _text(port.get("port")),
        f"{META}endpointslice_port_name": _text(port.get("name")),
        f"{META}endpointslice_port_protocol": _text(port.get("protocol") or "TCP"),
        f"{META}endpointslice_port_app_protocol": _text(port.get("appProtocol")),
    }


def _reference(reference: Object | None, prefix: str) -> Labels:
    if not reference:
        return {}
    return {
        f"{META}{prefix}_target_kind": _text(reference.get("kind")),
        f"{META}{prefix}_target_name": _text(reference.get("name")),
    }


def _node(node: Object, look: Look, attach_node: bool) -> tuple[Labels, list[Labels]]:
    meta, spec, status = (node.get(part) or {} for part in ("metadata", "spec", "status"))
    labels = _object_labels(node, "node") | {f"{META}node_provider_id": _text(spec.get("providerID"))}
    addresses: dict[str, str] = {}
    for one in status.get("addresses") or []:
        addresses.setdefault(one.get("type", ""), _text(one.get("address")))
    best = [
        addresses[kind]
        for kind in ("InternalIP", "ExternalIP", "LegacyHostIP", "Hostname")
        if kind in addresses
    ]
    if not best:
        return labels, []
    port = ((status.get("daemonEndpoints") or {}).get("kubeletEndpoint") or {}).get("Port", 0)
    own = {f"{META}node_address_{_NOT_LABEL.sub('_', kind)}": value for kind, value in addresses.items()}
    return labels, [{"__address__": _joined(best[0], port), "instance": _text(meta.get("name")), **own}]


def _ingress(item: Object, look: Look, attach_node: bool) -> tuple[Labels, list[Labels]]:
    spec = item.get("spec") or {}
    labels = _object_labels(item, "ingress")
    labels[f"{META}ingress_class_name"] = _text(spec.get("ingressClassName"))
    secured = [host for tls in spec.get("tls") or [] for host in tls.get("hosts") or []]
    targets = []
    for rule in spec.get("rules") or []:
        host = _text(rule.get("host"))
        scheme = "https" if any(_fits(pattern, host) for pattern in secured) else "http"
        paths = [path.get("path") or "/" for path in (rule.get("http") or {}).get("paths") or []]
        targets += [
            {
                "__address__": host,
                f"{META}ingress_scheme": scheme,
                f"{META}ingress_host": host,
                f"{META}ingress_path": path,
            }
            for path in paths or ["/"]
        ]
    return labels, targets


def _fits(pattern: str, host: str) -> bool:
    """A leading ``*`` stands for exactly one part of the name."""
    if pattern == host:
        return True
    wanted, parts = pattern.split("."), host.split(".")
    return wanted[0] == "*" and wanted[1:] == parts[1:] and len(wanted) == len(parts)


def _text(value: Any) -> str:
    return "" if value is None else str(value)


def _flag(value: Any) -> str:
    return "true" if value else "false"


def _bracketed(address: str) -> str:
    return f"[{address}]" if ":" in address else address


def _joined(address: str, port: Any) -> str:
    return f"{_bracketed(address)}:{port}"


_ROLES: dict[str, Callable[[Object, Look, bool], tuple[Labels, list[Labels]]]] = {
    "pod": _pod,
    "service": _service,
    "endpoints": _endpoints,
    "endpointslice": _endpoint_slice,
    "node": _node,
    "ingress": _ingress,
}
