"""One layer for all tests of this folder: its own Ray node, PostgreSQL and ports."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from actors.runtime import Layer
from agent.settings import Settings, load

PORTS = (
    "KUBECHAT_OBS_GATEWAY_OTLP_GRPC_PORT",
    "KUBECHAT_OBS_GATEWAY_OTLP_HTTP_PORT",
    "KUBECHAT_OBS_AGGREGATOR_PORT",
    "KUBECHAT_OBS_RAY_DASHBOARD_PORT",
)
RULES = """
groups:
- name: layer
  interval: 1s
  rules:
  - {record: "job:rule_input:sum", expr: sum by (job) (rule_input), labels: {kind: test}}
"""


def free_ports() -> dict[str, str]:
    """Ports that are free now and stay the same when an actor restarts, which 0 would not."""
    held = [socket.create_server(("127.0.0.1", 0)) for _ in PORTS]
    ports = {name: str(one.getsockname()[1]) for name, one in zip(PORTS, held, strict=True)}
    for one in held:
        one.close()
    return ports


@pytest.fixture(scope="session")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    folder: Path = tmp_path_factory.mktemp("layer")
    rules = folder / "rules.yml"
    rules.write_text(RULES)
    return load(
        environ={
            **free_ports(),
            "KUBECHAT_OBS_STREAMS_COUNT": "2",
            "KUBECHAT_OBS_GENERAL_DATA_DIR": str(folder),
            "KUBECHAT_OBS_RULES_FILES": str(rules),
        }
    )


@pytest.fixture(scope="session")
def layer(settings: Settings) -> Iterator[Layer]:
    with Layer(settings) as running:
        yield running


@pytest.fixture(scope="session")
def api(layer: Layer) -> str:
    return layer.address("http")


@pytest.fixture(scope="session")
def otlp(layer: Layer) -> str:
    return layer.address("otlp/http")
