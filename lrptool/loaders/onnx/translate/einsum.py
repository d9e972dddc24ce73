"""Sums of products written as an equation: a matrix product with its axes brought into order."""

from __future__ import annotations

import re
from math import prod

import numpy as np

from lrptool.loaders.onnx.layout import Known, Sizes, Tensor
from lrptool.loaders.onnx.translate.linear import product
from lrptool.loaders.onnx.translate.movement import reshape, transpose
from lrptool.loaders.onnx.translate.reduction import reduced
from lrptool.loaders.onnx.translate.registry import Step, translates
from lrptool.loaders.onnx.translate.state import Value


def _terms(step: Step) -> tuple[list[str], str]:
    """Return the letters of every input and of the output, the dots spelled in capital letters."""
    equation = step.text("equation").replace(" ", "")
    left, arrow, right = equation.partition("->")
    inputs = left.split(",")
    if len(inputs) != step.count or not re.fullmatch(r"[a-zA-Z.,>-]*", equation):
        raise step.malformed(f"equation {equation!r} does not fit {step.count} inputs")
    if not arrow:
        letters = left.replace(",", "").replace(".", "")
        right = ("..." if "." in left else "") + "".join(sorted(c for c in set(letters) if letters.count(c) == 1))
    ranks = [len(step.shapes(step.value(index))[0]) for index in range(step.count)]
    most = max((rank - len(term.replace("...", "")) for rank, term in zip(ranks, inputs, strict=True)), default=0)
    free = [c for c in "ABCDEFGHIJKLMNOPQRSTUVWXYZ" if c not in equation][:most]
    terms = []
    for rank, term in zip(ranks, inputs, strict=True):
        spelled = term.replace("...", "".join(free[most - (rank - len(term.replace("...", ""))) :]))
        if len(spelled) != rank or len(set(spelled)) != rank:
            raise step.unsupported(f"equation {equation!r}: {term!r} cannot be explained for an input of {rank} axes")
        terms.append(spelled)
    return terms, right.replace("...", "".join(free))


@translates("Einsum")
def einsum(step: Step) -> None:
    """One or two inputs."""
    terms, out = _terms(step)
    if len(terms) > 2:
        raise step.unsupported(f"multiplies {len(terms)} inputs", "export the network with one product at a time")
    values = [_without(step, step.value(k), terms, k, out) for k in range(len(terms))]
    # A sum of products does not mind which factor comes first; constants come second.
    (first, a), *others = sorted(values, key=lambda value: isinstance(value[0], Known))
    if not others:
        step.put(transpose(step, _tensor(first), _order(a, out)))
        return
    second, b = others[0]
    shared = [c for c in a if c in b and c in out]
    summed = [c for c in a if c in b and c not in out]
    mine, yours = ([c for c in term if c not in shared and c not in summed] for term in (a, b))
    sizes = [
        {c: n for term, shape in ((a, one), (b, two)) for c, n in zip(term, shape, strict=True)}
        for one, two in zip(step.shapes(first), step.shapes(second), strict=True)
    ]
    if isinstance(second, Known) and shared:
        # The tensor's own axes, the batch among them, are more of the stack: the weights are the same for them.
        stack, rows = [*mine, *shared], list[str]()
    else:
        stack, rows = shared, mine
    left = _matrices(step, first, a, (stack, rows, summed), sizes)
    right = _matrices(step, second, b, (shared, summed, yours), sizes)
    made = product(step, left, right, role="product")
    letters = "".join((*stack, *rows, *yours))
    parted = reshape(step, made, [tuple(size[c] for c in letters) for size in sizes])
    step.put(transpose(step, parted, _order(letters, out)))


def _tensor(value: Value) -> Tensor:
    """Return a value that depends on the image."""
    if not isinstance(value, Tensor):
        raise TypeError("a constant was not computed ahead")
    return value


def _order(letters: str, wanted: str) -> Sizes:
    """Return the places of letters in the order wanted."""
    return tuple(letters.index(c) for c in wanted)


def _without(step: Step, value: Value, terms: list[str], which: int, out: str) -> tuple[Value, str]:
    """Return an input summed over the letters that nobody else has, and the letters left."""
    term = terms[which]
    others = "".join(terms[:which] + terms[which + 1 :]) + out
    gone = tuple(axis for axis, c in enumerate(term) if c not in others)
    left = "".join(c for c in term if c in others)
    if not gone:
        return value, left
    if isinstance(value, Known):
        return Known(tuple(array.sum(gone) for array in value.values)), left
    return reduced(step, value, "ReduceSum", gone, keep=False, role="sum"), left


def _matrices(
    step: Step, value: Value, letters: str, groups: tuple[list[str], list[str], list[str]], sizes: list[dict[str, int]]
) -> Value:
    """Return a factor as a stack of matrices: the shared axes, then two groups as one axis each."""
    stack, rows, columns = groups
    perm = _order(letters, "".join((*stack, *rows, *columns)))
    shapes = [
        (*(size[c] for c in stack), prod(size[c] for c in rows), prod(size[c] for c in columns)) for size in sizes
    ]
    if isinstance(value, Tensor):
        return reshape(step, transpose(step, value, perm), shapes)
    arrays = value.each(len(sizes))
    return Known.of([np.transpose(array, perm).reshape(shape) for array, shape in zip(arrays, shapes, strict=True)])
