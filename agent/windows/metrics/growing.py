"""A column that grows at its end; a view taken of it stays what it was."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

FIRST_ROWS = 256


class Growing:
    def __init__(self, dtype: np.dtype[Any]) -> None:
        self._rows = np.empty(FIRST_ROWS, dtype)
        self._count = 0

    def __len__(self) -> int:
        return self._count

    @property
    def nbytes(self) -> int:
        return self._rows.nbytes

    def view(self) -> npt.NDArray[Any]:
        """The rows so far; nobody writes into them any more."""
        return self._rows[: self._count]

    def extend(self, rows: npt.NDArray[Any]) -> None:
        wanted = self._count + len(rows)
        if wanted > len(self._rows):
            grown = np.empty(max(wanted, len(self._rows) * 3 // 2), self._rows.dtype)
            grown[: self._count] = self._rows[: self._count]
            self._rows = grown
        self._rows[self._count : wanted] = rows
        self._count = wanted
