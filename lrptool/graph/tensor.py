"""What is known about a tensor before any image is seen."""

from __future__ import annotations

from dataclasses import dataclass

Shape = tuple[int | None, ...]
"""Sizes per axis; ``None`` (allowed on axis 0 only) stands for the batch."""


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """Name, shape and sign of one float32 tensor.

    Parameters
    ----------
    name : str
        Unique within its graph.
    shape : tuple of int or None
        ``None`` on axis 0 is the batch; every other axis is a positive number.
    nonnegative : bool
        Whether every value is known to be ≥ 0 (behind a ReLU, say).
    """

    name: str
    shape: Shape
    nonnegative: bool = False

    def __post_init__(self) -> None:
        if any(size is None or size < 1 for size in self.shape[1:]) or not self.shape:
            raise ValueError(f"tensor {self.name!r}: sizes behind the batch axis must be positive, found {self.shape}")

    @property
    def item_shape(self) -> tuple[int, ...]:
        """Shape of one item, without the batch axis."""
        return tuple(size for size in self.shape[1:] if size is not None)

    def array_shape(self, batch: int) -> tuple[int, ...]:
        """Shape of an array that holds a batch; a shape without an open batch axis is the array's own."""
        return tuple(batch if size is None else size for size in self.shape)
