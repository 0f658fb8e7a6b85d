from __future__ import annotations

import asyncpg
import orjson
import pytest

from agent.errors import StoreError
from agent.store.database import Database, connect, encode_json, explain, storable_text, without_password

SECRET = "hunter2/:x"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://me:pw@host:5432/db", "postgresql://me:***@host:5432/db"),
        ("postgresql://me:p@w@host/db", "postgresql://me:***@host/db"),
        ("postgresql://host/db?user=me&password=pw&x=1", "postgresql://host/db?user=me&password=***&x=1"),
        ("postgresql://host/db?sslpassword=pw", "postgresql://host/db?sslpassword=***"),
        ("postgresql://me@/db?host=/run", "postgresql://me@/db?host=/run"),
        ("postgresql://[::1]:5432/db", "postgresql://[::1]:5432/db"),
    ],
)
def test_a_url_is_shown_without_its_password(url: str, shown: str) -> None:
    assert without_password(url) == shown


@pytest.mark.parametrize("written", ["p%40ss", "plain", "a:b"])
def test_what_the_client_quotes_of_the_password_is_masked(written: str) -> None:
    plain = {"p%40ss": "p@ss"}.get(written, written)
    error = explain(ValueError(f"cannot read {written} or {plain}"), f"postgresql://me:{written}@host/db")
    assert written not in str(error)
    assert plain not in str(error)


@pytest.mark.parametrize(
    ("error", "way_on"),
    [
        (ConnectionRefusedError("refused"), "Check that it runs"),
        (asyncpg.InvalidPasswordError("no"), "Check user and password in DATABASE_URL"),
        (asyncpg.InvalidCatalogNameError("no db"), "Make the database"),
        (asyncpg.InsufficientPrivilegeError("no"), "Grant it"),
        (asyncpg.UndefinedTableError("no table"), "run kubechat-obs migrate up"),
        (asyncpg.QueryCanceledError("timeout"), "Ask for less"),
        (asyncpg.CheckViolationError("bad row"), "PostgreSQL refuses: bad row"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_an_error_says_the_way_on(error: Exception, way_on: str) -> None:
    assert way_on in str(explain(error, "postgresql://me:pw@host/db", "some_query"))


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql://me:{SECRET}@127.0.0.1:1/db",
        "postgresql://me:hunter2@127.0.0.1:notaport/db",
        "mysql://me:hunter2@127.0.0.1/db",
        "postgresql://me:hunter2@127.0.0.1:1/db",
        "postgresql://127.0.0.1:1/db?user=me&password=hunter2",
        "postgresql://me:hunter2@127.0.0.1:1/db?sslmode=nonsense",
    ],
)
async def test_no_password_in_what_a_failed_opening_says(url: str) -> None:
    for attempt in (Database.open(url, reconnect_for_s=0), connect(url)):
        with pytest.raises(StoreError) as caught:
            await attempt
        seen: BaseException | None = caught.value
        while seen is not None:
            assert "hunter2" not in str(seen)
            seen = seen.__cause__


@pytest.mark.parametrize(
    ("value", "stored"),
    [
        ({"a": [1, 2.5, None, True]}, {"a": [1, 2.5, None, True]}),
        ({"nul\x00": "a\x00b"}, {"nul\ufffd": "a\ufffdb"}),
        (["\ud800"], ["\ufffd"]),
        ({"text": "\\u0000 written out"}, {"text": "\\u0000 written out"}),
        (float("nan"), None),
    ],
    ids=["plain", "nul", "surrogate", "backslash", "nan"],
)
def test_json_is_what_postgresql_accepts(value: object, stored: object) -> None:
    assert orjson.loads(encode_json(value)) == stored


def test_text_is_what_postgresql_accepts() -> None:
    assert storable_text("a\x00b\ud800c") == "a\ufffdb\ufffdc"
