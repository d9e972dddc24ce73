"""The operators by name: one entry each; duplicates are refused."""

from __future__ import annotations

from lrptool.errors import UnsupportedError, did_you_mean
from lrptool.ops.base import Operator

_OPERATORS: dict[str, Operator] = {}


def register(operator_class: type[Operator]) -> type[Operator]:
    """Class decorator: enter an operator under its name; it may take the place of one that it extends."""
    known = _OPERATORS.get(operator_class.name)
    if known is not None and not issubclass(operator_class, type(known)):
        raise ValueError(f"operator {operator_class.name!r} is registered twice")
    _OPERATORS[operator_class.name] = operator_class()
    return operator_class


def operator(op: str, node: str = "") -> Operator:
    """Return the operator of that name; UnsupportedError naming the node where nobody knows it."""
    try:
        return _OPERATORS[op]
    except KeyError:
        where = f"node {node!r}: " if node else ""
        raise UnsupportedError(f"{where}operator '{op}' is not supported", hint=did_you_mean(op, _OPERATORS)) from None


def known_operators() -> tuple[str, ...]:
    """Return the names of all operators, sorted."""
    return tuple(sorted(_OPERATORS))
