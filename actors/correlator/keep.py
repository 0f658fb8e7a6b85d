"""What is normal, kept on the disk, so that a restart does not forget hours of it.

A file a tenant, replaced in one step. What cannot be read is left where it is and said; the baseline then
starts empty, which costs minutes, not answers that are wrong.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path

import structlog

from actors.correlator.view import TenantView
from agent.errors import Malformed
from agent.rootcause.baseline import Baseline

PREFIX, SUFFIX = "baseline-", ".bin"
TENANT = re.compile(r"[A-Za-z0-9._:-]+")


def save(folder: Path, views: Sequence[TenantView]) -> None:
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    for view in views:
        if TENANT.fullmatch(view.tenant):
            path = folder / f"{PREFIX}{view.tenant}{SUFFIX}"
            fresh = path.with_suffix(".new")
            fresh.write_bytes(view.cursor_ns.to_bytes(8, "little") + view.baseline.to_bytes())
            fresh.replace(path)


def load(folder: Path, make: Callable[[str], TenantView]) -> dict[str, TenantView]:
    views = {}
    for path in sorted(folder.glob(f"{PREFIX}*{SUFFIX}")):
        view = make(path.name.removeprefix(PREFIX).removesuffix(SUFFIX))
        data = path.read_bytes()
        try:
            view.baseline = Baseline.from_bytes(data[8:], view.baseline.settings)
        except Malformed as error:
            structlog.get_logger().warning(
                "a kept baseline cannot be read", file=path.name, reason=str(error)
            )
            continue
        view.cursor_ns = int.from_bytes(data[:8], "little")
        views[view.tenant] = view
    return views
