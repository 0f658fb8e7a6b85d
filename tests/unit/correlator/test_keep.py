from __future__ import annotations

from pathlib import Path

from actors.correlator.keep import load, save, save_incidents
from actors.correlator.view import TenantView
from agent.settings import Settings
from tests.unit.correlator.test_view import T0, S, started


def make(tenant: str) -> TenantView:
    return TenantView(tenant, Settings())


def troubled(tenant: str = "default") -> TenantView:
    view = make(tenant)
    view.come_to(T0)
    view.report([started(T0 - 20 * S, T0)])
    view.cursor_ns = T0
    return view


def test_a_restart_forgets_neither_the_normal_nor_the_incidents(tmp_path: Path) -> None:
    view = troubled()
    save(tmp_path, [view])
    back = load(tmp_path, make)["default"]
    assert (back.cursor_ns, back.baseline.excluded) == (T0, view.baseline.excluded)
    assert back.book.incidents() == view.book.incidents()
    assert back.book.settings == view.book.settings


def test_incidents_of_before_a_restart_are_resolved_after_it(tmp_path: Path) -> None:
    save_incidents(tmp_path, troubled())
    back = load(tmp_path, make)["default"]
    kinds = []
    for after_s in (10, 1810, 1850):
        back.come_to(T0 + after_s * S)
        kinds += [str(change.kind) for change in back.report([])]
    assert kinds == ["updated", "resolved"]


def test_what_cannot_be_read_starts_empty_and_the_rest_does_not(tmp_path: Path) -> None:
    save(tmp_path, [troubled()])
    (tmp_path / "baseline-default.bin").write_bytes(b"broken")
    back = load(tmp_path, make)["default"]
    assert back.cursor_ns == 0
    assert len(back.open_incidents()) == 1
    assert (tmp_path / "baseline-default.bin").read_bytes() == b"broken"


def test_a_tenant_whose_name_is_no_file_name_is_not_kept(tmp_path: Path) -> None:
    save(tmp_path, [troubled("a/../b")])
    assert list(tmp_path.iterdir()) == []
