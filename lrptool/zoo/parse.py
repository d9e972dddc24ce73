"""From ``card.yaml`` to cards: everything that is wrong with one is said at once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from lrptool.errors import ConfigError
from lrptool.reading import read_yaml
from lrptool.zoo import schema
from lrptool.zoo.card import Card, File, Output, Preprocess
from lrptool.zoo.schema import REQUIRED, Reader

_TEXTS = ("title", "task", "license", "citation", "source", "accuracy", "notes")
_KINDS = ("softmax", "logits", "multilabel", "regression")
_SWITCH = (True, False)
_PLACES = ("name", "size", *schema.DIGESTS, "also", "urls", "by_hand")


def _preprocess(data: Any, problems: list[str]) -> Preprocess:
    """Read the section ``preprocess``."""
    reader = Reader(data, "preprocess", problems)
    reader.only("size", "resize", "mode", "channels", "raw_scale", "mean", "scale", "std", "invert", "fit")

    def side_or_size(value: Any) -> Any:
        return schema.size(value) if isinstance(value, list) else schema.side(value)

    return Preprocess(
        size=reader.get("size", schema.size, "[height, width]", REQUIRED),
        resize=reader.get("resize", side_or_size, "a side or [h, w]"),
        mode=reader.get("mode", schema.one_of("squash", "shortest"), "squash or shortest", "squash"),
        channels=reader.get("channels", schema.one_of("BGR", "RGB", "GRAY"), "BGR, RGB or GRAY", "BGR"),
        raw_scale=reader.get("raw_scale", schema.number, "a number", 255.0),
        mean=reader.get("mean", schema.mean, "one number per channel or a file name"),
        scale=reader.get("scale", schema.number, "a number", 1.0),
        std=reader.get("std", schema.numbers, "one number per channel"),
        invert=reader.get("invert", schema.one_of("auto", *_SWITCH), "true, false or auto", default=False),
        fit=reader.get("fit", schema.one_of("mnist"), "mnist"),
    )


def _output(data: Any, problems: list[str]) -> Output:
    """Read the section ``output``."""
    if data is None:
        return Output()
    reader = Reader(data, "output", problems)
    reader.only("node", "kind")
    return Output(
        node=reader.get("node", schema.text, "a layer's or tensor's name"),
        kind=reader.get("kind", schema.one_of(*_KINDS), ", ".join(_KINDS[:-1]) + " or regression"),
    )


def _file(data: Any, where: str, archives: Mapping[str, File], problems: list[str]) -> File:
    """Read one file: its name alone, or a mapping."""
    reader = Reader({"name": data} if isinstance(data, str) else data, where, problems)
    inside = reader.data.get("archive") is not None
    reader.only(*_PLACES, *(() if archives is _NONE else ("archive", "member")))
    accept, expected = schema.file_name, "a file name"
    if archives is _NONE:
        accept, expected = schema.archive_name, f"a file name in {', '.join(schema.ARCHIVES)}"
    name = reader.get("name", accept, expected, REQUIRED) or ""
    found = {key: reader.get(key, schema.digest(n), f"{n} hex digits") for key, n in schema.DIGESTS.items()}
    digests = {key: value for key, value in found.items() if value}
    addresses = schema.listed(partial(_address, name=name))
    urls = reader.get("urls", addresses, "a list of http or https addresses", ())
    unsafe = [] if digests else [url for url in urls if not url.startswith("https:")]
    problems += [f"{where}.urls: expected https or a checksum, found {url} without one" for url in unsafe]
    archive = reader.get("archive", schema.one_of(*archives), "one of the card's archives")
    member = reader.get("member", schema.member_name, "a path inside the archive", REQUIRED if inside else "")
    return File(
        name=name,
        size=reader.get("size", schema.file_size, "a number of bytes"),
        digests=digests,
        also=reader.get("also", schema.listed(schema.digest(64)), "a list of sha256, 64 hex digits each", ()),
        urls=urls,
        by_hand=reader.get("by_hand", addresses, "a list of http or https addresses", ()),
        archive=archives.get(archive) if archive else None,
        member=member or "",
    )


_NONE: dict[str, File] = {}
"""An archive lies in no other one."""


def _address(value: Any, name: str) -> str:
    """Accept an address, in which ``{name}`` stands for the file's name, ``{stem}`` for that without its ending."""
    if isinstance(value, str):
        value = value.replace("{name}", name).replace("{stem}", Path(name).stem)
    return schema.url(value)


def _archives(data: Any, problems: list[str]) -> dict[str, File]:
    """Read the section ``archives``, a list of files."""
    if not isinstance(data, list):
        problems += [] if data is None else [f"archives: expected a list, found {schema.shown(data)}"]
        return {}
    files = [_file(one, f"archives[{index}]", _NONE, problems) for index, one in enumerate(data)]
    return {file.name: file for file in files}


def _files(data: Any, archives: Mapping[str, File], problems: list[str]) -> tuple[str, str, tuple[File, ...]]:
    """Read the section ``files``: names of architecture and weights, and all files."""
    reader = Reader(data, "files", problems)
    reader.only("architecture", "weights", "others")
    entries = {key: reader.data.get(key) for key in ("architecture", "weights")}
    others = reader.data.get("others") or []
    if not isinstance(others, list):
        problems.append(f"files.others: expected a list, found {schema.shown(others)}")
        others = []
    read = {key: _file(v, f"files.{key}", archives, problems) for key, v in entries.items() if v is not None}
    whole = "weights" in read and read["weights"].name.endswith(".onnx")
    needed = ("weights",) if whole else ("architecture", "weights")
    problems += [f"files: '{key}' is missing, expected a file name or a mapping" for key in needed if key not in read]
    if whole and "architecture" in read and read["architecture"].name == read["weights"].name:
        del read["architecture"]  # an ONNX file is both
    rest = [_file(one, f"files.others[{index}]", archives, problems) for index, one in enumerate(others)]
    files = (*read.values(), *rest)
    names = [file.name for file in files]
    problems += [f"files: '{name}' is given twice" for name in sorted({n for n in names if n and names.count(n) > 1})]
    weights = read["weights"].name if "weights" in read else ""
    return read["architecture"].name if "architecture" in read else weights, weights, files


def _card(data: Any, path: Path, variant_of: str | None, problems: list[str]) -> Card:
    """Read a card's mapping, its variants left aside."""
    reader = Reader(data, "card", problems)
    sections = ("files", "archives", "preprocess", "output", "labels", "default_composite")
    reader.only("name", "aliases", *sections, "variants", *_TEXTS)
    archives = _archives(reader.data.get("archives"), problems)
    architecture, weights, files = _files(reader.data.get("files"), archives, problems)
    return Card(
        name=reader.get("name", schema.model_name, "a name", REQUIRED),
        path=path,
        architecture=architecture,
        weights=weights,
        files=files,
        preprocess=_preprocess(reader.data.get("preprocess"), problems),
        output=_output(reader.data.get("output"), problems),
        labels=reader.get("labels", schema.labels, "a list of names or a file name"),
        aliases=reader.get("aliases", schema.listed(schema.model_name), "a list of names", ()),
        variant_of=variant_of,
        default_composite=reader.get("default_composite", schema.text, "a composite's name"),
        **{key: reader.get(key, schema.text, "text", "") for key in _TEXTS},
    )


def _over(base: Any, change: Any) -> Any:
    """Lay what a variant changes over what the card says: mappings key by key, everything else as a whole."""
    if isinstance(base, Mapping) and isinstance(change, Mapping):
        return {**base, **{key: _over(base.get(key), value) for key, value in change.items()}}
    return change


def _variants(data: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the name of every variant and the mapping of its card."""
    base = {key: value for key, value in data.items() if key not in ("name", "aliases", "variants", "accuracy")}
    files = base.get("files")
    if isinstance(files, Mapping) and isinstance(files.get("weights"), Mapping):
        # What identifies the card's own weights does not identify a variant's.
        kept = {key: value for key, value in files["weights"].items() if key in ("urls", "by_hand")}
        base["files"] = {**files, "weights": kept}
    for name, change in data["variants"].items():
        merged = _over(base, change if change is not None else {})
        yield str(name), {"name": name, **merged} if isinstance(merged, dict) else merged


def read_cards(path: Path) -> tuple[Card, ...]:
    """Read and check a card and its variants.

    Parameters
    ----------
    path : Path

    Returns
    -------
    tuple of Card
        The card itself, then its variants.

    Raises
    ------
    ConfigError
        Everything that is wrong with it, all at once.
    """
    data = read_yaml(path)
    problems: list[str] = []
    cards = [_card(data, path, None, problems)]
    variants = data.get("variants") if isinstance(data, Mapping) else None
    if isinstance(variants, Mapping):
        for name, merged in _variants(data):
            own: list[str] = []
            cards.append(_card(merged, path, cards[0].name, own))
            problems += [f"variants.{name}: {problem}" for problem in own if problem not in problems]
    elif variants is not None:
        problems.append(f"variants: expected a mapping, found {schema.shown(variants)}")
    if problems:
        raise ConfigError(f"{path}: " + "; ".join(problems))
    return tuple(cards)


def read_card(path: Path) -> Card:
    """Read and check a card, without its variants; ConfigError as of `read_cards`."""
    return read_cards(path)[0]
