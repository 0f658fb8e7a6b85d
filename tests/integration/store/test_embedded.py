from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import psutil
import pytest

from agent.errors import StoreError
from agent.store.embedded import EmbeddedPostgres


def server_pid(server: EmbeddedPostgres) -> int:
    return int((server.cluster_dir / "postmaster.pid").read_text().split()[0])


def works(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


async def answer(url: str) -> int:
    connection = await asyncpg.connect(url)
    try:
        return int(await connection.fetchval("SELECT 42"))
    finally:
        await connection.close()


@pytest.fixture(scope="module")
def made() -> Iterator[EmbeddedPostgres]:
    """Made once; below it lies what an account that is not root could not pass."""
    with tempfile.TemporaryDirectory(prefix="kubechat-obs-test-") as folder:
        closed = Path(folder) / "closed"
        closed.mkdir(mode=0o700)
        deep = closed / "with space, comma & 'quote' ü" / ("x" * 150)
        (deep / "cluster.new" / "base").mkdir(parents=True)  # a start that was killed on its way
        with EmbeddedPostgres(deep) as server:
            yield server


@pytest.fixture
def own(made: EmbeddedPostgres) -> EmbeddedPostgres:
    made.start()
    return made


async def test_a_deep_folder_with_any_name_works(own: EmbeddedPostgres) -> None:
    assert len(os.fsencode(own.data_dir)) > 107
    assert await answer(own.url) == 42


@pytest.mark.skipif(os.geteuid() != 0, reason="as another account nothing is opened")
def test_as_root_parents_get_the_search_bit_only(own: EmbeddedPostgres) -> None:
    closed = own.data_dir.parents[1]
    assert closed in own.opened_folders
    assert closed.stat().st_mode & 0o777 == 0o701


async def test_stopped_and_started_it_answers_again(own: EmbeddedPostgres) -> None:
    own.stop()
    own.stop()
    assert not (own.cluster_dir / "postmaster.pid").exists()
    assert await answer(own.start()) == 42


async def test_only_the_socket_is_open_and_only_for_us(own: EmbeddedPostgres) -> None:
    assert psutil.Process(server_pid(own)).net_connections("inet") == []
    rules = (own.cluster_dir / "pg_hba.conf").read_text()
    assert rules == "local all all peer map=owner\n"
    connection = await asyncpg.connect(own.url)
    assert await connection.fetchval("SHOW unix_socket_permissions") == "0700"
    await connection.execute("CREATE ROLE other LOGIN SUPERUSER")
    await connection.close()
    with pytest.raises(asyncpg.InvalidAuthorizationSpecificationError):
        await asyncpg.connect(own.url.replace("kubechat_obs@", "other@"))


def in_another_process(server: EmbeddedPostgres, then: str) -> subprocess.Popen[str]:
    """Starts the same folder elsewhere, prints its URL and goes on with ``then``."""
    code = (
        "import os, sys, pathlib; from agent.store.embedded import EmbeddedPostgres;"
        f"s = EmbeddedPostgres(pathlib.Path({str(server.data_dir)!r})); print(s.start(), flush=True); {then}"
    )
    return subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def test_whoever_leaves_last_ends_the_server(own: EmbeddedPostgres) -> None:
    with in_another_process(own, "sys.stdin.read(); s.stop()") as other:
        assert other.stdout is not None
        assert other.stdout.readline().strip() == own.url
        url, pid = own.url, server_pid(own)
        own.stop()
        assert asyncio.run(answer(url)) == 42
        other.communicate("", timeout=20)
    assert not works(pid)


def test_a_server_that_a_killed_process_left_is_joined_and_ended(own: EmbeddedPostgres) -> None:
    own.stop()
    with in_another_process(own, "os.kill(os.getpid(), 9)") as other:
        assert other.wait(20) == -signal.SIGKILL
    left = server_pid(own)
    assert asyncio.run(answer(own.start())) == 42
    assert server_pid(own) == left
    own.stop()
    assert not works(left)


async def test_after_sigkill_it_starts_even_if_another_process_got_its_number(own: EmbeddedPostgres) -> None:
    os.kill(server_pid(own), signal.SIGKILL)
    pid_file = own.cluster_dir / "postmaster.pid"
    lines = pid_file.read_text().splitlines()
    lines[0] = str(os.getpid())
    pid_file.write_text("\n".join(lines) + "\n")
    assert await answer(own.start()) == 42


async def test_a_folder_of_another_version_is_refused(own: EmbeddedPostgres) -> None:
    own.stop()
    version = (own.cluster_dir / "PG_VERSION").read_text().strip()
    (own.cluster_dir / "PG_VERSION").write_text("16\n")
    try:
        with pytest.raises(StoreError, match=rf"made by PostgreSQL 16, the installed .* is {version}"):
            own.start()
    finally:
        (own.cluster_dir / "PG_VERSION").write_text(f"{version}\n")


def test_a_folder_of_something_else_is_refused(short_folder: Path) -> None:
    (short_folder / "PG_VERSION").write_text("15\n")
    with pytest.raises(StoreError, match="something else made"):
        EmbeddedPostgres(short_folder).start()
    (short_folder / "PG_VERSION").unlink()
    (short_folder / "cluster").mkdir()
    with pytest.raises(StoreError, match="holds no database and is not ours"):
        EmbeddedPostgres(short_folder).start()


def test_a_folder_that_cannot_be_made_is_said(short_folder: Path) -> None:
    (short_folder / "file").write_text("")
    with pytest.raises(StoreError, match="cannot make the data folder"):
        EmbeddedPostgres(short_folder / "file" / "postgres").start()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another account")
def test_a_folder_of_another_account_is_refused(short_folder: Path) -> None:
    cluster = short_folder / "cluster"
    cluster.mkdir()
    os.chmod(short_folder, 0o777)  # noqa: PTH101
    os.chown(cluster, 12345, 12345)
    code = (
        "import os, pathlib; from agent.store.embedded import EmbeddedPostgres as E; os.setuid(65534);"
        f"E(pathlib.Path({str(short_folder)!r})).start()"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert "choose another data folder" in done.stderr


def test_a_database_is_made_once_and_named_plainly(own: EmbeddedPostgres) -> None:
    assert own.ensure_database("shop") == own.ensure_database("shop")
    with pytest.raises(StoreError, match="expected lower-case letters"):
        own.ensure_database("Robert'); DROP")


def test_the_url_of_a_server_that_is_not_started_is_refused(short_folder: Path) -> None:
    with pytest.raises(StoreError, match="call start"):
        _ = EmbeddedPostgres(short_folder).url
