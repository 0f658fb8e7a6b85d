from __future__ import annotations

import pwd

import pytest

from agent.errors import StoreError
from agent.store.accounts import account_below_root, account_name, account_of

NOBODYS_UID = next(
    uid for uid in range(60_000, 65_000) if uid not in {entry.pw_uid for entry in pwd.getpwall()}
)


def test_an_account_is_found_by_its_number() -> None:
    assert account_of(0).pw_name == "root"
    assert account_name(0) == "root"


def test_an_account_without_a_name_is_refused_and_still_shown() -> None:
    with pytest.raises(StoreError, match="DATABASE_URL"):
        account_of(NOBODYS_UID)
    assert account_name(NOBODYS_UID) == f"account number {NOBODYS_UID}"


def test_below_root_it_is_never_root() -> None:
    assert account_below_root().pw_uid != 0
