"""Writes docs/coverage.md: every operator, what becomes it, how relevance passes it, and the tests that prove it.

    python -m tests.coverage

Which layers and operators of files become which operators is not written down anywhere: the tests' own cases are
loaded, and what the loaders add is watched.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any
from unittest.mock import patch

import onnx
from onnx import NodeProto

from lrptool.errors import LrpError
from lrptool.loaders.caffe import known_layer_types
from lrptool.loaders.caffe.translate import registry as caffe
from lrptool.loaders.onnx import known_onnx_operators, load_onnx
from lrptool.loaders.onnx.layout import NotBatchFirst
from lrptool.loaders.onnx.translate import registry as onnx_registry
from lrptool.ops import known_operators, operator
from tests import test_caffe_layers, test_onnx_backend, test_onnx_patterns, test_onnx_versions, test_ops
from tests.caffe_nets import INPUT, layer, load_text
from tests.conftest import ROOT
from tests.onnxnets import FIXTURES, model, through_graph
from tests.opcases import Case

TARGET = ROOT / "docs" / "coverage.md"
WRITTEN_WITH = ".".join(onnx.__version__.split(".")[:2])
Found = dict[str, dict[str, str]]
"""Operator → what becomes it → a test."""

HEAD = """# Coverage

Written by `python -m tests.coverage` with onnx {version}; a test sees to it that it is up to date.

Every row is an operator of the graph that the engine works on. *Caffe* and *ONNX* name the layers and operators of
files that become it, alone or together with others; functions that exporters take apart stand in italics. *Rules* are
the ways relevance can pass it, the default first; *share rules* are those with a denominator: epsilon, zplus,
alpha-beta, gamma, zbox, wsquare, flat and their variants. Of the tests that prove a row, one is named for its forward
pass, one for each way back and one for each layer or operator that becomes it.

| operator | Caffe | ONNX | rules | tests |
|---|---|---|---|---|
"""
FOOT = """
## Without a row of their own

Other ONNX operators that are read: {silent}. They are folded into constants and sizes while a file is read, made real
where they compute with whole numbers, or taken apart; `tests/test_onnx_quantised.py`, `tests/test_onnx_versions.py` and
`tests/test_onnx_batch.py` prove that.

Other Caffe layers that are read: {layers}. They bring numbers in, carry names on, or are refused with a reason.
"""


@contextmanager
def watching(kind: type, method: str, tell: Callable[[Any], str], found: set[tuple[str, str]]) -> Iterator[None]:
    """Note which operators a loader adds, and for what."""
    right = getattr(kind, method)

    def watched(self: Any, op: str, *args: Any, **attributes: Any) -> Any:
        found.add((op, tell(self)))
        return right(self, op, *args, **attributes)

    with patch.object(kind, method, watched):
        yield


def of_caffe() -> Found:
    """Load every case of a layer."""
    found: Found = defaultdict(dict)
    names = list(map(str, test_caffe_layers.CASES))
    for case in test_caffe_layers.CASES:
        added: set[tuple[str, str]] = set()
        text = INPUT + case.before + layer("x", case.kind, case.bottoms, case.tops, case.options) + case.after
        with (
            tempfile.TemporaryDirectory() as folder,
            watching(caffe.Step, "_add", lambda step: str(step.item.layer.type), added),
        ):
            load_text(Path(folder), text)
        for op, kind in sorted(added):
            if kind == case.kind:
                found[op].setdefault(
                    kind,
                    f"test_caffe_layers.py::test_every_layer_computes_its_definition[{first_of(str(case), names)}]",
                )
    return found


def of_onnx() -> Found:
    """Load the ONNX project's own cases, those of old versions, and functions taken apart."""
    found: Found = defaultdict(dict)
    tested = set(test_onnx_backend.OPERATORS)
    for name, cases in sorted(test_onnx_backend.cases().items()):
        if name in tested:
            added: set[tuple[str, str]] = set()
            with watching(onnx_registry.Step, "add", lambda step: str(step.proto.op_type), added):
                for case in cases:
                    with contextlib.suppress(LrpError, NotBatchFirst):
                        list(test_onnx_backend.attempts(case))
            for op, kind in sorted(added):
                if kind == name:
                    found[op].setdefault(kind, f"test_onnx_backend.py::test_operator[{name}]")
    for name, (opset, nodes, stored, _) in test_onnx_versions.CASES.items():
        added = set()
        made = model([nodes] if isinstance(nodes, NodeProto) else nodes, ["N", 3, 4, 6], stored, opset=opset)
        with watching(onnx_registry.Step, "add", lambda step: str(step.proto.op_type), added):
            through_graph(made, {"x": test_onnx_versions.X}, "x", sizes=(2,))
        for op, kind in sorted(added):
            found[op].setdefault(kind, f"test_onnx_versions.py::test_versions[batch of two-{name}]")
    for path in sorted(FIXTURES.glob("*_old.onnx")):
        added = set()
        with watching(onnx_registry.Step, "add", lambda step: str(step.proto.op_type), added):
            load_onnx(path)
        for op, kind in sorted(added):
            found[op].setdefault(kind, f"test_onnx_torch.py::test_scores_under_onnxruntime[{path.stem}]")
    for name, (_, op, _) in test_onnx_patterns.FUNCTIONS.items():
        found[op].setdefault(f"*{name}*", f"test_onnx_patterns.py::test_functions[{name}]")
    return found


def first_of(name: str, names: list[str]) -> str:
    """What pytest calls the first of several tests of one name."""
    if names.count(name) == 1:
        return name
    return f"{name}_0" if name[-1].isdigit() else f"{name}0"


def _first(op: str, cases: list[Case]) -> str:
    """The name of an operator's first case."""
    names = [f"{case.op}-{case.note}".strip("-") for case in cases]
    return first_of(next(name for name, case in zip(names, cases, strict=True) if case.op == op), names)


def rules_of(op: str) -> list[str]:
    """The ways relevance passes an operator, the default first."""
    found, shares = operator(op), op in {case.op for case in test_ops.LINEAR}
    default = found.default or "as the composite says"
    names = [default, *(name for name in sorted(found.treatments) if name != default)]
    if shares:
        names = [name for name in names if name not in ("proportion",) or name == default] + ["share rules"]
    return names


def tests_of(op: str) -> list[str]:
    """One test of the forward pass, and one of every way back."""
    ids = [f"test_ops.py::test_forward_under_onnxruntime[{_first(op, test_ops.CASES)}]"]
    if op in {case.op for case in test_ops.LINEAR}:
        ids.append(f"test_ops.py::test_linear_map[all-{_first(op, test_ops.LINEAR)}]")
    seen = set()
    names = [f"{case.op}-{case.note}-{name}" for case, name in test_ops.TREATED]
    for case, name in test_ops.TREATED:
        if case.op == op and name not in seen:
            seen.add(name)
            ids.append(f"test_ops.py::test_treatment[{first_of(f'{case.op}-{case.note}-{name}', names)}-float64]")
    return ids


def rows() -> list[tuple[str, list[str], list[str], list[str], list[str]]]:
    """Every operator's row: name, layers, ONNX operators, rules, tests."""
    layers, operators = of_caffe(), of_onnx()
    made = []
    for op in known_operators():
        caffe_names, onnx_names = sorted(layers.get(op, {})), sorted(operators.get(op, {}), key=str.casefold)
        proofs = [layers[op][name] for name in caffe_names] + [operators[op][name] for name in onnx_names]
        made.append((op, caffe_names, onnx_names, rules_of(op), [*tests_of(op), *proofs]))
    return made


@cache
def contents() -> tuple[str, tuple[str, ...]]:
    """Return the file's text, and every test it names."""
    made, text, ids = rows(), HEAD.format(version=WRITTEN_WITH), []
    for op, layers, operators, rules, tests in made:
        shown = "<br>".join(f"`{test.replace('|', ' ')}`" for test in dict.fromkeys(tests))
        cells = (f"**{op}**", ", ".join(layers), ", ".join(operators), ", ".join(rules), shown)
        text += "| " + " | ".join(cells) + " |\n"
        ids += tests
    reached = {name for _, _, names, _, _ in made for name in names}
    become = {name for _, names, _, _, _ in made for name in names}
    silent = sorted(name for name in known_onnx_operators() if name not in reached)
    layers = sorted(set(known_layer_types()) - become)
    return text + FOOT.format(silent=", ".join(silent), layers=", ".join(layers)), tuple(dict.fromkeys(ids))


def main() -> None:
    """Write the file."""
    TARGET.write_text(contents()[0], encoding="utf-8")


if __name__ == "__main__":
    main()
