"""Objects of Kubernetes to targets, and which change touches which group."""

from __future__ import annotations

from typing import Any

import pytest

from agent.telemetry.scrape_board import Board, kinds_of
from agent.telemetry.scrape_config import TargetGroup
from agent.telemetry.scrape_kubernetes import META


def meta(name: str, namespace: str = "shop", **more: Any) -> dict[str, Any]:
    return {"name": name, **({"namespace": namespace} if namespace else {}), **more}


def pod(name: str = "p", ip: str = "10.0.0.1", **more: Any) -> dict[str, Any]:
    own = {"controller": True, "kind": "ReplicaSet", "name": "r"}
    return {
        "metadata": meta(name, labels={"app.io/name": "cart"}, annotations={"x": "y"}, uid="u", ownerReferences=[own]),
        "spec": {
            "nodeName": "n1",
            "containers": [
                {"name": "c", "image": "i:1", "ports": [{"name": "http", "containerPort": 80, "protocol": "TCP"}, {"containerPort": 90}]},
                {"name": "side", "image": "s:1"},
            ],
        },
        "status": {
            "podIP": ip, "hostIP": "192.168.0.1", "phase": "Running",
            "conditions": [{"type": "Ready", "status": "True"}],
            "containerStatuses": [{"name": "c", "containerID": "docker://1"}],
        },
        **more,
    }  # fmt: skip


SERVICE = {
    "metadata": meta("web", labels={"tier": "front"}),
    "spec": {"type": "ClusterIP", "clusterIP": "10.1.1.1", "ports": [{"name": "http", "port": 80}]},
}
NODE = {
    "metadata": meta("n1", "", labels={"zone": "a"}),
    "spec": {"providerID": "cloud://1"},
    "status": {
        "addresses": [{"type": "Hostname", "address": "n1.local"}, {"type": "InternalIP", "address": "192.168.0.1"}],
        "daemonEndpoints": {"kubeletEndpoint": {"Port": 10250}},
    },
}  # fmt: skip
REFERENCE = {"kind": "Pod", "name": "p", "namespace": "shop"}
ENDPOINTS = {
    "metadata": meta("web"),
    "subsets": [
        {
            "addresses": [{"ip": "10.0.0.1", "nodeName": "n1", "targetRef": REFERENCE}],
            "notReadyAddresses": [{"ip": "10.0.0.9", "hostname": "h"}],
            "ports": [{"name": "http", "port": 80, "protocol": "TCP"}],
        }
    ],
}
SLICE = {
    "metadata": meta("web-1", labels={"kubernetes.io/service-name": "web"}),
    "addressType": "IPv4",
    "endpoints": [
        {
            "addresses": ["10.0.0.1"], "conditions": {"ready": True, "terminating": False}, "nodeName": "n1",
            "zone": "a", "targetRef": REFERENCE,
        },
        {"addresses": ["fd00::1"]},
    ],
    "ports": [{"name": "http", "port": 80, "protocol": "TCP", "appProtocol": "h2c"}],
}  # fmt: skip
INGRESS = {
    "metadata": meta("in"),
    "spec": {
        "ingressClassName": "nginx",
        "tls": [{"hosts": ["*.example.com"]}],
        "rules": [
            {"host": "a.example.com", "http": {"paths": [{"path": "/x"}, {}]}},
            {"host": "a.b.example.com"},
        ],
    },
}


def board(role: str, attach_node: bool = False, **kinds: list[Any]) -> Board:
    made = Board(role, attach_node)
    for kind in kinds_of(role, attach_node):
        made.replace(kind, "", kinds.get(kind, []))
    return made


def only(made: Board) -> TargetGroup:
    (group,) = made.changed()
    return group


def merged(group: TargetGroup) -> list[dict[str, str]]:
    """The labels of each target, without the prefix of Kubernetes."""
    return [
        {name.removeprefix(META): value for name, value in {**group.labels, **target}.items()}
        for target in group.targets
    ]


def test_pods() -> None:
    group = only(board("pod", attach_node=True, pods=[pod()], nodes=[NODE]))
    first, second, third = merged(group)
    assert group.source == "pod/shop/p"
    assert [one["__address__"] for one in (first, second, third)] == [
        "10.0.0.1:80",
        "10.0.0.1:90",
        "10.0.0.1",
    ]
    expected = {
        "namespace": "shop", "pod_name": "p", "pod_ip": "10.0.0.1", "pod_ready": "true", "pod_phase": "Running",
        "pod_label_app_io_name": "cart", "pod_labelpresent_app_io_name": "true", "pod_annotation_x": "y",
        "pod_node_name": "n1", "pod_host_ip": "192.168.0.1", "pod_uid": "u", "pod_controller_kind": "ReplicaSet",
        "pod_controller_name": "r", "pod_container_name": "c", "pod_container_image": "i:1",
        "pod_container_id": "docker://1", "pod_container_init": "false", "pod_container_port_name": "http",
        "pod_container_port_number": "80", "pod_container_port_protocol": "TCP", "node_name": "n1",
        "node_label_zone": "a",
    }  # fmt: skip
    assert expected.items() <= first.items()


def test_a_pod_without_an_address_has_no_targets() -> None:
    assert board("pod", pods=[pod(ip="")]).changed() == []


def test_services() -> None:
    (target,) = merged(only(board("service", services=[SERVICE])))
    expected = {
        "__address__": "web.shop.svc:80", "service_name": "web", "service_type": "ClusterIP",
        "service_cluster_ip": "10.1.1.1", "service_port_name": "http", "service_port_number": "80",
        "service_port_protocol": "TCP", "service_label_tier": "front", "namespace": "shop",
    }  # fmt: skip
    assert expected.items() <= target.items()


def test_endpoints_know_their_service_and_pods() -> None:
    made = board("endpoints", endpoints=[ENDPOINTS], services=[SERVICE], pods=[pod()])
    ready, waiting, other = merged(only(made))
    expected = {
        "__address__": "10.0.0.1:80", "endpoints_name": "web", "endpoint_ready": "true",
        "endpoint_port_name": "http", "endpoint_node_name": "n1", "endpoint_address_target_kind": "Pod",
        "endpoint_address_target_name": "p", "service_label_tier": "front", "pod_container_name": "c",
        "pod_container_port_number": "80", "pod_name": "p",
    }  # fmt: skip
    assert expected.items() <= ready.items()
    assert (waiting["__address__"], waiting["endpoint_ready"], waiting["endpoint_hostname"]) == (
        "10.0.0.9:80",
        "false",
        "h",
    )
    assert (other["__address__"], other["pod_container_port_number"]) == ("10.0.0.1:90", "90")


def test_endpoint_slices() -> None:
    made = board("endpointslice", endpointslices=[SLICE], services=[SERVICE], pods=[pod()])
    first, second, other = merged(only(made))
    expected = {
        "__address__": "10.0.0.1:80", "endpointslice_name": "web-1", "endpointslice_address_type": "IPv4",
        "endpointslice_port": "80", "endpointslice_port_app_protocol": "h2c",
        "endpointslice_endpoint_conditions_ready": "true",
        "endpointslice_endpoint_conditions_terminating": "false", "endpointslice_endpoint_zone": "a",
        "endpointslice_address_target_name": "p", "service_name": "web", "pod_name": "p",
    }  # fmt: skip
    assert expected.items() <= first.items()
    assert second["__address__"] == "[fd00::1]:80"
    assert other["__address__"] == "10.0.0.1:90"


def test_nodes() -> None:
    (target,) = merged(only(board("node", nodes=[NODE])))
    expected = {
        "__address__": "192.168.0.1:10250", "instance": "n1", "node_name": "n1", "node_label_zone": "a",
        "node_provider_id": "cloud://1", "node_address_InternalIP": "192.168.0.1",
        "node_address_Hostname": "n1.local",
    }  # fmt: skip
    assert expected.items() <= target.items()


def test_ingresses() -> None:
    targets = merged(only(board("ingress", ingresses=[INGRESS])))
    assert [(one["ingress_scheme"], one["ingress_host"], one["ingress_path"]) for one in targets] == [
        ("https", "a.example.com", "/x"),
        ("https", "a.example.com", "/"),
        ("http", "a.b.example.com", "/"),
    ]
    assert targets[0]["ingress_class_name"] == "nginx"


def test_only_what_is_touched_is_made_anew() -> None:
    other = {"metadata": meta("other"), "subsets": []}
    made = board("endpoints", endpoints=[ENDPOINTS, other], services=[], pods=[])
    assert [group.source for group in made.changed()][-1] == "endpoints/shop/web"
    made.put("services", "", SERVICE)
    assert [group.source for group in made.changed()] == ["endpoints/shop/web"]
    made.put("services", "", SERVICE)
    assert made.changed() == [], "nothing is different"
    made.put("pods", "", pod())
    assert only(made).source == "endpoints/shop/web"
    made.put("pods", "", pod("stranger"))
    assert made.changed() == []


def test_what_is_gone_has_no_targets() -> None:
    made = board("pod", pods=[pod(), pod("q")])
    made.changed()
    made.remove("pods", "shop/q")
    assert only(made) == TargetGroup("pod/shop/q", ())
    made.replace("pods", "", [])
    assert only(made) == TargetGroup("pod/shop/p", ())


@pytest.mark.parametrize("item", [{}, {"metadata": None}, {"metadata": meta("p"), "status": "x", "spec": []}])
def test_an_object_that_is_not_one_has_no_targets(item: dict[str, Any]) -> None:
    for role, kind in (("pod", "pods"), ("service", "services")):
        made = Board(role, False)
        made.replace(kind, "", [item])
        assert all(group.targets == () for group in made.changed())
