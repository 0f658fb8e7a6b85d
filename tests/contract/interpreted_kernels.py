"""Runs the kernels as plain Python over truncated and mutated bodies; any index out of bounds raises.

Started by ``test_codecs`` with NUMBA_DISABLE_JIT=1, which must be set before the kernels are imported.
"""

from __future__ import annotations

import os
import random

from agent.errors import Malformed
from tests.contract.otlp_bodies import BODIES
from tests.contract.otlp_reference import CODECS

ROUNDS = 500


def main() -> None:
    if os.environ.get("NUMBA_DISABLE_JIT") != "1":
        raise SystemExit("set NUMBA_DISABLE_JIT=1: compiled kernels do not check their indices")
    chance = random.Random(20)
    for signal, codec in CODECS.items():
        body = BODIES[signal]
        assert codec.rows(codec.decode(body)) == codec.expected(codec.request.FromString(body))
        for _ in range(ROUNDS):
            changed = bytearray(body[: chance.choice((len(body), chance.randrange(len(body))))])
            for _ in range(chance.randrange(3) if changed else 0):
                changed[chance.randrange(len(changed))] = chance.randrange(256)
            try:
                codec.decode(bytes(changed))
            except Malformed:
                continue


if __name__ == "__main__":
    main()
