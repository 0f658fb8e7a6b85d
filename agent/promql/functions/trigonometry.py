"""Trigonometric and hyperbolic functions; angles are radians."""

from __future__ import annotations

import math

import numpy as np

from agent.promql.functions.elementwise import elementwise
from agent.promql.functions.kinds import Function

TRIGONOMETRY = {
    "sin": Function(elementwise(np.sin)),
    "cos": Function(elementwise(np.cos)),
    "tan": Function(elementwise(np.tan)),
    "asin": Function(elementwise(np.arcsin)),
    "acos": Function(elementwise(np.arccos)),
    "atan": Function(elementwise(np.arctan)),
    "sinh": Function(elementwise(np.sinh)),
    "cosh": Function(elementwise(np.cosh)),
    "tanh": Function(elementwise(np.tanh)),
    "asinh": Function(elementwise(np.arcsinh)),
    "acosh": Function(elementwise(np.arccosh)),
    "atanh": Function(elementwise(np.arctanh)),
    "deg": Function(elementwise(lambda value: value * 180 / math.pi)),
    "rad": Function(elementwise(lambda value: value * math.pi / 180)),
}
