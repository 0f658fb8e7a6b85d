from __future__ import annotations

import json
import socket
import threading

import pytest

from actors.aggregator.aggregator import Aggregator
from agent.errors import Overloaded
from tests.unit.aggregator.fakes import health
from tests.unit.chatops.terminal.conftest import Served, command


def test_ask_shows_cause_evidence_and_advice(layer: Served) -> None:
    result = command("ask", "why is latency up?", "--url", layer.url)
    assert result.exit_code == 0
    for text in (
        "cart/cart-1",
        "slow database",
        "confidence 90%",
        "trace:0af7",
        "Add an index",
        "kubectl logs",
    ):
        assert text in result.output


def test_ask_passes_what_it_is_given(layer: Served) -> None:
    command("ask", "why?", "--service", "cart", "--at", "1700000000", "--tenant", "t", "--url", layer.url)
    assert layer.shop.correlator.asked == [("why?", "cart", 1_700_000_000 * 10**9, "t")]


def test_ask_json(layer: Served) -> None:
    result = command("ask", "why?", "--json", "--url", layer.url)
    assert json.loads(result.stdout)["verdict"] == "cause"


def test_ask_finds_the_layer_by_the_environment(layer: Served) -> None:
    assert command("ask", "why?", env={"KUBECHAT_OBS_URL": layer.url}).exit_code == 0


def test_ask_shows_refusals_with_their_hint(layer: Served) -> None:
    result = command("ask", "why?", "--at", "yesterday", "--url", layer.url)
    assert result.exit_code == 1
    assert "RFC 3339" in result.stderr
    assert "Traceback" not in result.output


def test_ask_shows_errors_of_the_layer(layer: Served) -> None:
    layer.shop.correlator.error = Overloaded("the correlator restarts")
    result = command("ask", "why?", "--url", layer.url)
    assert result.exit_code == 1
    assert "the correlator restarts" in result.stderr


@pytest.mark.parametrize("words", [["ask", "why?"], ["status"], ["live"]])
def test_nobody_there(words: list[str]) -> None:
    with socket.socket() as taken:  # bound and not listening: nobody else gets the port
        taken.bind(("127.0.0.1", 0))
        result = command(*words, "--url", f"http://127.0.0.1:{taken.getsockname()[1]}")
    assert result.exit_code == 1
    assert "start it with `kubechat-obs up`" in result.stderr


@pytest.mark.parametrize(
    "words",
    [["ask"], ["ask", "why?", "--what"], ["dance"], ["replay"], ["replay", "x", "--ask-after", "soon"]],
)
def test_usage_errors(words: list[str]) -> None:
    assert command(*words).exit_code == 2


@pytest.mark.parametrize(
    "words",
    [[], ["up"], ["ask"], ["query"], ["status"], ["live"], ["replay"], ["migrate"], ["migrate", "down"]],
)
def test_help_has_examples(words: list[str]) -> None:
    result = command(*words, "--help")
    assert result.exit_code == 0
    assert "kubechat-obs " in result.output.split("Commands")[-1]


def test_settings_that_are_wrong_are_told(layer: Served) -> None:
    result = command("ask", "why?", env={"KUBECHAT_OBS_AGGREGATOR_PORT": "many"})
    assert result.exit_code == 1
    assert "aggregator.port" in result.stderr


def test_status_table(layer: Served) -> None:
    result = command("status", "--url", layer.url)
    assert result.exit_code == 0
    assert "stream-0" in result.output
    assert "gateway-0 refused: bad_tenant 2" in result.output


def test_status_of_a_layer_that_is_not_ready(layer: Served) -> None:
    layer.shop.supervisor.actors.append(health("stream-1", "failed", detail="no space left"))
    result = command("status", "--url", layer.url)
    assert result.exit_code == 1
    assert "stream-1: no space left" in result.output


def test_status_json(layer: Served) -> None:
    assert json.loads(command("status", "--json", "--url", layer.url).stdout)["restarts"] == {"stream-0": 1}


def publish_once_watched(aggregator: Aggregator, layer: Served) -> None:
    while not layer.do(lambda: any(c.subscriptions for c in aggregator._hub._clients)):
        pass
    layer.do(
        aggregator.publish_incident,
        "default",
        {"id": "i-1", "kind": "opened", "title": "cart is slow", "service": "cart"},
    )


def test_live_prints_incidents(layer: Served) -> None:
    teller = threading.Thread(target=publish_once_watched, args=(layer.aggregator, layer))
    teller.start()
    result = command("live", "--signal", "incidents", "--limit", "1", "--url", layer.url)
    teller.join()
    assert result.exit_code == 0
    assert "opened" in result.output
    assert "cart is slow" in result.output


def test_live_refusal_is_told(layer: Served) -> None:
    result = command("live", "--signal", "pictures", "--url", layer.url)
    assert result.exit_code == 1
    assert "spans, logs, metrics, incidents" in result.stderr
