"""One scrape over HTTP: what is asked for, and a body that never grows past its limit."""

from __future__ import annotations

import base64
import ssl
import zlib
from dataclasses import dataclass
from pathlib import Path

import aiohttp
from yarl import URL

from agent.errors import BadInput, Malformed, TooLarge, Unsupported
from agent.telemetry.scrape_config import Credentials, HttpConfig, JobConfig, TlsConfig, accept_header
from agent.telemetry.scrape_target import Target
from agent.version import VERSION

CHUNK_BYTES = 1 << 16
KEEP_ALIVE_S = 300.0


class FetchError(BadInput):
    """The target did not answer as it should; the message is what ``lastError`` shows."""

    def __init__(self, message: str) -> None:
        super().__init__("scrape_failed", message)


@dataclass(frozen=True, slots=True)
class Fetched:
    body: bytes
    content_type: str


class Fetcher:
    """The HTTP client of one job. ``max_body_bytes`` holds where the job sets no limit of its own."""

    def __init__(self, job: JobConfig, max_body_bytes: int) -> None:
        self._job = job
        limit = job.limits.body_bytes
        self._max_body_bytes = min(limit, max_body_bytes) if limit else max_body_bytes
        self._session: aiohttp.ClientSession | None = None
        self._ssl: ssl.SSLContext | None = None

    async def open(self) -> None:
        """Raises ``OSError`` or ``ssl.SSLError`` where the files of ``tls_config`` cannot be used."""
        self._ssl = tls_context(self._job.http.tls)
        connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=KEEP_ALIVE_S, ssl=self._ssl)
        self._session = aiohttp.ClientSession(
            connector=connector, auto_decompress=False, headers=_headers(self._job)
        )

    async def close(self) -> None:
        if self._session:
            await self._session.close()

    async def fetch(self, target: Target) -> Fetched:
        """Raises ``FetchError`` with the reason, within the time-out of the target."""
        try:
            return await self._get(target)
        except TimeoutError:
            raise FetchError(f"no complete answer within {target.timeout_s:g} s") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise FetchError(f"{type(error).__name__}: {error}") from None

    async def _get(self, target: Target) -> Fetched:
        if self._session is None:
            raise FetchError("the client is not open")
        headers = {"X-Prometheus-Scrape-Timeout-Seconds": f"{target.timeout_s:g}"} | authorization(
            self._job.http
        )
        async with self._session.get(
            URL(target.url, encoded=True),
            headers=headers,
            timeout=aiohttp.ClientTimeout(total=target.timeout_s),
            allow_redirects=self._job.http.follow_redirects,
            server_hostname=self._job.http.tls.server_name or None,
        ) as response:
            if response.status != 200:
                raise FetchError(f"server returned HTTP status {response.status} {response.reason}")
            body = await self._body(response)
            return Fetched(body, response.headers.get("Content-Type", ""))

    async def _body(self, response: aiohttp.ClientResponse) -> bytes:
        encoding = response.headers.get("Content-Encoding", "").strip().lower()
        if encoding not in ("", "identity", "gzip"):
            raise Unsupported("unknown_encoding", f"the target sends Content-Encoding {encoding!r}")
        plain = Unpacked(self._max_body_bytes, packed=encoding == "gzip")
        async for chunk in response.content.iter_chunked(CHUNK_BYTES):
            plain.feed(chunk)
        return plain.close()


class Unpacked:
    """Chunks of a body as they were before ``Content-Encoding: gzip``, up to a limit."""

    def __init__(self, max_bytes: int, packed: bool) -> None:
        self._left_bytes = self._max_bytes = max_bytes
        self._inflate = zlib.decompressobj(31) if packed else None
        self._parts: list[bytes] = []

    def feed(self, chunk: bytes) -> None:
        """Raises ``TooLarge`` past the limit, ``Malformed`` where the chunk is not gzip."""
        if self._inflate:
            try:
                chunk = self._inflate.decompress(chunk, self._left_bytes + 1)
            except zlib.error as error:
                raise Malformed("bad_gzip", f"the body is not gzip: {error}") from None
        self._left_bytes -= len(chunk)
        if self._left_bytes < 0:
            raise TooLarge("body_size_limit", f"body size limit exceeded: more than {self._max_bytes} bytes")
        self._parts.append(chunk)

    def close(self) -> bytes:
        if self._inflate and not self._inflate.eof:
            raise Malformed("truncated_gzip", "the gzip body ends too early")
        return b"".join(self._parts)


def authorization(http: HttpConfig) -> dict[str, str]:
    """The header that shows who asks. Raises ``FetchError`` where the file of a secret cannot be read."""
    found = http.credentials
    if found is None:
        return {}
    secret = _secret(found)
    if found.kind == "Basic":
        shown = base64.b64encode(f"{found.username}:{secret}".encode()).decode()
        return {"Authorization": f"Basic {shown}"}
    return {"Authorization": f"{found.kind} {secret}"}


def _secret(found: Credentials) -> str:
    if not found.secret_file:
        return found.secret.reveal()
    try:
        return Path(found.secret_file).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise FetchError(f"cannot read the secret in {found.secret_file}: {type(error).__name__}") from None


def tls_context(tls: TlsConfig) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=tls.ca_file or None)
    if tls.cert_file:
        context.load_cert_chain(tls.cert_file, tls.key_file or None)
    if tls.insecure_skip_verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _headers(job: JobConfig) -> dict[str, str]:
    return {
        "Accept": accept_header(job.protocols),
        "Accept-Encoding": "gzip" if job.compression else "identity",
        "User-Agent": f"kubechat-obs/{VERSION}",
    }
