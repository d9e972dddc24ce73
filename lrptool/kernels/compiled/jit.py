"""How kernels are compiled.

Flags and why:

- ``fastmath`` without ``nnan`` and ``ninf``: with the full set ``isnan`` is false on NaN, and relevance that is not
  finite could no longer be found.
- ``error_model="numpy"``: x / 0 is inf, not an exception that nobody handles.
- no ``_nrt``, numba's memory: kernels work on what they are given, and can be loaded where numba is not.
- no ``parallel``: threads come from `lrptool.kernels.team`.
- no ``cache``: `lrptool.kernels.machine_code` keeps machine code under a key made of the source of *all* kernels.
  numba's own key sees only the file a function stands in and would run old code after an edit to a helper elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numba

from lrptool.errors import ConfigError

WholeOf = Callable[[Any, Sequence[Any], str], bytes | None]
WHOLE_OF: WholeOf | None
"""What makes object code of a kernel and its parts; None where numba has changed inside."""

try:
    from lrptool.kernels.compiled.parts import PartCompiler, whole_of
except ImportError:
    _PART, WHOLE_OF = dict[str, Any](), None
else:
    _PART, WHOLE_OF = {"pipeline_class": PartCompiler}, whole_of

if numba.config.DISABLE_JIT:
    raise ConfigError("NUMBA_DISABLE_JIT: kernels cannot run without being compiled", "unset NUMBA_DISABLE_JIT")

FLAGS = {"error_model": "numpy", "fastmath": {"contract", "reassoc", "nsz"}, "_nrt": False}


def kernel(function: Callable[..., Any]) -> Any:
    """Compile a function, once another kernel that is compiled calls it.

    It gets no wrapper and no machine code of its own, which would take most of the time.
    """
    return numba.njit(nogil=True, no_cpython_wrapper=True, no_cfunc_wrapper=True, **FLAGS, **_PART)(function)
