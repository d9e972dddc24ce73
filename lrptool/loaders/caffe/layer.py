"""A layer of a net, in the current form."""

from __future__ import annotations

from dataclasses import dataclass

from lrptool.loaders.caffe.schema import Message
from lrptool.loaders.caffe.types import SOURCES, WORDS


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer in the current form.

    Parameters
    ----------
    name, type : str
        As in the file; the type is the current word (``Convolution``) whatever the file's age.
    bottoms, tops : tuple of str
        Blobs read and written.
    message : Message
        The LayerParameter or V1LayerParameter it was read from.
    place : str
        The file, and the line where it is text.
    """

    name: str
    type: str
    bottoms: tuple[str, ...]
    tops: tuple[str, ...]
    message: Message
    place: str

    @property
    def is_source(self) -> bool:
        """Whether it brings images in: so do layers of unknown types that read nothing (data layers in Python, say)."""
        return self.type in SOURCES or (not self.bottoms and bool(self.tops) and self.type not in WORDS)

    @property
    def shared(self) -> tuple[str, ...]:
        """The names under which its arrays are shared with other layers; empty where one is its own."""
        return tuple(param if isinstance(param, str) else param.name for param in self.message.param)

    def options(self, block: str) -> Message:
        """Return a block such as ``convolution_param``, with defaults for what the file leaves out."""
        return getattr(self.message, block)
