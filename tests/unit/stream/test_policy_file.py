"""The policy beside the log: there whole, or not."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from actors.stream.policy_file import NAME, load_policy, save_policy
from agent.errors import CorruptLog
from agent.telemetry.metric_policy import MetricPolicy, MetricRule

POLICY = MetricPolicy([MetricRule("a*", "cart", {"code": "500"}, retention_ms=60_000)], 3)


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    assert load_policy(tmp_path).rules == ()
    save_policy(tmp_path, POLICY)
    found = load_policy(tmp_path)
    assert (found.version, found.rules) == (POLICY.version, POLICY.rules)
    assert [path.name for path in tmp_path.iterdir()] == [NAME]


def test_a_disk_that_refuses_leaves_the_one_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError("no space")

    save_policy(tmp_path, POLICY)
    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(OSError, match="no space"):
        save_policy(tmp_path, MetricPolicy([], 4))
    assert load_policy(tmp_path).version == 3


def test_another_file_is_named(tmp_path: Path) -> None:
    (tmp_path / NAME).write_bytes(b"[]")
    with pytest.raises(CorruptLog, match=r"metric_policy\.json"):
        load_policy(tmp_path)
