"""The layer's API as the terminal calls it: JSON in, JSON out, errors in words."""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

import aiohttp
import orjson

from agent.errors import ObservabilityError

CONNECT_S = 5.0


class Unreachable(ObservabilityError):
    """Nobody answers at the address."""

    def __init__(self, url: str, why: str = "") -> None:
        super().__init__(
            f"the layer does not answer at {url}; start it with `kubechat-obs up`, or name another place with --url"
            + (f" ({why})" if why else "")
        )


class Refused(ObservabilityError):
    """The layer answered with an error."""

    def __init__(self, status: int, code: str, message: str, hint: str = "") -> None:
        super().__init__(f"{message}\n{hint}" if hint else message)
        self.status, self.code, self.message, self.hint = status, code, message, hint


class Client:
    def __init__(self, url: str, token: str = "", tenant: str = "", timeout_s: float = 60.0) -> None:
        self.url = url.rstrip("/")
        self.headers = {"Authorization": f"Bearer {token}"} if token else {}
        if tenant:
            self.headers["X-Scope-OrgID"] = tenant
        self._timeout = aiohttp.ClientTimeout(total=timeout_s, sock_connect=CONNECT_S)
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(headers=self.headers, timeout=self._timeout)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()

    async def get(self, path: str, **query: str) -> Any:
        return await self._call("GET", path, params=query)

    async def post(self, path: str, body: Mapping[str, Any]) -> Any:
        return await self._call("POST", path, json=body)

    async def post_form(self, path: str, form: Mapping[str, str]) -> Any:
        return await self._call("POST", path, data=form)

    async def _call(self, method: str, path: str, **options: Any) -> Any:
        if self._session is None:
            raise RuntimeError("use the client in `async with`")
        try:
            async with self._session.request(method, self.url + path, **options) as response:
                return _read(response.status, await response.read(), self.url)
        except aiohttp.InvalidURL:
            raise Unreachable(self.url, "that is not an address such as http://127.0.0.1:8400") from None
        except TimeoutError:
            raise Unreachable(self.url, "no answer in time") from None
        except aiohttp.ClientError as error:
            raise Unreachable(self.url, str(error)) from None


def _read(status: int, body: bytes, url: str) -> Any:
    try:
        reply = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise Unreachable(url, f"what answers there ({status}) is not the layer") from None
    if status >= 400 and isinstance(reply, dict) and isinstance(reply.get("error"), dict):
        error = reply["error"]
        raise Refused(status, str(error.get("code")), str(error.get("message")), str(error.get("hint", "")))
    if status >= 400 and isinstance(reply, dict) and "errorType" in reply:  # as Prometheus says it
        raise Refused(status, str(reply["errorType"]), str(reply.get("error", "")))
    return reply
