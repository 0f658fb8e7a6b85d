"""Opening and closing the gateway."""

from __future__ import annotations

import socket
from dataclasses import replace
from pathlib import Path

import pytest

from actors.gateway.actor import Gateway
from actors.places import log_folder
from agent.errors import Overloaded
from agent.settings import Settings, load
from agent.windows.log import LogWriter, has_writer


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as other:
        grpc_port, http_port = one.getsockname()[1], other.getsockname()[1]
    made = load(environ={"KUBECHAT_OBS_GENERAL_DATA_DIR": str(tmp_path), "KUBECHAT_OBS_STREAMS_COUNT": "2"})
    return replace(made, gateway=replace(made.gateway, otlp_grpc_port=grpc_port, otlp_http_port=http_port))


def taken(port: int) -> socket.socket:
    return socket.create_server(("127.0.0.1", port))


@pytest.mark.parametrize("which", ["otlp_grpc_port", "otlp_http_port"])
async def test_a_taken_port_is_said_and_the_start_heals_when_it_is_freed(
    settings: Settings, which: str
) -> None:
    gateway = Gateway(settings, "gateway-0")
    with taken(getattr(settings.gateway, which)):
        health = await gateway.start()
    assert health.state == "failed"
    assert f"gateway.{which}: got {getattr(settings.gateway, which)}" in health.detail
    assert not (settings.data_dir / "log").exists()
    assert (await gateway.start()).state == "ready"
    await gateway.stop()


async def test_logs_of_another_layer_are_said_and_what_was_opened_is_free_again(settings: Settings) -> None:
    gateway, other = Gateway(settings, "gateway-0"), LogWriter(log_folder(settings, 1), 1 << 20)
    health = await gateway.start()
    assert health.state == "failed"
    assert health.detail.startswith("setting general.data_dir")
    for port in (settings.gateway.otlp_grpc_port, settings.gateway.otlp_http_port):
        taken(port).close()
    assert not has_writer(log_folder(settings, 0))
    other.close()
    assert (await gateway.start()).state == "ready"
    await gateway.stop()


async def test_a_gateway_that_starts_does_not_say_that_nothing_was_sent(settings: Settings) -> None:
    with pytest.raises(Overloaded, match="starting"):
        await Gateway(settings, "gateway-0").positions()
