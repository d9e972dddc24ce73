"""How parts of kernels become machine code: as they are, within the whole that is made of them.

numba optimises every function together with all it calls, and makes machine code of it. With kernels several calls deep
the innermost are gone through again and again, for machine code that nobody runs: only the outermost is called.

All of it stands on names inside numba. A version that lacks one makes the import of this module fail, and kernels are
compiled in numba's own way then.
"""

from __future__ import annotations

import inspect
from typing import Any

from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import Compiler

_NAMES = {
    "_optimize_final_module",
    "_finalize_final_module",
    "_finalize_dynamic_globals",
    "_ensure_finalized",
    "_finalized",
    "codegen",
    "get_pointer_to_function",
}
"""Of a code library: what is overridden here, and would silently do nothing under another name, and what is called."""
_ARGUMENTS = ["typingctx", "targetctx", "library"]
"""The first that a compiler takes."""


def _check() -> None:
    """Raise ImportError where numba has changed."""
    missing = sorted(name for name in _NAMES if not hasattr(JITCodeLibrary, name))
    taken = list(inspect.signature(Compiler).parameters)[: len(_ARGUMENTS)]
    if missing or taken != _ARGUMENTS:
        raise ImportError(f"numba has changed: no {missing} of a library, or a compiler that begins with {taken}")


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


class PartCompiler(Compiler):  # type: ignore[misc]
    """numba's compiler, for a kernel that kernels alone call."""

    def __init__(self, typing: Any, target: Any, library: Any, *rest: Any) -> None:
        super().__init__(typing, target, library or _Part(target.codegen(), "part"), *rest)
