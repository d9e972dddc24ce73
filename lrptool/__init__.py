"""Explain what a published image classifier looked at, by layer-wise relevance propagation.

>>> import lrptool
>>> model = lrptool.load("lenet")
>>> result = model.explain("digit.png", composite="epsilon")
>>> result.relevance.shape, result.scores.shape, result.target
((1, 1, 28, 28), (1, 10), array([7]))
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from lrptool.version import VERSION

if TYPE_CHECKING:
    from lrptool.api import Explanation, Model, check, convert, load
    from lrptool.errors import LrpError
    from lrptool.rules import Composite

__version__ = VERSION
__all__ = ["Composite", "Explanation", "LrpError", "Model", "__version__", "check", "convert", "load"]

_HOMES = {
    "Composite": "lrptool.rules",
    "Explanation": "lrptool.api",
    "LrpError": "lrptool.errors",
    "Model": "lrptool.api",
    "check": "lrptool.api",
    "convert": "lrptool.api",
    "load": "lrptool.api",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for: `import lrptool` loads neither numba nor onnxruntime."""
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'lrptool' has no attribute {name!r}")


def __dir__() -> list[str]:
    """Return the public names, loaded or not."""
    return sorted(__all__)
