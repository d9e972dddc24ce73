"""Caffe's text form of a network."""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass
from pathlib import Path

from google.protobuf import text_format

from lrptool.errors import ModelError
from lrptool.loaders.caffe.files import read_bytes
from lrptool.loaders.caffe.schema import Message, new_message
from lrptool.loaders.caffe.survey import survey

_LARGEST = 2 * 2**20
_MOST_BLOCKS = 100_000


@dataclass(frozen=True, slots=True)
class Prototxt:
    """A network's text.

    Parameters
    ----------
    net : Message
        The NetParameter.
    layers : tuple of (str, int)
        The field of each layer, ``layer`` or ``layers``, and the line on which it begins, in file order.
    notes : tuple of str
        Which fields nobody knows, where there are any (they are ignored); whether layers of two ages stand together.
    """

    net: Message
    layers: tuple[tuple[str, int], ...]
    notes: tuple[str, ...]


def read_prototxt(path: Path) -> Prototxt:
    """Read a text file as a NetParameter.

    Parameters
    ----------
    path : Path
        A ``.prototxt`` of any age.

    Raises
    ------
    ModelError
        The file cannot be read or is not a network's text; the message gives line and column.
    """
    text = _read_text(path)
    net = new_message("NetParameter")
    found = survey(text, net.DESCRIPTOR)
    if found.blocks > _MOST_BLOCKS:
        raise ModelError(f"{path}: expected a network's text, found {found.blocks} blocks, more than any network has")
    try:
        with warnings.catch_warnings():
            # A Windows path in a data layer is full of escapes that Python will not know one day; nobody reads it.
            warnings.simplefilter("ignore", DeprecationWarning)
            text_format.Parse(found.text, net, allow_unknown_field=True)
    except text_format.ParseError as error:
        raise ModelError(_one_line(f"{path}:{_place(error)}")) from error
    except RecursionError as error:
        raise ModelError(f"{path}: expected a network's text, found blocks nested too deeply") from error
    if not net.layer and not net.layers:
        raise ModelError(f"{path}: expected a network's text, found no layer", hint="is it a solver or a label file?")
    notes = []
    if found.unknown:
        notes.append(_one_line(f"{path.name}: unknown fields ignored: {', '.join(found.unknown)}"))
    if net.layer and net.layers:
        notes.append(f"{path.name}: 'layer' and 'layers' in one net, which Caffe itself refuses: read in their order")
    return Prototxt(net, found.layers, tuple(notes))


def _read_text(path: Path) -> str:
    """Return the file's text; ModelError for what cannot be text."""
    data = read_bytes(path, _LARGEST + 1)
    if not data.strip():
        raise ModelError(f"{path}: expected a network's text, found an empty file ({len(data)} bytes)")
    if len(data) > _LARGEST:
        raise ModelError(
            f"{path}: expected a network's text, found {path.stat().st_size} bytes",
            hint="is it the file of the weights?",
        )
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:
        raise ModelError(
            f"{path}: expected a network's text, found a binary file ({len(data)} bytes)",
            hint="a .caffemodel is the file of the weights; the prototxt beside it is text",
        )
    return text


def _place(error: text_format.ParseError) -> str:
    """Return ``line:column: what`` of a parse error."""
    line, column = error.GetLine(), error.GetColumn()
    # The library puts its own place and the whole line in front.
    what = re.sub(r"^(\d+:\d+ : )?('.*': )?", "", str(error), flags=re.DOTALL)
    return f"{line}:{column}: {what}" if line is not None else f" {what}"


def _one_line(message: str) -> str:
    """Cut a message to one line of readable length."""
    flat = " ".join(message.split())
    return flat if len(flat) <= 300 else flat[:299] + "…"
