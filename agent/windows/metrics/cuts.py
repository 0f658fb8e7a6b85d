"""Where the samples of a window are cut into blocks.

Blocks end at multiples of ``block_ms``. Where many series bring so many samples that much less time compresses about as
well, they end at multiples of a half, a quarter or an eighth of it too: the head is smaller then by more than the
additional files take, and less must be applied again after a restart. Each of these cuts is one of the finer ones as
well, so that the rate may change at any time and two cuts are never closer than an eighth.
"""

from __future__ import annotations

MOST_PARTS = 8
# A part brings a series so many samples at least. Of counters scraped each second a sample takes 0.358 bytes on the
# disk in blocks of 900 samples a series, 0.365 in such of 480, 0.381 in such of 240 and 0.413 in such of 120.
ENOUGH_SAMPLES = 240
# And so many in all, 67 MB of the head: each block that is kept takes an open file and 45 KB of memory, 65 MB for the 1,440
# that fifteen days have more by each part; and to write them more often takes 20 ns of processor time a sample more,
# since what the head keeps is walked over each time.
LEAST_SAMPLES = 5 << 20


def parts_of_block(samples: float, series: int) -> int:
    """Into how many parts a block is divided in whose event time so many series bring so many samples each, on
    average."""
    parts = 1
    while (
        parts < MOST_PARTS
        and samples >= 2 * parts * ENOUGH_SAMPLES
        and samples * series >= 2 * parts * LEAST_SAMPLES
    ):
        parts *= 2
    return parts


def cut_before(time_ms: int, block_ms: int, parts: int) -> int:
    """The last cut that is not behind a time, where blocks are divided into so many parts. What ``block_ms`` has
    beyond eight eighths belongs to the last one."""
    start_ms = time_ms // block_ms * block_ms
    part_ms = block_ms // MOST_PARTS * (MOST_PARTS // parts)
    return start_ms + min((time_ms - start_ms) // part_ms, parts - 1) * part_ms
