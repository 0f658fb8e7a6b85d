"""Where targets come from: the configuration itself, and files that are looked at again and again.

A discovery runs until it is cancelled and calls ``update`` with groups whenever one changed; a group without
targets takes the place of the one of its source.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import structlog
import yaml

from agent.telemetry.scrape_config import FileDiscovery, TargetGroup

log = structlog.get_logger("scraper")

LOOK_S = 1.0  # how soon a changed file is seen
MAX_FILE_BYTES = 64 << 20

Update = Callable[[Sequence[TargetGroup]], None]


class Discovery(Protocol):
    async def run(self, update: Update) -> None: ...


class Static:
    def __init__(self, groups: Sequence[TargetGroup]) -> None:
        self._groups = groups

    async def run(self, update: Update) -> None:
        update(self._groups)


class Files:
    """Files of target groups, JSON or YAML, named with ``*``. A file that cannot be read or is not valid
    leaves its groups as they were."""

    def __init__(self, config: FileDiscovery) -> None:
        self._config = config
        self._known: dict[str, tuple[int, int]] = {}
        self._groups: dict[str, int] = {}

    async def run(self, update: Update) -> None:
        while True:
            changed = await asyncio.to_thread(self.look)
            if changed:
                update(changed)
            await asyncio.sleep(min(LOOK_S, self._config.refresh_s))

    def look(self) -> list[TargetGroup]:
        """The groups of the files that changed since the last look; empty ones for those that are gone."""
        found: list[TargetGroup] = []
        present = {str(path) for pattern in self._config.files for path in _paths(pattern)}
        for name in sorted(present):
            try:
                stat = Path(name).stat()
                stamp = stat.st_mtime_ns, stat.st_size
                if self._known.get(name) == stamp:
                    continue
                groups = _read(Path(name))
            except (OSError, ValueError, yaml.YAMLError) as error:
                log.warning("a file of targets is not used", file=name, reason=str(error))
                continue
            self._known[name] = stamp
            found += self._replaced(name, groups)
        for name in sorted(set(self._known) - present):
            del self._known[name]
            found += self._replaced(name, [])
        return found

    def _replaced(self, name: str, groups: list[TargetGroup]) -> list[TargetGroup]:
        """With empty groups for those that the file had before."""
        before = self._groups.get(name, 0)
        self._groups[name] = len(groups)
        return groups + [TargetGroup(f"{name}:{i}", ()) for i in range(len(groups), before)]


def _paths(pattern: str) -> list[Path]:
    path = Path(pattern)
    return sorted(path.parent.glob(path.name)) if "*" in path.name else [path] if path.exists() else []


def _read(path: Path) -> list[TargetGroup]:
    if path.stat().st_size > MAX_FILE_BYTES:
        raise ValueError(f"the file has more than {MAX_FILE_BYTES} bytes")
    text = path.read_text(encoding="utf-8")
    content = json.loads(text) if path.suffix.lower() == ".json" else yaml.safe_load(text)
    return groups_of(content, str(path))


def groups_of(content: Any, name: str) -> list[TargetGroup]:
    """The groups of a file's content. Raises ``ValueError`` saying what is wrong."""
    if not isinstance(content, list):
        raise ValueError(f"got {type(content).__name__}, expected a list of groups with targets and labels")
    return [_group(item, f"{name}:{i}", name) for i, item in enumerate(content)]


def _group(item: Any, source: str, name: str) -> TargetGroup:
    if not isinstance(item, dict) or set(item) - {"targets", "labels"}:
        raise ValueError(f"group {source}: expected only the keys targets and labels")
    targets, labels = item.get("targets") or [], item.get("labels") or {}
    if not isinstance(targets, list) or not all(isinstance(target, str) for target in targets):
        raise ValueError(f"group {source}: targets must be a list of texts")
    if not isinstance(labels, dict) or not all(isinstance(key, str) for key in labels):
        raise ValueError(f"group {source}: labels must be a mapping of texts")
    texts = {key: value if isinstance(value, str) else json.dumps(value) for key, value in labels.items()}
    return TargetGroup(
        source, tuple({"__address__": target} for target in targets), {**texts, "__meta_filepath": name}
    )
