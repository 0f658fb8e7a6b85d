"""What compiled kernels cannot say in Python: eight bytes at once, the upper half of a product, leading zeros.

``load8`` and ``store8`` move eight bytes from and to any place of a byte array, without a check: the array must
go on for eight bytes from there. The lowest byte of a word is the first in memory.
"""

from __future__ import annotations

import sys
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

if sys.byteorder != "little":
    raise ImportError("the kernels that write JSON want a little-endian processor")

_WORD, _WIDE = ir.IntType(64), ir.IntType(128)


def _high_product(typing, a, b):  # type: ignore[no-untyped-def]
    """The upper 64 bits of the product of two unsigned 64-bit numbers."""

    def generate(context, builder, signature, args):  # type: ignore[no-untyped-def]
        product = builder.mul(builder.zext(args[0], _WIDE), builder.zext(args[1], _WIDE))
        return builder.trunc(builder.lshr(product, ir.Constant(_WIDE, 64)), _WORD)

    return types.uint64(types.uint64, types.uint64), generate


def _leading_zeros(typing, a):  # type: ignore[no-untyped-def]
    """Of an unsigned 64-bit number; 64 of 0."""

    def generate(context, builder, signature, args):  # type: ignore[no-untyped-def]
        return builder.ctlz(args[0], ir.Constant(ir.IntType(1), 0))

    return types.uint64(types.uint64), generate


def _trailing_zeros(typing, a):  # type: ignore[no-untyped-def]
    """Of an unsigned 64-bit number; 64 of 0."""

    def generate(context, builder, signature, args):  # type: ignore[no-untyped-def]
        return builder.cttz(args[0], ir.Constant(ir.IntType(1), 0))

    return types.uint64(types.uint64), generate


def _load8(typing, source, pos):  # type: ignore[no-untyped-def]
    def generate(context, builder, signature, args):  # type: ignore[no-untyped-def]
        word = builder.load(_place(context, builder, signature, args))
        word.align = 1
        return word

    return types.uint64(source, types.int64), generate


def _store8(typing, out, pos, word):  # type: ignore[no-untyped-def]
    def generate(context, builder, signature, args):  # type: ignore[no-untyped-def]
        stored = builder.store(args[2], _place(context, builder, signature, args))
        stored.align = 1
        return context.get_dummy_value()

    return types.none(out, types.int64, types.uint64), generate


def _place(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    """A pointer to eight bytes of the array in ``args[0]`` from ``args[1]`` on."""
    array = context.make_array(signature.args[0])(context, builder, args[0])
    return builder.bitcast(builder.gep(array.data, [args[1]]), _WORD.as_pointer())


high_product: Any = intrinsic(_high_product)
leading_zeros: Any = intrinsic(_leading_zeros)
trailing_zeros: Any = intrinsic(_trailing_zeros)
load8: Any = intrinsic(_load8)
store8: Any = intrinsic(_store8)
