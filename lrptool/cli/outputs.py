"""Where results go: from ``-o`` to file names."""

from __future__ import annotations

import os
import re
import string
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lrptool.errors import OutputError
from lrptool.files import refuse_existing

if TYPE_CHECKING:
    from lrptool.zoo import Labels

FORMATS = ("png", "npy", "npz", "json")
_FOREIGN = ("jpg", "jpeg", "gif", "bmp", "tif", "tiff", "webp", "avif", "svg", "pdf", "eps", "ppm", "pgm", "mat", "csv")
_FIELDS = ("stem", "target", "index", "model", "composite", "number")
_DEFAULT = "{stem}_{target}"
_LONGEST = 80
"""Letters of a label in a file name; file systems take 255 bytes."""


def formats_of(text: str | None, output: str | None = None, known: tuple[str, ...] = FORMATS) -> tuple[str, ...]:
    """Return the formats of a comma-separated list, without one that of the output's ending, else png."""
    if text is None:
        ending = _ending(output or "")
        return (ending if ending in FORMATS else "png",)
    chosen = tuple(dict.fromkeys(part.strip().lower() for part in text.split(",") if part.strip()))
    unknown = [one for one in chosen if one not in known]
    if unknown or not chosen:
        found = f"'{unknown[0]}'" if unknown else "nothing"
        raise click.BadParameter(f"expected some of {', '.join(known)}, found {found}", param_hint="--save")
    return chosen


def slug(text: str) -> str:
    """A label as part of a file name; never a folder's name such as ``..``."""
    return re.sub(r"[^\w.-]+", "_", text)[:_LONGEST].strip("_.") or "class"


def target_names(labels: Labels) -> list[str]:
    """Return what ``{target}`` is for every class: its first name, with its number where another class is called so."""
    names = [slug(labels.name(index)) for index in range(labels.count)]
    # Some file systems do not tell capitals from small letters.
    count = Counter(name.casefold() for name in names)
    return [f"{name}_{index}" if count[name.casefold()] > 1 else name for index, name in enumerate(names)]


def endings_of(views: Sequence[str]) -> tuple[str, ...]:
    """What follows the name of a result, picture by picture."""
    return tuple(f"_{view}.png" if len(views) > 1 else ".png" for view in views)


@dataclass(slots=True)
class Destination:
    """Names files after results, and sees to it that no two results get one name.

    Parameters
    ----------
    pattern : str
        With fields ``{stem} {target} {index} {model} {composite} {number}``, without the ending.
    single : bool
        Whether a plain file was named: it can take one result only.
    stdout : bool
        Whether the result goes to stdout instead.
    nowhere : bool
        Whether nothing is to be kept.
    force : bool
        Whether existing files may be replaced.
    inputs : sequence of str
        Files that are read, and therefore never replaced.
    """

    pattern: str
    single: bool = False
    stdout: bool = False
    nowhere: bool = False
    force: bool = False
    inputs: Sequence[str] = ()
    _taken: set[Path] = field(default_factory=set)
    _read: set[tuple[int, int]] | None = None

    @classmethod
    def of(
        cls,
        output: str | None,
        formats: tuple[str, ...],
        inputs: Sequence[str],
        *,
        force: bool,
        default: str = _DEFAULT,
    ) -> Destination:
        """Return what ``-o`` means: a folder, a pattern, a file, or ``-``; `default` names files in a folder."""
        if output is None:
            return cls(default, force=force, inputs=inputs)
        if output == "-":
            if len(formats) > 1:
                raise click.UsageError("-o - takes one format: --save png, npy, npz or json")
            return cls("", stdout=True)
        if output == os.devnull:
            return cls("", nowhere=True)
        if not output or "\0" in output:
            raise click.BadParameter(f"expected a folder, a file or a pattern, found {output!r}", param_hint="-o")
        ending = _ending(output)
        if ending in FORMATS:
            if formats != (ending,):
                raise click.UsageError(f"-o {output} is a .{ending}, but --save asks for {', '.join(formats)}")
            output = output[: -len(ending) - 1]
        elif ending in _FOREIGN and not os.path.isdir(output):  # noqa: PTH112  (a name too long is no folder either)
            raise click.BadParameter(f"{output}: expected .{', .'.join(FORMATS)} or a folder", param_hint="-o")
        used = _fields_of(output)
        if not used and ending not in FORMATS:
            return cls(str(Path(_escaped(output)) / default), force=force, inputs=inputs)
        return cls(output if used else _escaped(output), single=not used, force=force, inputs=inputs)

    @property
    def limit(self) -> str | None:
        """What to say to a second result where there can be one only; None where there can be any number."""
        if self.stdout:
            return "-o - takes one picture and one target"
        if self.single:
            return (
                "-o with a plain file name takes one picture and one target: name a folder, or a pattern such as "
                "'{stem}_{target}.png'"
            )
        return None

    def files(self, facts: Mapping[str, Any], endings: tuple[str, ...]) -> list[Path]:
        """Return one path per ending for a result; none of them exists, or may be replaced.

        Raises
        ------
        OutputError
            A file is there already or is an input, two results have one name, or the folder cannot be made.
        """
        base = self.pattern.format(**facts)
        paths = [Path(f"{base}{ending}") for ending in endings]
        for path in paths:
            if path in self._taken:
                raise OutputError(
                    f"{path}: two results would get this name",
                    hint="tell them apart: -o 'DIR/{number}_{stem}_{target}.png'",
                )
            if self._is_input(path):
                raise OutputError(f"{path}: is one of the inputs", hint="-o names another place")
            refuse_existing(path, force=self.force)
        try:
            paths[0].parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(
                f"{paths[0].parent}: cannot be made: {error.strerror}", hint="choose another -o"
            ) from None
        self._taken.update(paths)
        return paths

    def _is_input(self, path: Path) -> bool:
        """Whether a path is one of the files that are read, whatever it is called there."""
        written = identities([path])
        if written and self._read is None:
            self._read = identities(self.inputs)
        return bool(written & (self._read or set()))


def identities(paths: Iterable[str | Path]) -> set[tuple[int, int]]:
    """Return what `os.path.samefile` compares, for those of some paths where there is a file."""
    found = set()
    for path in paths:
        with suppress(OSError, ValueError):
            file = Path(path).stat()
            found.add((file.st_dev, file.st_ino))
    return found


def _ending(output: str) -> str:
    """A file name's ending in small letters, without the dot."""
    return Path(output).suffix.lower().lstrip(".")


def _escaped(text: str) -> str:
    """A path without fields as a pattern."""
    return text.replace("{", "{{").replace("}", "}}")


def _fields_of(pattern: str) -> list[str]:
    """Return the fields of a pattern; a usage error names an unknown one, and anything but a bare name in braces."""
    try:
        parts = [part for part in string.Formatter().parse(pattern) if part[1] is not None]
    except ValueError as error:
        raise click.BadParameter(f"{pattern!r}: {error}", param_hint="-o") from None
    known = ", ".join(f"{{{name}}}" for name in _FIELDS)
    for _, name, form, conversion in parts:
        if form or conversion:
            raise click.BadParameter(f"{pattern!r}: fields are bare names: {known}", param_hint="-o")
        if name not in _FIELDS:
            raise click.BadParameter(f"unknown field {{{name}}}, known: {known}", param_hint="-o")
    return [str(name) for _, name, _, _ in parts]
