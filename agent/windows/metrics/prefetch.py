"""Ask for a cache line before it is needed, from within a kernel."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic


def _prefetch(_context: Any, array: Any, index: Any) -> Any:
    """Start loading the line of the element ``index`` of a contiguous array, counted flat. Any index is
    fine: the address is never read by the program."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        struct = context.make_array(signature.args[0])(context, builder, arguments[0])
        place = builder.gep(struct.data, [arguments[1]])
        byte = ir.IntType(8).as_pointer()
        number = ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [byte, number, number, number])
        function = builder.module.declare_intrinsic("llvm.prefetch", [byte], kind)
        read, keep_near, data = (ir.Constant(number, n) for n in (0, 3, 1))
        builder.call(function, [builder.bitcast(place, byte), read, keep_near, data])
        return context.get_dummy_value()

    return types.void(array, index), codegen


prefetch: Any = intrinsic(_prefetch)
