"""The translation functions by operator, and what each of them works with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from onnx import NodeProto, helper

from lrptool.errors import ModelError, UnsupportedError
from lrptool.loaders.onnx.layout import Known, NotBatchFirst, Numbers, Sizes, Tensor, Unit
from lrptool.loaders.onnx.network import called
from lrptool.loaders.onnx.translate.growth import MOST_VALUES, values_made
from lrptool.loaders.onnx.translate.state import Translation, Value

MICROSOFT = "com.microsoft"


class Step:
    """One operator of the file on its way into the graph.

    Parameters
    ----------
    node : NodeProto
    translation : Translation
        What it is added to.
    version : int
        Of the set of operators it belongs to.
    """

    def __init__(self, node: NodeProto, translation: Translation, version: int) -> None:
        self.proto, self.version = node, version
        self.translation = translation
        self.mode = translation.mode
        self._attributes = {attribute.name: attribute for attribute in node.attribute}
        self.name = node.name or next(iter(node.output), node.op_type)

    @property
    def where(self) -> str:
        """The file and the node, for messages."""
        return f"{self.translation.where}: {called(self.proto)}"

    def unsupported(self, what: str, hint: str | None = None) -> UnsupportedError:
        """Return the error for something that cannot be explained."""
        return UnsupportedError(f"{self.where}: {what}", hint=hint)

    def malformed(self, what: str) -> ModelError:
        """Return the error for something that does not fit."""
        return ModelError(f"{self.where}: {what}")

    # What the file says

    @property
    def count(self) -> int:
        """Number of inputs, those left out at the end not counted."""
        return max((index + 1 for index, name in enumerate(self.proto.input) if name), default=0)

    def has(self, index: int) -> bool:
        """Whether an input is given."""
        return index < len(self.proto.input) and bool(self.proto.input[index])

    def entry(self, index: int) -> Value | Unit:
        """Return what is known of an input; ModelError where it is left out."""
        if not self.has(index):
            raise self.malformed(f"expected an input {index + 1}, found {self.count} inputs")
        name = self.proto.input[index]
        if name not in self.translation.values:
            raise self.unsupported(f"reads {name!r}, an output that only training needs")
        return self.translation.values[name]

    def value(self, index: int) -> Value:
        """Return an input that is a constant or depends on the image."""
        entry = self.entry(index)
        if isinstance(entry, Unit):
            raise self.unsupported(
                f"uses the scale {self.proto.input[index]!r}, found for each image, for something else than a product",
                "give the network from before it was quantised",
            )
        return entry

    def tensor(self, index: int = 0) -> Tensor:
        """Return an input that depends on the image."""
        value = self.value(index)
        if not isinstance(value, Tensor):
            raise self.unsupported(f"its input {index + 1} is a constant, another one depends on the image")
        return value

    def plain(self, index: int = 0) -> Tensor:
        """Return an input that depends on the image and has the batch in front; NotBatchFirst where it has not."""
        tensor = self.tensor(index)
        if not tensor.plain:
            raise NotBatchFirst("expected the batch on the first axis")
        return tensor

    def known(self, index: int) -> Known:
        """Return an input that does not depend on the image."""
        value = self.value(index)
        if not isinstance(value, Known):
            raise self.unsupported(f"its input {index + 1} ({self.proto.input[index]!r}) is computed from the image")
        return value

    def array(self, index: int) -> Numbers:
        """Return an input that does not depend on the image nor on the size of the batch."""
        return self.known(index).array

    def text(self, key: str, default: str = "") -> str:
        """Return a text attribute."""
        value = self._raw(key, default)
        return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)

    def integer(self, key: str, default: int = 0) -> int:
        """Return an integer attribute."""
        return int(self._raw(key, default))

    def number(self, key: str, default: float = 0.0) -> float:
        """Return a float attribute."""
        return float(self._raw(key, default))

    def floats(self, key: str) -> tuple[float, ...]:
        """Return a list of floats, empty where it is not given."""
        return tuple(float(number) for number in self._raw(key, ()))

    def list(self, key: str) -> Sizes | None:
        """Return a list of integers, None where it is not given."""
        value = self._raw(key, None)
        return None if value is None else tuple(int(number) for number in value)

    def given(self, key: str) -> bool:
        """Whether an attribute is given."""
        return key in self._attributes

    def _raw(self, key: str, default: Any) -> Any:
        """Return an attribute as it is stored."""
        if key not in self._attributes:
            return default
        try:
            return helper.get_attribute_value(self._attributes[key])
        except ValueError:
            raise self.malformed(f"its attribute {key!r} has no value") from None

    def integers(self, key: str, index: int | None = None) -> Sizes | None:
        """Return a list that older versions have as an attribute and newer ones as an input; None for neither."""
        if index is not None and self.has(index):
            return tuple(int(number) for number in self.array(index).reshape(-1))
        return self.list(key)

    def axis(self, axis: int, rank: int) -> int:
        """Return an axis counted from the front."""
        if not -rank <= axis < rank:
            raise self.malformed(f"axis {axis} does not exist in an input of {rank} axes")
        return axis % rank

    def shapes(self, value: Value) -> tuple[Sizes, ...]:
        """Return the shape in the file of a value, for each size of the batch."""
        if isinstance(value, Tensor):
            return tuple(value.shape(size) for size in self.mode.sizes)
        return tuple(array.shape for array in value.each(len(self.mode.sizes)))

    # What is built

    def constant(self, role: str, value: ArrayLike) -> str:
        """Add a constant called after the node; return its name."""
        return self._constant(self.translation.fresh(f"{self.name}/{role}"), np.asarray(value))

    def stored(self, value: Known, role: str) -> str:
        """Add a constant as the file has it, under the file's name and once only."""
        if not value.name:
            return self.constant(role, value.array)
        constants = self.translation.constants
        if value.name not in constants:
            constants[value.name] = self._constant(value.name, value.array)
        return constants[value.name]

    def _constant(self, name: str, value: Numbers) -> str:
        """Add a constant in float32."""
        with np.errstate(over="ignore", invalid="ignore"):
            numbers = np.asarray(value, np.float32, order="C")
        wrong = int(numbers.size - np.count_nonzero(np.isfinite(numbers)))
        if wrong:
            raise self.malformed(f"its constant {name!r} holds {wrong} numbers that are not finite")
        return self.translation.builder.constant(name, numbers)

    def add(
        self, op: str, *inputs: str, role: str = "", outputs: Sequence[int] = (0,), **attributes: Any
    ) -> tuple[str, ...]:
        """Add a node and return the names of its outputs.

        Without a role it is the operator's own node and writes some of the file's tensors; with one it is a helper.
        """
        fresh, builder = self.translation.fresh, self.translation.builder
        if role:
            name = fresh(f"{self.name}/{role}")
            names = [name]
        else:
            name = self.translation.own(self.name)
            names = [self.proto.output[index] or fresh(f"{name}/unread") for index in outputs]
        self._bearable(values_made(op, builder.shape(inputs[0]), attributes))
        try:
            written = builder.add(op, name, inputs, names, **attributes)
        except ValueError as error:
            raise self.malformed(str(error)) from error
        except (ModelError, UnsupportedError) as error:
            raise type(error)(f"{self.translation.where}: {error.message}", hint=error.hint) from error
        for tensor in written:
            self._bearable(prod(size or 1 for size in builder.shape(tensor)))
        return written

    def _bearable(self, count: float) -> None:
        """Refuse a tensor that would not fit into memory."""
        if count > MOST_VALUES:
            raise self.malformed(f"makes {count:.3g} values of one image: more than any network has")

    def like(self, name: str, tensor: Tensor, *, batch: int | None = None) -> Tensor:
        """Return a tensor of the graph with the batch where another tensor has it, or on another of its axes."""
        shape = self.translation.builder.shape(name)
        item = tuple(size or 0 for size in (shape if tensor.batch is None else shape[1:]))
        place = tensor.batch if batch is None or tensor.batch is None else batch
        return Tensor(name, item, place, tensor.joined, tensor.whole)

    def put(self, value: Value | Unit, output: int = 0) -> None:
        """Say what an output is."""
        if output < len(self.proto.output) and self.proto.output[output]:
            self.translation.values[self.proto.output[output]] = value

    def apply(self, op: str, tensor: Tensor, *constants: str, role: str = "", **attributes: Any) -> Tensor:
        """Add a node that keeps the axes of its input; return its output."""
        (name,) = self.add(op, tensor.name, *constants, role=role, **attributes)
        return self.like(name, tensor)


Translator = Callable[[Step], None]
TRANSLATORS: dict[tuple[str, str], Translator] = {}
TAKES_WHOLE: set[tuple[str, str]] = set()
"""Operators whose translation knows what to do with whole numbers."""


def translates(*ops: str, domain: str = "", whole: bool = False) -> Callable[[Translator], Translator]:
    """Decorate the translation function of one operator or several; duplicates are refused.

    Parameters
    ----------
    *ops : str
    domain : str
        The set of operators they belong to.
    whole : bool
        Whether it can be handed tensors that the file has in whole numbers.
    """

    def register(translator: Translator) -> Translator:
        for op in ops:
            if (domain, op) in TRANSLATORS:
                raise ValueError(f"operator {op!r} is translated twice")
            TRANSLATORS[domain, op] = translator
            if whole:
                TAKES_WHOLE.add((domain, op))
        return translator

    return register
