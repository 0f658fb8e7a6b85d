"""What is normal and the incidents, kept on the disk, so that a restart forgets neither.

Two files a tenant, each replaced in one step: the baseline, written each minute, and the book of incidents,
which is small and written at every change of one. What cannot be read is left where it is and said; that
part then starts empty, which costs minutes, not answers that are wrong.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path

import structlog

from actors.correlator.view import TenantView
from agent.correlation.incidents import IncidentBook
from agent.errors import Malformed
from agent.rootcause.baseline import Baseline

BASELINE, INCIDENTS, SUFFIX = "baseline-", "incidents-", ".bin"
TENANT = re.compile(r"[A-Za-z0-9._:-]+")

log = structlog.get_logger("correlator")


def save(folder: Path, views: Sequence[TenantView]) -> None:
    for view in views:
        _write(folder, BASELINE, view.tenant, view.cursor_ns.to_bytes(8, "little") + view.baseline.to_bytes())
        save_incidents(folder, view)


def save_incidents(folder: Path, view: TenantView) -> None:
    _write(folder, INCIDENTS, view.tenant, view.book.to_bytes())


def load(folder: Path, make: Callable[[str], TenantView]) -> dict[str, TenantView]:
    views: dict[str, TenantView] = {}
    for prefix, restore in ((BASELINE, _baseline), (INCIDENTS, _incidents)):
        for path in sorted(folder.glob(f"{prefix}*{SUFFIX}")):
            tenant = path.name.removeprefix(prefix).removesuffix(SUFFIX)
            view = views.get(tenant) or make(tenant)
            try:
                restore(view, path.read_bytes())
            except Malformed as error:
                log.warning("a kept file cannot be read", file=path.name, reason=str(error))
                continue
            views[tenant] = view
    return views


def _baseline(view: TenantView, data: bytes) -> None:
    view.baseline = Baseline.from_bytes(data[8:], view.baseline.settings)
    view.cursor_ns = int.from_bytes(data[:8], "little")


def _incidents(view: TenantView, data: bytes) -> None:
    view.book = IncidentBook.from_bytes(data, view.book.settings)


def _write(folder: Path, prefix: str, tenant: str, data: bytes) -> None:
    if TENANT.fullmatch(tenant):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        path = folder / f"{prefix}{tenant}{SUFFIX}"
        fresh = path.with_suffix(".new")
        fresh.write_bytes(data)
        fresh.replace(path)
