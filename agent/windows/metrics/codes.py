"""Looking at what a column of codes says of the series of a record, without making arrays for it."""

from __future__ import annotations

from numba import njit


@njit(cache=True, nogil=True)
def all_have(column, series, code):  # type: ignore[no-untyped-def]
    """Whether all of these ids have that code; negative ones are passed over."""
    for i in range(len(series)):  # noqa: SIM110 -- Numba knows no generators
        if series[i] >= 0 and column[series[i]] != code:
            return False
    return True


@njit(cache=True, nogil=True)
def some_have(column, series, code):  # type: ignore[no-untyped-def]
    """Whether one of these ids has that code; negative ones are passed over."""
    for i in range(len(series)):  # noqa: SIM110 -- Numba knows no generators
        if series[i] >= 0 and column[series[i]] == code:
            return True
    return False
