"""Calls past Ray, over real sockets."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from actors.direct import DirectClient, DirectServer
from agent.errors import Malformed, Overloaded


def echo(*arguments: Any) -> Any:
    return arguments


def refuse(text: str) -> None:
    raise Malformed("text", text)


FUNCTIONS = {"echo": echo, "refuse": refuse, "lock": threading.Lock}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run" / "one.queries"


@pytest.fixture
def server(path: Path) -> Iterator[DirectServer]:
    made = DirectServer(path, FUNCTIONS)
    yield made
    made.close()


@pytest.fixture
def client(server: DirectServer, path: Path) -> Iterator[DirectClient]:
    made = DirectClient(path, "stream-0", 5.0)
    yield made
    made.close()


@pytest.mark.parametrize("size", [0, 1, 5_000, 300_000])
def test_arrays_arrive_as_they_were_sent(client: DirectClient, size: int) -> None:
    array = np.arange(size, dtype=np.float64)
    (found, text) = client.call("echo", {"a": array, "b": array[::2]}, "é").result()
    assert np.array_equal(found["a"], array)
    assert np.array_equal(found["b"], array[::2])
    assert text == "é"
    assert found["a"].flags.writeable


def test_an_error_is_raised_at_the_caller_and_the_line_stays(client: DirectClient) -> None:
    with pytest.raises(Malformed, match="no such thing"):
        client.call("refuse", "no such thing").result()
    assert client.call("echo", 1).result() == (1,)


def test_an_answer_that_cannot_travel_is_an_error(client: DirectClient) -> None:
    with pytest.raises(RuntimeError, match="not to be sent"):
        client.call("lock").result()
    assert client.call("echo", 1).result() == (1,)


def test_many_calls_at_once_get_their_own_answers(client: DirectClient) -> None:
    calls = [client.call("echo", number) for number in range(20)]
    assert [call.result() for call in reversed(calls)] == [(number,) for number in reversed(range(20))]


def test_a_call_that_is_left_takes_no_answer_from_another(client: DirectClient) -> None:
    client.call("echo", "left").leave()
    assert client.call("echo", "asked").result() == ("asked",)


def test_a_server_in_the_place_of_one_that_died_is_found(client: DirectClient, path: Path) -> None:
    fresh = DirectServer(path, {"echo": lambda *_: "fresh"})
    client.connected(fresh=True).close()
    assert client.call("echo").result() == "fresh"
    fresh.close()


def test_dead_connections_are_made_anew(client: DirectClient) -> None:
    client.call("echo", 1).result()
    client._idle[0].shutdown(2)
    assert client.call("echo", 2).result() == (2,)


def test_where_nobody_listens_the_caller_is_told_to_come_again(tmp_path: Path) -> None:
    with pytest.raises(Overloaded, match="stream-7 is away"):
        DirectClient(tmp_path / "nobody", "stream-7").call("echo")


def test_a_server_that_does_not_answer_is_away(path: Path, server: DirectServer) -> None:
    waiting = threading.Event()
    slow = DirectServer(path, {"wait": waiting.wait})
    with pytest.raises(Overloaded, match="TimeoutError"):
        DirectClient(path, "stream-0", 0.05).call("wait").result()
    waiting.set()
    slow.close()


def test_only_its_user_may_enter(path: Path, server: DirectServer) -> None:
    assert path.parent.stat().st_mode & 0o777 == 0o700


def test_a_folder_may_lie_deep(tmp_path: Path) -> None:
    path = tmp_path / ("deep" * 30) / "one.queries"
    server = DirectServer(path, FUNCTIONS)
    client = DirectClient(path, "stream-0")
    assert client.call("echo", 1).result() == (1,)
    client.close()
    server.close()
