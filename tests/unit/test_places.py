"""The number of streams: settled once, remembered, and what becomes of the logs of another."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from actors.places import log_folder, settle_streams, stream_count
from agent.settings import GeneralSettings, Settings, StreamSettings
from agent.windows.log import LogWriter


def settings(folder: Path, count: int = 0) -> Settings:
    return Settings(general=GeneralSettings(data_dir=str(folder)), streams=StreamSettings(count=count))


def written(made: Settings, age_s: float) -> LogWriter:
    """A log of one record for the number of streams of ``made``, last touched ``age_s`` ago."""
    writer = LogWriter(log_folder(made, 0), 1 << 12)
    writer.append([b"x" * 100])
    for path in log_folder(made, 0).glob("*.wal"):
        then_s = path.stat().st_mtime - age_s
        os.utime(path, (then_s, then_s))
    return writer


def test_the_number_stays_when_the_cores_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    assert settle_streams(settings(tmp_path)) == 2
    monkeypatch.setattr(os, "cpu_count", lambda: 16)
    assert settle_streams(settings(tmp_path)) == 2
    assert stream_count(settings(tmp_path)) == 2


def test_a_number_that_is_set_wins_and_is_remembered(tmp_path: Path) -> None:
    settle_streams(settings(tmp_path, 2))
    assert settle_streams(settings(tmp_path, 5)) == 5
    assert stream_count(settings(tmp_path)) == 5


@pytest.mark.parametrize("text", ["", "many", "0", "-3", "99999", "\u0663"])
def test_nonsense_is_not_remembered(tmp_path: Path, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    (tmp_path / "log").mkdir()
    (tmp_path / "log" / "streams").write_text(text, encoding="utf-8")
    assert settle_streams(settings(tmp_path)) == 4


@pytest.mark.parametrize(("age_s", "kept"), [(60.0, True), (7200.0, False)])
def test_logs_of_another_number_go_when_they_are_old(tmp_path: Path, age_s: float, kept: bool) -> None:
    written(settings(tmp_path, 2), age_s).close()
    settle_streams(settings(tmp_path, 3))
    assert log_folder(settings(tmp_path, 2), 0).exists() is kept


def test_an_old_log_that_somebody_writes_to_stays(tmp_path: Path) -> None:
    writer = written(settings(tmp_path, 2), 7200.0)
    settle_streams(settings(tmp_path, 3))
    assert log_folder(settings(tmp_path, 2), 0).exists()
    writer.close()


def test_the_logs_of_the_own_number_stay_however_old(tmp_path: Path) -> None:
    written(settings(tmp_path, 2), 10**6).close()
    settle_streams(settings(tmp_path, 2))
    assert log_folder(settings(tmp_path, 2), 0).exists()
