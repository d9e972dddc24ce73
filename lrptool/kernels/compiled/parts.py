"""How parts of kernels become machine code: as they are, within the whole that is made of them.

numba optimises every function together with all it calls, and makes machine code of it. With kernels several calls deep
the innermost are gone through again and again, for machine code that nobody runs: only the outermost is called.

All of it stands on names inside numba. A version that lacks one makes the import of this module fail, and kernels are
compiled in numba's own way then.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

from llvmlite import ir
from numba.core.base import BaseContext
from numba.core.callconv import CPUCallConv
from numba.core.codegen import CPUCodegen, JITCodeLibrary
from numba.core.compiler import Compiler
from numba.core.compiler_lock import global_compiler_lock
from numba.core.registry import cpu_target

_NAMES = {
    JITCodeLibrary: {
        "_optimize_functions",
        "_optimize_final_module",
        "_finalize_final_module",
        "_finalize_dynamic_globals",
        "_ensure_finalized",
        "_finalized",
        "codegen",
        "create_ir_module",
        "add_ir_module",
        "add_linking_library",
        "finalize",
        "get_pointer_to_function",
    },
    CPUCodegen: {"_init"},
    BaseContext: {"get_value_type"},
    CPUCallConv: {"call_function", "get_function_type"},
}
"""What is overridden here, and would silently do nothing under another name, and what is called."""
_ARGUMENTS = ["typingctx", "targetctx", "library"]
"""The first that a compiler takes."""


def _check() -> None:
    """Raise ImportError where numba has changed."""
    missing = sorted(name for kind, names in _NAMES.items() for name in names if not hasattr(kind, name))
    taken = list(inspect.signature(Compiler).parameters)[: len(_ARGUMENTS)]
    if missing or taken != _ARGUMENTS:
        raise ImportError(f"numba has changed: no {missing} inside, or a compiler that begins with {taken}")


_check()


class _WithoutAddress:
    """The code generator of parts: they have no machine code that an environment could be written to."""

    def __init__(self, codegen: Any) -> None:
        self._codegen = codegen

    def __getattr__(self, name: str) -> Any:
        """Return what the generator has."""
        return getattr(self._codegen, name)

    def set_env(self, name: str, environment: object) -> None:
        """Do nothing."""


class _Part(JITCodeLibrary):  # type: ignore[misc]
    """Code to be linked into that of others."""

    @property
    def codegen(self) -> Any:
        """Who generates the code."""
        return _WithoutAddress(super().codegen)

    def _optimize_functions(self, module: Any) -> None:
        """Leave it to the whole, as all optimising."""

    def _optimize_final_module(self) -> None:
        """Leave it to the whole."""

    def _finalize_final_module(self) -> None:
        """Make no machine code."""
        self._finalize_dynamic_globals()
        self._finalized = True

    def get_pointer_to_function(self, name: str) -> int:
        """Return 0, which stands for no function."""
        self._ensure_finalized()
        return 0


class _Whole(JITCodeLibrary):  # type: ignore[misc]
    """Code that is optimised, and becomes machine code that is to be loaded elsewhere."""

    code = b""

    def _finalize_final_module(self) -> None:
        """Make machine code, and leave it at that."""
        self.code = self._codegen._tm.emit_object(self._final_module)
        self._finalized = True

    @property
    def stands_alone(self) -> bool:
        """Whether the code runs in a process without numba, and in another than this: it knows no address."""
        module = self._final_module
        named = [value.name for values in (module.functions, module.global_variables) for value in values]
        outside = [value.name for value in (*module.functions, *module.global_variables) if value.is_declaration]
        missing = any(name.startswith(("NRT_", "Py", "_Py", "numba_")) for name in outside)
        return not missing and not any(name.startswith("numba.dynamic.globals") for name in named)


class PartCompiler(Compiler):  # type: ignore[misc]
    """numba's compiler, for a kernel that kernels alone call."""

    def __init__(self, typing: Any, target: Any, library: Any, *rest: Any) -> None:
        super().__init__(typing, target, library or _Part(target.codegen(), "part"), *rest)


def whole_of(part: Any, kinds: Sequence[Any], name: str) -> bytes | None:
    """Return the object code of a kernel and all it calls, as a function of C: int64 name(…), 0 where all went well.

    Parameters
    ----------
    part : kernel
    kinds : sequence of numba's types
        Of its arguments.
    name : str

    Returns
    -------
    bytes or None
        None where the code would need numba, or this process, when it runs.
    """
    part.compile(tuple(kinds))
    made = part.overloads[tuple(kinds)]
    context = cpu_target.target_context
    whole = _Whole(context.codegen(), name)
    whole.add_linking_library(made.library)
    module = whole.create_ir_module(name)
    arguments = [context.get_value_type(kind) for kind in kinds]
    function = ir.Function(module, ir.FunctionType(ir.IntType(64), arguments), name)
    builder = ir.IRBuilder(function.append_basic_block())
    inner = ir.Function(
        module, context.call_conv.get_function_type(made.fndesc.restype, kinds), made.fndesc.llvm_func_name
    )
    status, _ = context.call_conv.call_function(builder, inner, made.fndesc.restype, kinds, function.args)
    builder.ret(builder.sext(status.code, ir.IntType(64)))
    with global_compiler_lock:
        whole.add_ir_module(module)
        whole.finalize()
    return whole.code if whole.stands_alone else None
