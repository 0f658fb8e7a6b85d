"""Which operating-system account a PostgreSQL server may run as: never root."""

from __future__ import annotations

import pwd

from agent.errors import StoreError


def account_of(uid: int) -> pwd.struct_passwd:
    try:
        return pwd.getpwuid(uid)
    except KeyError:
        raise StoreError(
            f"account number {uid} has no name on this system, which PostgreSQL needs: "
            "run as a named account, or set DATABASE_URL to use another PostgreSQL"
        ) from None


def account_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"account number {uid}"


def account_below_root() -> pwd.struct_passwd:
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise StoreError("PostgreSQL does not run as root, and neither account postgres nor nobody exists: run as an ordinary account, or set DATABASE_URL")  # fmt: skip
