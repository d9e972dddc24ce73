"""Caffe's file format as protobuf descriptors, built in code from compact tables.

A row of `fields` and `forks` reads ``type name number`` with an optional ``= default``; the type is followed by ``*``
where the field repeats and by ``#`` where it repeats packed. Fields that never change what a trained network computes
(the choice of a GPU engine, say) are left out; the reader of the text form knows them by `IGNORED_FIELDS`.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from lrptool.loaders.caffe.fields import ENUMS, MESSAGES
from lrptool.loaders.caffe.forks import FIRST_FREE_NUMBER, FORK_ENUMS, FORK_MESSAGES

Message = Any
"""A protobuf message of a class built here; its fields are known only at run time."""

IGNORED_FIELDS = frozenset({
    "accuracy_param", "annotated_data_param", "backend", "blob_share_mode", "cache_images", "contrastive_loss_param",
    "crop_mode", "cudnn_flag", "debug_info", "distort_param", "emit_constraint", "engine", "expand_param",
    "force_backward", "hdf5_data_param", "hdf5_output_param", "hinge_loss_param", "infogain_loss_param", "loss_param",
    "noise_param", "optimize_train", "prefetch", "python_param", "resize_param", "root_folder", "share_mode",
    "sigmoid_param", "tanh_param", "variance_norm", "video_data_param",
})  # fmt: skip
"""Fields without effect on a trained network's output."""

_SCALARS = ("bool", "bytes", "double", "float", "int32", "int64", "string", "uint32")
_ALL_ENUMS = {**ENUMS, **FORK_ENUMS}


def new_message(kind: str) -> Message:
    """Return an empty message of Caffe's format, such as ``NetParameter``."""
    return _classes()[f"caffe.{kind}"]()


def is_fork_field(number: int) -> bool:
    """Whether a field number is one of those that stand for text alone."""
    return number >= FIRST_FREE_NUMBER


@cache
def _classes() -> dict[str, Any]:
    """Build all message classes in a pool of their own, so that no other Caffe schema in the process collides."""
    schema = descriptor_pb2.FileDescriptorProto(name="caffe.proto", package="caffe", syntax="proto2")
    rows = {name: [*_rows(MESSAGES.get(name, "")), *_rows(FORK_MESSAGES.get(name, ""))] for name in _names()}
    rows["V1LayerParameter"] += _newer_blocks(rows)
    messages = {}
    for name, table in rows.items():
        messages[name] = schema.message_type.add(name=name)
        for row in table:
            _add_field(messages[name], row)
    for name, values in _ALL_ENUMS.items():
        owner, _, short = name.rpartition(".")
        enum = messages[owner].enum_type.add(name=short) if owner else schema.enum_type.add(name=short)
        for value, number in values.items():
            enum.value.add(name=value, number=number)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(schema)
    return {
        f"caffe.{name}": message_factory.GetMessageClass(pool.FindMessageTypeByName(f"caffe.{name}"))
        for name in messages
    }


def _names() -> list[str]:
    """Return the names of all messages."""
    return list(dict.fromkeys([*MESSAGES, *FORK_MESSAGES]))


def _rows(table: str) -> list[str]:
    """Split a table into its rows."""
    return [row.strip() for row in table.replace("\n", ";").split(";") if row.strip()]


def _newer_blocks(rows: dict[str, list[str]]) -> list[str]:
    """Return rows for the blocks of options that V1 layers lack: forks used them there."""
    known = {row.split()[1] for row in rows["V1LayerParameter"]}
    blocks = [row.split()[:2] for row in rows["LayerParameter"] if row.split()[1].endswith("_param")]
    missing = [(kind, name) for kind, name in blocks if name not in known]
    return [f"{kind} {name} {FIRST_FREE_NUMBER + 1 + k}" for k, (kind, name) in enumerate(missing)]


def _add_field(message: descriptor_pb2.DescriptorProto, row: str) -> None:
    """Add one row of the table to a message."""
    declaration, _, default = row.partition("=")
    kind, name, number = declaration.split()
    field = message.field.add(name=name, number=int(number))
    field.label = field.LABEL_REPEATED if kind.endswith(("*", "#")) else field.LABEL_OPTIONAL
    if kind.endswith("#"):
        field.options.packed = True
    kind = kind.rstrip("*#")
    if kind in _SCALARS:
        field.type = descriptor_pb2.FieldDescriptorProto.Type.Value(f"TYPE_{kind.upper()}")
    else:
        field.type = field.TYPE_ENUM if kind in _ALL_ENUMS else field.TYPE_MESSAGE
        field.type_name = f".caffe.{kind}"
    if default:
        field.default_value = default.strip()
