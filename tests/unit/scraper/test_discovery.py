"""Files of targets."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from actors.scraper.discovery import Files, groups_of
from agent.telemetry.scrape_config import FileDiscovery


def write(path: Path, content: str, stamp: int) -> None:
    path.write_text(content)
    os.utime(path, (stamp, stamp))


def found(files: Files) -> dict[str, list[str]]:
    return {
        Path(group.source).name: [target["__address__"] for target in group.targets] for group in files.look()
    }


def test_files_are_followed(tmp_path: Path) -> None:
    files = Files(FileDiscovery((str(tmp_path / "*.json"), str(tmp_path / "b.yml"))))
    assert found(files) == {}
    one = tmp_path / "a.json"
    write(one, json.dumps([{"targets": ["x:1"], "labels": {"env": "p"}}, {"targets": ["y:1"]}]), 1)
    write(tmp_path / "b.yml", "- targets: ['z:1']\n", 1)
    assert found(files) == {"a.json:0": ["x:1"], "a.json:1": ["y:1"], "b.yml:0": ["z:1"]}
    assert found(files) == {}, "nothing changed"
    write(one, json.dumps([{"targets": ["x:2"]}]), 2)
    assert found(files) == {"a.json:0": ["x:2"], "a.json:1": []}
    write(one, "[", 3)
    assert found(files) == {}, "a file that is not valid leaves its groups"
    one.unlink()
    assert found(files) == {"a.json:0": []}


def test_labels_say_the_file() -> None:
    (group,) = groups_of([{"targets": ["a:1"], "labels": {"n": 1, "env": "x"}}], "f.json")
    assert group.labels == {"n": "1", "env": "x", "__meta_filepath": "f.json"}


@pytest.mark.parametrize(
    "content",
    [{}, None, "text", [5], [{"target": []}], [{"targets": "a:1"}], [{"targets": [5]}], [{"labels": ["a"]}]],
)
def test_content_that_is_wrong(content: Any) -> None:
    with pytest.raises(ValueError, match=r"expected|must be"):
        groups_of(content, "f")
