"""Stretches of maps may be cut anywhere: what a value becomes does not depend on where, to the bit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numba
import numpy as np
import pytest

import lrptool
from lrptool.kernels.compiled.bare import as_kind
from lrptool.kernels.compiled.jit import FLAGS
from lrptool.kernels.compiled.rows import fraction_lanes, weigh_lanes
from tests.onnxnets import model, node, save

COUNT = 64
RNG = np.random.default_rng(0)


@numba.njit(**FLAGS)
def weigh(operands, count, part, accumulate, like):  # type: ignore[no-untyped-def]
    weigh_lanes(operands, (0, 0, 0, 0), 1, count, part, accumulate, like)


@numba.njit(**FLAGS)
def divide(operands, count, clip, where, normalised, like):  # type: ignore[no-untyped-def]
    epsilon, coefficient = as_kind(0.1, like), as_kind(0.7, like)
    fraction_lanes(operands, (0, 0, 0, 0), 0, 1, count, epsilon, coefficient, (clip, where, normalised), like)


def cut(function: Any, form: tuple[int, ...], dtype: Any, length: int) -> np.ndarray:
    """Carry a loop out in stretches of a length."""
    operands = [np.random.default_rng(k).standard_normal(COUNT).astype(dtype) for k in range(3)]
    out = np.zeros(COUNT, dtype)
    for begin in range(0, COUNT, length):
        places = tuple(array[begin:].ctypes.data for array in (*operands, out))
        function(places, min(length, COUNT - begin), *form, dtype(0))
    return out


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("accumulate", [0, 1])
@pytest.mark.parametrize("part", range(4))
def test_results_times_a_part_of_x(part: int, accumulate: int, dtype: Any) -> None:
    whole = cut(weigh, (part, accumulate), dtype, COUNT)
    assert whole.any()
    for length in (1, 5, 19):
        np.testing.assert_array_equal(cut(weigh, (part, accumulate), dtype, length), whole)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("normalised", [0, 1])
@pytest.mark.parametrize("where", range(4))
@pytest.mark.parametrize("clip", [0, 1])
def test_fractions(clip: int, where: int, normalised: int, dtype: Any) -> None:
    whole = cut(divide, (clip, where, normalised), dtype, COUNT)
    assert whole.any()
    for length in (1, 5, 19):
        np.testing.assert_array_equal(cut(divide, (clip, where, normalised), dtype, length), whole)


@pytest.fixture(scope="module")
def two_readers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A map of either sign, of a width no register fits, that two layers hand relevance to."""
    channels = 12
    shapes = {
        "first": (channels, 3, 3, 3),
        "left": (channels, channels, 5, 5),
        "right": (channels, channels, 5, 5),
        "last": (4, 2 * channels),
    }
    weights = {name: RNG.standard_normal(shape).astype(np.float32) / 5 for name, shape in shapes.items()}
    nodes = [
        node("Conv", ["x", "first"], ["map"], pads=[1] * 4),
        node("Conv", ["map", "left"], ["a"], pads=[2] * 4),
        node("Conv", ["map", "right"], ["b"], pads=[2] * 4),
        node("Relu", ["a"], ["ra"]),
        node("Relu", ["b"], ["rb"]),
        node("Concat", ["ra", "rb"], ["both"], axis=1),
        node("GlobalAveragePool", ["both"], ["mean"]),
        node("Flatten", ["mean"], ["flat"]),
        node("Gemm", ["flat", "last"], ["y"], transB=1),
    ]
    return save(model(nodes, ("N", 3, 61, 45), weights), tmp_path_factory.mktemp("net"))


@pytest.mark.parametrize("composite", ["epsilon", "alpha2-beta1"])
def test_neither_threads_nor_company_change_a_bit(two_readers: Path, composite: str) -> None:
    x = RNG.standard_normal((2, 3, 61, 45)).astype(np.float32)
    alone = lrptool.load(two_readers, threads=1)
    wanted = np.concatenate([alone.explain(x[k : k + 1], 1, composite).relevance for k in range(2)])
    for threads in (1, 2, 3, 4, 7):
        found = lrptool.load(two_readers, threads=threads).explain(x, 1, composite).relevance
        np.testing.assert_array_equal(found, wanted)
