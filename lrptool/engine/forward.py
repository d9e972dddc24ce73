"""The forward pass: the graph spelled in ONNX and run by onnxruntime."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod

import numpy as np
import onnxruntime

from lrptool.engine.denominators import Beside
from lrptool.engine.emit import Lean, emit_lean
from lrptool.errors import ModelError
from lrptool.graph import Array, Graph
from lrptool.kernels import MEMORY, give_back

_FATAL = 4
_ALIGNED = 16
"""Results begin at multiples of so many values."""
_BINDINGS = 64
"""Bindings kept, for as many blocks of memory as threads explain at once: making one takes as long as a small layer."""


class Forward:
    """An onnxruntime session that hands out chosen tensors of a graph.

    Parameters
    ----------
    graph : Graph
    outputs : sequence of str
    threads : int
        Threads of the session; 0 lets onnxruntime choose.
    beside : Beside, optional
        What is computed along with the network; its results can be among the outputs.
    """

    def __init__(self, graph: Graph, outputs: Sequence[str], threads: int = 0, beside: Beside | None = None) -> None:
        give_back()  # what loading the weights left unused
        beside = beside or Beside()
        self._input = graph.input.name
        # An output that is the graph's input needs no session to compute it.
        names = [name for name in dict.fromkeys(outputs) if name != graph.input.name]
        self._items = {name: graph.tensors[beside.like.get(name, name)].item_shape for name in names}
        lean = emit_lean(graph, names, beside)
        self._fed = {name: onnxruntime.OrtValue.ortvalue_from_numpy(value) for name, value in lean.fed.items()}
        self._session = open_session(lean, graph.name, threads)
        self._bindings: dict[tuple[int, int], onnxruntime.IOBinding] = {}
        self._options: onnxruntime.RunOptions | None = onnxruntime.RunOptions()
        self._options.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")
        give_back()

    @property
    def item_bytes(self) -> int:
        """Bytes of the tensors handed out for one picture."""
        return sum(prod(shape) for shape in self._items.values()) * np.dtype(np.float32).itemsize

    def __call__(self, x: Array) -> Mapping[str, Array]:
        """Return the chosen tensors for a batch, float32 (N, C, H, W)."""
        x = np.ascontiguousarray(x, np.float32)
        # Results are written into memory that is used again, not into fresh pages; all of them into one block.
        sizes = [-(-len(x) * prod(shape) // _ALIGNED) * _ALIGNED for shape in self._items.values()]
        block = MEMORY.take((sum(sizes) + _ALIGNED,), np.float32)
        begin = -block.ctypes.data % (_ALIGNED * block.itemsize) // block.itemsize
        values = {}
        for (name, shape), size in zip(self._items.items(), sizes, strict=True):
            values[name] = block[begin : begin + len(x) * prod(shape)].reshape(len(x), *shape)
            begin += size
        binding = self._binding(block.ctypes.data, len(x), values)
        binding.bind_cpu_input(self._input, x)
        # Whoever explains one picture needs the session's own activations once: not while the walk needs memory.
        options, self._options = self._options, None
        self._session.run_with_iobinding(binding, options)
        return values | {self._input: x}

    def _binding(self, address: int, batch: int, values: Mapping[str, Array]) -> onnxruntime.IOBinding:
        """Return the session's binding to a block of memory; nobody uses it who does not have the block."""
        key = (address, batch)
        binding = self._bindings.get(key)
        if binding is None:
            binding = self._session.io_binding()
            for name, constant in self._fed.items():
                binding.bind_ortvalue_input(name, constant)
            for name, value in values.items():
                binding.bind_output(name, "cpu", 0, np.float32, value.shape, value.ctypes.data)
            if len(self._bindings) >= _BINDINGS:
                self._bindings.clear()
            self._bindings[key] = binding
        return binding


def open_session(lean: Lean, name: str, threads: int) -> onnxruntime.InferenceSession:
    """Return a session for a model; `name` is the network's, for messages."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = _FATAL
    # onnxruntime's threads go on spinning after a run; the kernels of the way back need the cores at once.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    values = [onnxruntime.OrtValue.ortvalue_from_numpy(value) for value in lean.outside.values()]
    options.add_external_initializers(list(lean.outside), values)
    try:
        return onnxruntime.InferenceSession(lean.model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's exceptions share no public base
        raise ModelError(f"model '{name}': onnxruntime refuses it: {_first_line(error)}") from error


def _first_line(error: Exception) -> str:
    """The first line of a foreign message."""
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
