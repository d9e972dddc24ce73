"""Caffe's text form of a network."""

from __future__ import annotations

import re
import warnings
from pathlib import Path
from typing import Any

from google.protobuf import text_format

from lrptool.errors import ModelError
from lrptool.loaders.caffe.files import read_bytes
from lrptool.loaders.caffe.schema import IGNORED_FIELDS, Message, new_message

_LARGEST = 32 * 2**20
_TOKEN = re.compile(r"""#[^\n]*|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'|[A-Za-z_]\w*|\d[\w.+-]*|\S""")


def read_prototxt(path: Path) -> tuple[Message, tuple[str, ...]]:
    """Read a text file as a NetParameter.

    Parameters
    ----------
    path : Path
        A ``.prototxt`` of any age.

    Returns
    -------
    net : Message
    notes : tuple of str
        One line that names the fields nobody knows, where there are any; they are ignored.

    Raises
    ------
    ModelError
        The file cannot be read or is not a network's text; the message gives line and column.
    """
    text = _read_text(path)
    net = new_message("NetParameter")
    try:
        with warnings.catch_warnings():
            # A Windows path in a data layer is full of escapes that Python will not know one day; nobody reads it.
            warnings.simplefilter("ignore", DeprecationWarning)
            text_format.Parse(text, net, allow_unknown_field=True)
    except text_format.ParseError as error:
        raise ModelError(_one_line(f"{path}:{_place(error)}")) from error
    except RecursionError as error:
        raise ModelError(f"{path}: expected a network's text, found blocks nested too deeply") from error
    if not net.layer and not net.layers:
        raise ModelError(f"{path}: expected a network's text, found no layer", hint="is it a solver or a label file?")
    unknown = unknown_fields(text, net.DESCRIPTOR)
    notes = (_one_line(f"{path.name}: unknown fields ignored: {', '.join(unknown)}"),) if unknown else ()
    return net, notes


def _read_text(path: Path) -> str:
    """Return the file's text; ModelError for what cannot be text."""
    data = read_bytes(path)
    if not data.strip():
        raise ModelError(f"{path}: expected a network's text, found an empty file ({len(data)} bytes)")
    if len(data) > _LARGEST:
        raise ModelError(
            f"{path}: expected a network's text, found {len(data)} bytes", hint="is it the file of the weights?"
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


def unknown_fields(text: str, descriptor: Any) -> tuple[str, ...]:
    """Return ``Message.field`` for every field in well-formed text that the format does not have.

    Parameters
    ----------
    text : str
        Text that `google.protobuf.text_format` has accepted.
    descriptor : Descriptor
        Of the message the text stands for.
    """
    found: dict[str, None] = {}
    tokens = [token for token in _TOKEN.findall(text) if not token.startswith("#")]
    # Per open block: its message, and that of the field whose value comes next; None inside what is unknown.
    blocks: list[tuple[Any, Any]] = [(descriptor, None)]
    for token, following in zip(tokens, [*tokens[1:], ""], strict=True):
        message, upcoming = blocks[-1]
        if token in "{<":
            blocks.append((upcoming, None))
        elif token in "}>" and len(blocks) > 1:
            blocks.pop()
        elif message is not None and following in (":", "{", "<", "[") and token.isidentifier():
            field = message.fields_by_name.get(token)
            blocks[-1] = (message, field.message_type if field else None)
            if field is None and token not in IGNORED_FIELDS:
                found[f"{message.name}.{token}"] = None
    return tuple(found)
