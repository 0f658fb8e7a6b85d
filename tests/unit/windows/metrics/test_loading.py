"""Loading the kernels."""

from agent.windows.metrics import chunks, head, labelscan, retention, sealed
from agent.windows.metrics.loading import load_kernels


def test_the_kernels_of_every_way_are_loaded() -> None:
    load_kernels()
    kernels = (chunks.append, chunks.copy_between, chunks.free_before, labelscan.matching, sealed._copy)
    for kernel in (*kernels, head._free_below, retention._drop_older):
        assert kernel.signatures
