from __future__ import annotations

from typing import Any

from agent.rootcause import digest, hashing, sequences, trees, warmup


def test_compiles_every_kernel() -> None:
    warmup.warm_up()
    kernels: list[Any] = [
        trees._link,
        trees._align,
        trees._self_times,
        sequences._owners,
        sequences._events,
        sequences._emit,
        digest._thin,
        hashing.mix_columns,
    ]
    assert all(kernel.signatures for kernel in kernels)
