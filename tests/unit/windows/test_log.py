"""The write-ahead log: order, torn ends, trimming."""

import os
import tempfile
from pathlib import Path

import numpy as np
import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.errors import CorruptLog, NotFound, SettingsError
from agent.windows import record
from agent.windows.log import LogReader, LogWriter, segments

SEGMENT_BYTES = 1 << 14


def entry(number: int, size: int = 100) -> list[bytes | memoryview]:
    columns: dict[str, record.Column] = {
        "raw": np.full(size, number % 256, np.uint8),
        "id": np.asarray([number], np.int64),
    }
    return record.encode("spans", "default", 1, number, columns)


def written(folder: Path, count: int, size: int = 100) -> LogWriter:
    writer = LogWriter(folder, SEGMENT_BYTES)
    for number in range(count):
        writer.append(entry(number, size))
    writer.sync()
    return writer


def numbers(folder: Path, start: int = 0) -> list[int]:
    reader = LogReader(folder)
    return [int(r.columns["id"][0]) for r in reader.read(max(start, reader.start()), reader.end())]


def test_records_come_back_in_order_over_segments(tmp_path: Path) -> None:
    written(tmp_path, 200)
    assert len(segments(tmp_path)) > 1
    assert numbers(tmp_path) == list(range(200))


def test_reading_from_a_position_gives_what_follows(tmp_path: Path) -> None:
    writer = LogWriter(tmp_path, SEGMENT_BYTES)
    positions = [writer.append(entry(number)) for number in range(5)]
    assert numbers(tmp_path, positions[2]) == [3, 4]


def test_a_reader_sees_what_is_appended_later(tmp_path: Path) -> None:
    writer = written(tmp_path, 2)
    reader = LogReader(tmp_path)
    seen = writer.position
    assert len(list(reader.read(0, seen))) == 2
    writer.append(entry(2))
    assert [int(r.columns["id"][0]) for r in reader.read(seen, writer.position)] == [2]


def test_released_pages_leave_the_memory_and_are_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.windows.log.RELEASE_BYTES", 1 << 20)
    writer = written(tmp_path, 5, 1 << 20)
    reader, process = LogReader(tmp_path), psutil.Process()
    raw = [one.columns["raw"] for one in reader.read(0, writer.position)]
    assert sum(int(one.sum()) for one in raw) == 10 << 20
    mapped = process.memory_info().shared
    reader.release(writer.position)
    assert mapped - process.memory_info().shared > 4 << 20
    assert sum(int(one.sum()) for one in raw) == 10 << 20


def test_a_reader_knows_at_once_how_far_the_log_is_synced(tmp_path: Path) -> None:
    reader, writer = LogReader(tmp_path), LogWriter(tmp_path, SEGMENT_BYTES)
    assert reader.durable() == 0
    position = writer.append(entry(1))
    assert reader.durable() == 0
    writer.sync()
    assert reader.durable() == position


def test_a_new_writer_tells_where_the_log_really_ends(tmp_path: Path) -> None:
    writer = written(tmp_path, 3)
    kept = writer.position
    writer._durable[0] = kept + 100
    writer.close()
    LogWriter(tmp_path, SEGMENT_BYTES).close()
    assert LogReader(tmp_path).durable() == kept


@pytest.mark.parametrize("cut", [1, 20, 60, 150])
def test_a_torn_end_is_cut_off_and_overwritten(tmp_path: Path, cut: int) -> None:
    writer = written(tmp_path, 10)
    base, path = segments(tmp_path)[-1]
    torn = writer.position - base - cut
    writer.close()
    with path.open("r+b") as file:
        file.seek(torn)
        file.write(b"\xff" * cut)
    again = LogWriter(tmp_path, SEGMENT_BYTES)
    assert numbers(tmp_path) == list(range(9))
    again.append(entry(77))
    assert numbers(tmp_path) == [*range(9), 77]


def test_a_record_larger_than_a_segment_gets_its_own(tmp_path: Path) -> None:
    writer = written(tmp_path, 1, size=5 * SEGMENT_BYTES)
    writer.append(entry(1))
    assert numbers(tmp_path) == [0, 1]


def test_trim_keeps_what_a_position_needs(tmp_path: Path) -> None:
    writer = written(tmp_path, 300)
    reader = LogReader(tmp_path)
    middle = segments(tmp_path)[1][0] + 10
    assert reader.trim(middle) == 1
    assert reader.start() == segments(tmp_path)[0][0] > 0
    assert reader.trim(writer.position) > 0
    assert len(segments(tmp_path)) == 1


def test_bytes_at_gives_the_raw_bytes_or_says_they_are_gone(tmp_path: Path) -> None:
    writer = written(tmp_path, 300)
    reader = LogReader(tmp_path)
    last = list(reader.read(segments(tmp_path)[-1][0], writer.position))[-1]
    assert bytes(reader.bytes_at(last.column_at["raw"], 4)) == bytes([299 % 256] * 4)
    reader.trim(writer.position)
    with pytest.raises(NotFound):
        reader.bytes_at(0, 4)


def test_foreign_bytes_are_named_with_their_position(tmp_path: Path) -> None:
    writer = written(tmp_path, 3)
    with pytest.raises(CorruptLog, match="no record at position 8"):
        list(LogReader(tmp_path).read(8, writer.position))


def test_a_writer_goes_on_where_the_last_one_stopped(tmp_path: Path) -> None:
    written(tmp_path, 3).close()
    writer = LogWriter(tmp_path, SEGMENT_BYTES)
    writer.append(entry(3))
    assert numbers(tmp_path) == [0, 1, 2, 3]


@given(st.lists(st.integers(0, 3000), min_size=1, max_size=20))
def test_any_sizes_survive_the_way_through_the_file(sizes: list[int]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        writer = LogWriter(Path(folder), SEGMENT_BYTES)
        for number, size in enumerate(sizes):
            writer.append(entry(number, size))
        reader = LogReader(Path(folder))
        found = list(reader.read(0, writer.position))
        assert [len(r.columns["raw"]) for r in found] == sizes
        assert reader.end() == writer.position
        writer.close()


def test_files_are_for_the_owner_alone(tmp_path: Path) -> None:
    written(tmp_path, 1)
    assert os.stat(segments(tmp_path)[0][1]).st_mode & 0o077 == 0  # noqa: PTH116


def test_a_folder_has_one_writer(tmp_path: Path) -> None:
    first = written(tmp_path, 2)
    with pytest.raises(SettingsError, match="no other running layer uses"):
        LogWriter(tmp_path, SEGMENT_BYTES)
    assert numbers(tmp_path) == [0, 1]
    first.close()
    LogWriter(tmp_path, SEGMENT_BYTES).append(entry(2))
    assert numbers(tmp_path) == [0, 1, 2]


@pytest.mark.parametrize("refused", ["ftruncate", "fsync", "open"])
def test_a_disk_that_refuses_a_new_segment_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refused: str
) -> None:
    writer = written(tmp_path, 2)

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, refused, full)
        for _ in range(2):
            with pytest.raises(OSError, match="No space left"):
                writer.append(entry(2, 2 * SEGMENT_BYTES))
    writer.append(entry(2, 2 * SEGMENT_BYTES))
    writer.append(entry(3))
    writer.sync()
    assert numbers(tmp_path) == [0, 1, 2, 3]


def test_a_small_record_after_a_refused_segment_is_not_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = written(tmp_path, 2)
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", lambda *_: (_ for _ in ()).throw(OSError(5, "Input/output error")))
        with pytest.raises(OSError, match="Input/output"):
            writer.append(entry(2, 2 * SEGMENT_BYTES))
    writer.append(entry(3))
    assert numbers(tmp_path) == [0, 1, 3]


@pytest.mark.parametrize("before", [0, 3])
def test_a_segment_without_a_size_is_empty(tmp_path: Path, before: int) -> None:
    writer = written(tmp_path, before)
    writer.close()
    (tmp_path / f"{writer.position:020d}.wal").touch()
    assert numbers(tmp_path) == list(range(before))
    assert LogReader(tmp_path).end() == writer.position
    again = LogWriter(tmp_path, SEGMENT_BYTES)
    again.append(entry(before))
    assert numbers(tmp_path) == list(range(before + 1))


def test_bytes_of_a_segment_that_is_trimmed_meanwhile_are_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written(tmp_path, 3)
    found = segments(tmp_path)
    found[-1][1].unlink()
    monkeypatch.setattr("agent.windows.log.segments", lambda _: found)
    with pytest.raises(NotFound):
        LogReader(tmp_path).bytes_at(0, 4)
