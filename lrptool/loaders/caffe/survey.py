"""What a parser of protobuf text does not tell: on which line a layer begins, and which fields nobody knows."""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import dataclass, field
from typing import Any

from lrptool.loaders.caffe.schema import IGNORED_FIELDS

_TOKEN = re.compile(r"""#[^\n]*|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'|[A-Za-z_]\w*|\d[\w.+-]*|\S""")
_LAYERS = {"LayerParameter": "layer", "V1LayerParameter": "layers"}


@dataclass(frozen=True, slots=True)
class Survey:
    """What a look over a text finds.

    Parameters
    ----------
    text : str
        The text, with layer types put so that the format's own parser takes them; lines are where they were.
    layers : tuple of (str, int)
        The field of each layer (``layer``, or ``layers`` as in 2014) and the line on which it begins, in file order.
    unknown : tuple of str
        ``Message.field`` for every field that the format does not have.
    blocks : int
        How many blocks are opened.
    """

    text: str
    layers: tuple[tuple[str, int], ...]
    unknown: tuple[str, ...]
    blocks: int


@dataclass(slots=True)
class _Block:
    """An open block: its message and that of the field whose value comes next; None inside what is unknown."""

    message: Any
    upcoming: Any = None


@dataclass(slots=True)
class _Finds:
    """What has been found so far."""

    layers: list[tuple[str, int]] = field(default_factory=list)
    unknown: dict[str, None] = field(default_factory=dict)
    edits: list[tuple[int, int, str]] = field(default_factory=list)


def survey(text: str, descriptor: Any) -> Survey:
    """Look over a text.

    Parameters
    ----------
    text : str
        Protobuf text; what is said of damaged text means nothing.
    descriptor : Descriptor
        Of the message the text stands for.
    """
    tokens = [match for match in _TOKEN.finditer(text) if not match[0].startswith("#")]
    finds, blocks, begin = _Finds(), [_Block(descriptor)], 0
    for index, match in enumerate(tokens):
        token, block = match[0], blocks[-1]
        following = tokens[index + 1][0] if index + 1 < len(tokens) else ""
        if token in "{<":
            name = _LAYERS.get(getattr(block.upcoming, "name", ""))
            if len(blocks) == 1 and name is not None:
                finds.layers.append((name, match.start() if tokens[index - 1][0] == "," else begin))
            blocks.append(_Block(block.upcoming))
        elif token in "}>" and len(blocks) > 1:
            blocks.pop()
        elif block.message is not None and following in (":", "{", "<", "[") and token.isidentifier():
            begin = match.start() if len(blocks) == 1 else begin
            known = block.message.fields_by_name.get(token)
            block.upcoming = known.message_type if known else None
            if known is None and token not in IGNORED_FIELDS:
                finds.unknown[f"{block.message.name}.{token}"] = None
            if token == "type" and following == ":" and index + 2 < len(tokens):
                _respell_type(block.message, match, tokens[index + 2], finds)
    ends = [match.start() for match in re.finditer("\n", text)]
    layers = tuple((name, bisect_right(ends, place) + 1) for name, place in finds.layers)
    opened = sum(match[0] in "{<" for match in tokens)
    return Survey(_edited(text, finds.edits), layers, tuple(finds.unknown), opened)


def _respell_type(message: Any, name: re.Match[str], value: re.Match[str], finds: _Finds) -> None:
    """Note how to put a layer's type: forks give V1 layers types as strings or as words the old list does not have."""
    word = value[0].isidentifier()
    if message.name == "V1LayerParameter":
        listed = message.fields_by_name["type"].enum_type.values_by_name
        if (word and value[0] in listed) or value[0][0].isdigit():
            return
        finds.edits.append((name.start(), name.end(), "type_name"))
    if message.name in _LAYERS and word:
        finds.edits.append((value.start(), value.end(), f'"{value[0]}"'))


def _edited(text: str, edits: list[tuple[int, int, str]]) -> str:
    """Return the text with some pieces replaced."""
    pieces, done = [], 0
    for start, stop, piece in edits:
        pieces += [text[done:start], piece]
        done = stop
    return "".join((*pieces, text[done:]))
