"""Parts of a moment in UTC, and ``timestamp``.

The calendar is the proleptic Gregorian one. Days are counted in 64 bits without sign from 1 January of the year
-292277022399, as Go's ``time`` did, so that all seconds that a float can be turned into have a date.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from agent.promql.functions.cells import occupied
from agent.promql.functions.elementwise import mapped, vector_of
from agent.promql.functions.kinds import Argument, Body, Call, Function, Result
from agent.promql.functions.scalars import single_row
from agent.promql.values import Matrix
from agent.telemetry.frames import F64, I64, U64

_DAY_S = np.uint64(86_400)
_ZERO_YEAR = -292_277_022_399  # leaves 1 when divided by 400, so that the leap years fall as from year 1
_UNIX_AFTER_ZERO_S = np.uint64(9_223_371_966_579_724_800 + 62_135_596_800)
_DAYS_BEFORE = np.cumsum([0, 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30])
_LENGTHS: F64 = np.diff(np.append(_DAYS_BEFORE, 365)).astype(np.float64)

DatePart = Callable[[U64], F64]
"""From seconds since the zero year to a number."""


def seconds_of(value: F64) -> U64:
    """Seconds since the zero year of Unix seconds; what no 64-bit integer holds (NaN, too) becomes the
    smallest one, as the processor does it."""
    with np.errstate(invalid="ignore"):
        return value.astype(np.int64).view(np.uint64) + _UNIX_AFTER_ZERO_S


def _days(seconds: U64) -> tuple[I64, I64, I64]:
    """``(year, day of the year from 0, whether it is a leap year)``."""
    days = (seconds // _DAY_S).astype(np.int64)
    year = days // 146_097 * 400
    days = days % 146_097
    century = np.minimum(days // 36_524, 3)
    days -= century * 36_524
    four = np.minimum(days // 1_461, 24)
    days -= four * 1_461
    one = np.minimum(days // 365, 3)
    days -= one * 365
    year = year + century * 100 + four * 4 + one + _ZERO_YEAR
    leap = ((one == 3) & ((four != 24) | (century == 3))).astype(np.int64)
    return year, days, leap


def _month(seconds: U64) -> tuple[I64, I64, I64]:
    """``(month from 1, day from 1, whether the year is a leap year)``."""
    _, day, leap = _days(seconds)
    after_leap_day = (leap == 1) & (day > 59)
    common = day - after_leap_day
    month = np.searchsorted(_DAYS_BEFORE, common, side="right")
    day = common - _DAYS_BEFORE[month - 1] + 1
    is_leap_day = (leap == 1) & (_days(seconds)[1] == 59)
    return np.where(is_leap_day, 2, month), np.where(is_leap_day, 29, day), leap


def _days_in_month(seconds: U64) -> F64:
    month, _, leap = _month(seconds)
    return np.asarray(_LENGTHS[month - 1] + ((month == 2) & (leap == 1)), np.float64)


def _clock(unit_s: int, modulus: int) -> DatePart:
    def part(seconds: U64) -> F64:
        return (seconds // np.uint64(unit_s) % np.uint64(modulus)).astype(np.float64)

    return part


def _day_of_week(seconds: U64) -> F64:
    return ((seconds // _DAY_S + np.uint64(1)) % np.uint64(7)).astype(np.float64)  # day 0 is a Monday


def _dated(part: DatePart) -> Body:
    def body(call: Call, arguments: Sequence[Argument]) -> Result:
        if not arguments:
            return single_row(part(seconds_of(np.trunc(call.grid.times / 1000))))
        return mapped(vector_of(arguments), lambda value: part(seconds_of(value)))

    return body


def _timestamp(call: Call, arguments: Sequence[Argument]) -> Result:
    """The time of the step for every sample. The argument of a plain selector carries the times of its
    samples, which a matrix does not have: whoever evaluates that selects the times instead."""
    vector = vector_of(arguments)
    present = occupied(vector)
    value = np.tile(call.grid.times / 1000, (len(vector), 1))
    return Matrix(vector.labels, value, present, None, vector.drop_name)


TIMES = {
    "timestamp": Function(_timestamp),
    "minute": Function(_dated(_clock(60, 60))),
    "hour": Function(_dated(_clock(3600, 24))),
    "day_of_week": Function(_dated(_day_of_week)),
    "day_of_month": Function(_dated(lambda seconds: _month(seconds)[1].astype(np.float64))),
    "day_of_year": Function(_dated(lambda seconds: (_days(seconds)[1] + 1).astype(np.float64))),
    "days_in_month": Function(_dated(_days_in_month)),
    "month": Function(_dated(lambda seconds: _month(seconds)[0].astype(np.float64))),
    "year": Function(_dated(lambda seconds: _days(seconds)[0].astype(np.float64))),
}
