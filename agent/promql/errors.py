"""Why a query has no answer, by the error types of Prometheus' HTTP API.

QueryError
├── ParseError        ``bad_data``: the text is not a query; carries its position
├── ExecutionError    ``execution``: the query means something that cannot be computed
│   └── QueryLimit    ``execution``: it would touch more samples, series or steps than allowed
├── QueryTimeout      ``timeout``: it took longer than allowed
└── QueryCanceled     ``canceled``: whoever asked does not want to know any more
"""

from __future__ import annotations

from agent.errors import ObservabilityError

TOO_MANY_SAMPLES = "query processing would load too many samples into memory in query execution"


class QueryError(ObservabilityError):
    """``kind`` is the ``errorType`` of the HTTP API, the message its ``error``."""

    kind = "execution"


class ParseError(QueryError):
    """``position`` is the byte of the query text at which the error lies; the message begins with
    line and column as Prometheus writes them."""

    kind = "bad_data"

    def __init__(self, message: str, query: str = "", position: int = 0) -> None:
        place = f"{line_and_column(query, position)}: " if query else ""
        super().__init__(f"{place}parse error: {message}")
        self.message, self.query, self.position = message, query, position

    def __reduce__(self) -> tuple[type[ParseError], tuple[str, str, int]]:
        return type(self), (self.message, self.query, self.position)


def too_deep(levels: int, query: str, position: int = 0) -> ParseError:
    return ParseError(f"nesting is too deep: at most {levels} levels are accepted", query, position)


class ExecutionError(QueryError):
    pass


class QueryLimit(ExecutionError):
    pass


class QueryTimeout(QueryError):
    kind = "timeout"

    def __init__(self, message: str = "query timed out in expression evaluation") -> None:
        super().__init__(message)


class QueryCanceled(QueryError):
    kind = "canceled"

    def __init__(self, message: str = "query was canceled in expression evaluation") -> None:
        super().__init__(message)


def line_and_column(query: str, position: int) -> str:
    """``line:column`` of a character of the query, both from 1; columns count bytes of UTF-8."""
    before = query[:position]
    line_start = before.rfind("\n") + 1
    column = len(before[line_start:].encode("utf-8", "surrogateescape")) + 1
    return f"{before.count(chr(10)) + 1}:{column}"
