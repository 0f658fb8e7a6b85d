"""Loading the kernels."""

from agent.windows.metrics import chunkreads, chunks, decimals, head, labelscan, retention, sealed
from agent.windows.metrics.loading import load_kernels


def test_the_kernels_of_every_way_are_loaded() -> None:
    load_kernels()
    kernels = (chunks.append, chunkreads.copy_between, chunks.free_before, labelscan.matching, sealed._copy)
    sealing = (
        chunkreads.any_between,
        chunkreads.take_between,
        decimals.split,
        decimals.take_differences,
        decimals.join,
    )
    for kernel in (*kernels, *sealing, head._free_below, retention._drop_older):
        assert kernel.signatures
