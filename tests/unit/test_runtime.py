"""Starting the layer, as far as it needs no Ray."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from actors import runtime
from actors.runtime import StartError
from agent.settings import Settings, load


class Taken:
    """An actor class whose name is in use."""

    def options(self, **_: Any) -> Taken:
        return self

    def remote(self, *_: Any) -> None:
        raise ValueError("the name is taken")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load(environ={"KUBECHAT_OBS_GENERAL_DATA_DIR": str(tmp_path / "data")})


def test_a_layer_that_runs_already_is_not_joined(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime, "SupervisorActor", Taken())
    with pytest.raises(StartError, match=r"namespace kubechat-obs.*ray\.namespace"):
        runtime._new_supervisor(settings, "")


def test_the_number_of_streams_is_said_to_every_actor(settings: Settings) -> None:
    settled = runtime._settled(replace(settings, streams=replace(settings.streams, count=3)))
    assert settled.streams.count == 3
    assert runtime._settled(settings).streams.count == 3  # remembered in the data folder
    assert settings.data_dir.stat().st_mode & 0o077 == 0
