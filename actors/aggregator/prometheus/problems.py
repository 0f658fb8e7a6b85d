"""Errors as Prometheus' API says them: a type, a text, and the status that belongs to the type."""

from __future__ import annotations

from enum import StrEnum

from aiohttp import web

from actors.aggregator.problems import refusal_of
from agent.errors import BadInput, NotFound, ObservabilityError, Overloaded
from agent.promql.errors import QueryError


class ErrorType(StrEnum):
    BAD_DATA = "bad_data"
    EXECUTION = "execution"
    TIMEOUT = "timeout"
    CANCELED = "canceled"
    INTERNAL = "internal"
    UNAVAILABLE = "unavailable"
    NOT_FOUND = "not_found"


CLIENT_CLOSED = 499  # nginx' number, which Prometheus uses as well
STATUS = {
    ErrorType.BAD_DATA: 400,
    ErrorType.EXECUTION: 422,
    ErrorType.TIMEOUT: 503,
    ErrorType.CANCELED: CLIENT_CLOSED,
    ErrorType.INTERNAL: 500,
    ErrorType.UNAVAILABLE: 503,
    ErrorType.NOT_FOUND: 404,
}


class ApiError(ObservabilityError):
    """A request that is answered with an error."""

    def __init__(self, kind: ErrorType, message: str) -> None:
        super().__init__(message)
        self.kind, self.message = kind, message

    def __reduce__(self) -> tuple[type[ApiError], tuple[ErrorType, str]]:
        return type(self), (self.kind, self.message)


def bad_data(message: str) -> ApiError:
    return ApiError(ErrorType.BAD_DATA, message)


def invalid_parameter(name: str, message: str) -> ApiError:
    return bad_data(f'invalid parameter "{name}": {message}')


def api_error_of(error: Exception) -> ApiError:
    """What a client is told. What is not known here is ours: its text stays inside."""
    match error:
        case ApiError():
            return error
        case QueryError():
            return ApiError(ErrorType(error.kind), str(error))
        case BadInput():
            return bad_data(error.message)
        case NotFound():
            return ApiError(ErrorType.NOT_FOUND, str(error))
        case Overloaded():
            return ApiError(ErrorType.UNAVAILABLE, error.message)
        case TimeoutError():
            return ApiError(ErrorType.TIMEOUT, "query timed out in expression evaluation")
        case web.HTTPException():
            return bad_data(error.text or error.reason)
    return ApiError(ErrorType.INTERNAL, refusal_of(error).problem.message)


def status_and_headers(error: Exception) -> tuple[int, dict[str, str]]:
    """The status, and those headers that tell a client what to do next."""
    if isinstance(error, web.HTTPException | Overloaded):
        refusal = refusal_of(error)
        return refusal.status, dict(refusal.headers)
    return STATUS[api_error_of(error).kind], {}
