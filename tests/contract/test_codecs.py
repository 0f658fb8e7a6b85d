"""What holds for the decoder of every signal."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.errors import Malformed
from agent.telemetry.batch import BLOCK_COLUMNS, Batch, columns, take_blocks
from agent.telemetry.wire import BAD_TYPE, ERRORS, TOO_DEEP, WRONG_TYPE
from tests.contract.otlp_bodies import BODIES
from tests.contract.otlp_reference import CODECS, Codec, package_takes

# Where the kernels are stricter than the protobuf package, on purpose (agent/telemetry/wire.py).
STRICTER = tuple(ERRORS[error] for error in (WRONG_TYPE, BAD_TYPE, TOO_DEEP))

every_codec = pytest.mark.parametrize("codec", CODECS.values(), ids=list(CODECS))
mutations = st.lists(st.tuples(st.integers(0, 1 << 20), st.integers(0, 255)), min_size=1, max_size=4)


def mutated(body: bytes, changes: list[tuple[int, int]]) -> bytes:
    changed = bytearray(body)
    for position, value in changes:
        changed[position % len(changed)] = value
    return bytes(changed)


def assert_inside(batch: Batch) -> None:
    """Every offset and length leads into the bytes."""
    arrays = columns(batch)
    for name, off in arrays.items():
        if name.endswith("off"):
            length = arrays[name.removesuffix("off") + "len"]
            assert (off >= 0).all()
            assert (length >= 0).all()
            assert (off + length <= len(batch.raw)).all()


def assert_agrees(codec: Codec, body: bytes) -> None:
    """The kernels take what the package takes and refuse what it refuses, but for STRICTER."""
    if not package_takes(codec, body):
        with pytest.raises(Malformed):
            codec.decode(body)
        return
    try:
        assert_inside(codec.decode(body))
    except Malformed as refused:
        if not refused.message.startswith(STRICTER):
            raise


@every_codec
def test_reads_what_the_sdk_writes(codec: Codec) -> None:
    body = BODIES[codec.signal]
    batch = codec.decode(body)
    expected = codec.expected(codec.request.FromString(body))
    assert len(expected) > 1
    assert codec.rows(batch) == expected
    assert not batch.reject.any()


@every_codec
def test_every_truncation_is_judged_like_the_package_does(codec: Codec) -> None:
    body = BODIES[codec.signal]
    for size in range(len(body)):
        assert_agrees(codec, body[:size])


@every_codec
@given(body=st.binary(max_size=200))
def test_random_bytes(codec: Codec, body: bytes) -> None:
    assert_agrees(codec, body)


@every_codec
@given(changes=mutations)
def test_mutated_bodies(codec: Codec, changes: list[tuple[int, int]]) -> None:
    assert_agrees(codec, mutated(BODIES[codec.signal], changes))


@every_codec
def test_bodies_end_to_end_are_one_request(codec: Codec) -> None:
    body = BODIES[codec.signal]
    batch, twice = codec.decode(body), codec.decode(body + body)
    assert len(twice) == 2 * len(batch)
    again = take_blocks(twice, np.arange(len(batch.block_off), 2 * len(batch.block_off)))
    assert codec.rows(again) == codec.rows(batch)


@every_codec
def test_columns_are_equally_long_and_contiguous(codec: Codec) -> None:
    batch = codec.decode(BODIES[codec.signal])
    for name, column in columns(batch).items():
        assert column.flags.c_contiguous, name
        assert name in {"raw", *BLOCK_COLUMNS} or len(column) == len(batch), name


def test_no_kernel_reads_out_of_bounds() -> None:
    """The same source without the compiler, where NumPy checks every index."""
    environment = {**os.environ, "NUMBA_DISABLE_JIT": "1"}
    command = [sys.executable, "-W", "ignore", "-m", "tests.contract.interpreted_kernels"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr
