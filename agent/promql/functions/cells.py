"""Where an instant vector has a sample, float or native histogram."""

from __future__ import annotations

import numpy as np

from agent.promql.values import Matrix
from agent.telemetry.frames import Bool


def occupied(matrix: Matrix) -> Bool:
    """Of shape ``(series, steps)``; not to be written to."""
    if matrix.histogram is None:
        return matrix.present
    held = np.fromiter((cell is not None for cell in matrix.histogram.flat), np.bool_)
    return np.logical_or(matrix.present, held.reshape(matrix.present.shape))
