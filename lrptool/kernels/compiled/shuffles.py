"""Shuffles of vectors, as emitted code: values of two taken in turn, and taken apart again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from llvmlite import ir

_I32 = ir.IntType(32)


def every_second(builder: Any, pairs: Any, begin: int) -> Any:
    """Values begin, begin + 2, … of a vector: half as many."""
    return _shuffled(builder, pairs, ir.Constant(pairs.type, ir.Undefined), range(begin, pairs.type.count, 2))


def in_turn(builder: Any, first: Any, second: Any) -> Any:
    """Values of two vectors in turn: twice as many."""
    return _shuffled(builder, first, second, _mixed(first))


def half_in_turn(builder: Any, first: Any, second: Any, *, upper: bool) -> Any:
    """Values of two vectors in turn, of their lower or upper halves: as many."""
    lanes, mixed = first.type.count, _mixed(first)
    return _shuffled(builder, first, second, mixed[lanes:] if upper else mixed[:lanes])


def _mixed(vector: Any) -> list[int]:
    """Numbers of the values of two vectors, in turn."""
    lanes = vector.type.count
    return [lane // 2 + lane % 2 * lanes for lane in range(2 * lanes)]


def _shuffled(builder: Any, first: Any, second: Any, lanes: Sequence[int]) -> Any:
    """Some values of two vectors, by number."""
    return builder.shuffle_vector(first, second, ir.Constant(ir.VectorType(_I32, len(lanes)), list(lanes)))
