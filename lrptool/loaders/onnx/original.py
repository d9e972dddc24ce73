"""The file as its author meant it to be run: for comparing scores with another runtime's."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ValueInfoProto, helper

from lrptool.errors import ModelError
from lrptool.graph import Array
from lrptool.loaders.onnx.files import one_line
from lrptool.loaders.onnx.image import ImageInput

_LARGEST = 2**31 - 2**20
"""Bytes that fit a message of protobuf."""


@dataclass(frozen=True, slots=True)
class Original:
    """A model file, and how to ask it for the same scores.

    Parameters
    ----------
    path : Path
    image : ImageInput
        Its input.
    kind : int
        The ONNX type of its input.
    output : str
        The tensor with the scores.
    """

    path: Path
    image: ImageInput
    kind: int
    output: str

    def model(self) -> bytes:
        """Return the model with the scores as its only output, weights beside the file included.

        Raises
        ------
        ModelError
            It is too large for one message.
        """
        try:
            model = onnx.load(self.path)
            # A value without a type: runtimes find out what it is.
            del model.graph.output[:]
            model.graph.output.append(ValueInfoProto(name=self.output))
            if model.ByteSize() > _LARGEST:
                raise ModelError(f"{self.path}: too large to be changed in memory")
            return model.SerializeToString()
        except (ValueError, OSError, onnx.checker.ValidationError) as error:
            raise ModelError(f"{self.path}: cannot be read by onnx: {one_line(error)}") from None

    def feeds(self, x: Array) -> dict[str, NDArray[Any]]:
        """Return one image, float32 (1, C, H, W), as the file wants it; as often as its batch says."""
        item = x[0] if self.image.perm is None else x[0].transpose(self.image.perm)
        value = item.reshape(self.image.stored)
        if self.image.batched:
            value = np.stack([value] * (self.image.batch or 1))
        dtype = helper.tensor_dtype_to_np_dtype(self.kind)
        return {self.image.name: np.ascontiguousarray(value, dtype)}

    @property
    def integer(self) -> bool:
        """Whether its images are whole numbers."""
        return self.image.integer
