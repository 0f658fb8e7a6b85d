"""The lowest position of the log that is needed."""

from agent.windows.metrics.positions import STRETCH_BYTES, LogPositions


def test_definitions_reach_back_behind_the_record() -> None:
    positions = LogPositions()
    positions.add(100, 40, 1000)
    assert positions.low == 40


def test_what_is_dropped_is_not_needed_but_the_newest_definitions_are() -> None:
    positions = LogPositions()
    positions.add(100, 40, 1000)
    positions.add(100 + STRETCH_BYTES, 90, 2000)
    positions.drop_before(1500)
    assert positions.low == 90
    positions.drop_before(5000)
    assert positions.low == 90


def test_nothing_is_needed_at_first() -> None:
    assert LogPositions().low is None


def test_records_without_samples_need_nothing_but_definitions() -> None:
    positions = LogPositions()
    positions.add(100, 100, None)
    assert positions.low == 100
    positions.add(200, 200, None)
    assert positions.low == 200


def test_a_record_that_defines_its_series_itself_moves_no_generation() -> None:
    positions = LogPositions()
    positions.add(100, 90, None)
    positions.add(5 * STRETCH_BYTES, None, 1000)
    assert (positions.low, positions.defined_since) == (90, 90)
