"""Loading the kernels."""

from agent.windows.metrics import chunks, labelscan, sealed
from agent.windows.metrics.loading import load_kernels


def test_the_kernels_of_every_way_are_loaded() -> None:
    load_kernels()
    for kernel in (chunks.append, chunks.copy_between, chunks.free_before, labelscan.matching, sealed._copy):
        assert kernel.signatures
