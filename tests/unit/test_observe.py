from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from agent.observe import HIDDEN, configure, redact
from agent.secret import Secret


@pytest.mark.parametrize(
    ("event", "shown"),
    [
        ({"password": "p"}, {"password": HIDDEN}),
        ({"auth_token": "t", "api_key": "k", "Authorization": "Bearer x"}, dict.fromkeys(("auth_token", "api_key", "Authorization"), HIDDEN)),
        ({"auth_token": ""}, {"auth_token": ""}),
        ({"tokens": 512}, {"tokens": 512}),
        ({"url": "postgresql://ana:hush@db/x"}, {"url": f"postgresql://ana:{HIDDEN}@db/x"}),
        ({"error": "got Bearer abc.def from 1.2.3.4"}, {"error": f"got Bearer {HIDDEN} from 1.2.3.4"}),
        ({"anything": Secret("s")}, {"anything": HIDDEN}),
        ({"headers": {"Cookie": "c", "Host": "h"}}, {"headers": {"Cookie": HIDDEN, "Host": "h"}}),
        ({"list": [{"secret": "s"}, "plain"]}, {"list": [{"secret": HIDDEN}, "plain"]}),
    ],
)  # fmt: skip
def test_redact(event: dict[str, Any], shown: dict[str, Any]) -> None:
    assert redact(None, "", event) == shown


@pytest.fixture
def unconfigured() -> Iterator[None]:
    yield
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


@pytest.mark.usefixtures("unconfigured")
def test_json_lines(capsys: pytest.CaptureFixture[str]) -> None:
    configure("info", "json", "stream-0")
    structlog.get_logger().info("started", token="t", port=1)
    structlog.get_logger().debug("not shown")
    line = json.loads(capsys.readouterr().err)
    assert (line["event"], line["actor"], line["level"], line["token"], line["port"]) == (
        "started",
        "stream-0",
        "info",
        HIDDEN,
        1,
    )


@pytest.mark.usefixtures("unconfigured")
def test_errors_carry_their_trace_without_secrets(capsys: pytest.CaptureFixture[str]) -> None:
    configure("info", "json")
    try:
        raise ValueError("no way to postgresql://ana:hush@db/x")
    except ValueError as error:
        structlog.get_logger().error("failed", exc_info=error)
    line = capsys.readouterr().err
    assert "ValueError" in line
    assert "hush" not in line


@pytest.mark.usefixtures("unconfigured")
def test_console_lines(capsys: pytest.CaptureFixture[str]) -> None:
    configure("debug", "console")
    structlog.get_logger().debug("shown", n=1)
    assert "shown" in capsys.readouterr().err
