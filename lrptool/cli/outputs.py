"""Where results go: from ``-o`` to file names."""

from __future__ import annotations

import re
import string
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click

from lrptool.errors import OutputError
from lrptool.files import refuse_existing

FORMATS = ("png", "npy", "npz", "json")
_FIELDS = ("stem", "target", "index", "model", "composite", "number")
_DEFAULT = "{stem}_{target}"


def formats_of(text: str | None, output: str | None = None) -> tuple[str, ...]:
    """Return the formats of a comma-separated list, without one that of the output's ending, else png."""
    if text is None:
        ending = _ending(output or "")
        return (ending if ending in FORMATS else "png",)
    chosen = tuple(dict.fromkeys(part.strip().lower() for part in text.split(",") if part.strip()))
    unknown = [one for one in chosen if one not in FORMATS]
    if unknown or not chosen:
        found = f"'{unknown[0]}'" if unknown else "nothing"
        raise click.BadParameter(f"expected some of {', '.join(FORMATS)}, found {found}", param_hint="--save")
    return chosen


def slug(text: str) -> str:
    """A label as part of a file name."""
    return re.sub(r"[^\w.-]+", "_", text).strip("_") or "class"


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
    force : bool
        Whether existing files may be replaced.
    """

    pattern: str
    single: bool = False
    stdout: bool = False
    force: bool = False
    _taken: set[Path] = field(default_factory=set)

    @classmethod
    def of(cls, output: str | None, formats: tuple[str, ...], *, force: bool) -> Destination:
        """Return what ``-o`` means: a folder, a pattern, a file, or ``-``."""
        if output is None:
            return cls(_DEFAULT, force=force)
        if output == "-":
            if len(formats) > 1:
                raise click.UsageError("-o - takes one format: --save png, npy, npz or json")
            return cls("", stdout=True, force=force)
        ending = _ending(output)
        if ending in FORMATS:
            if formats != (ending,):
                raise click.UsageError(f"-o {output} is a .{ending}, but --save asks for {', '.join(formats)}")
            output = output[: -len(ending) - 1]
        used = _fields_of(output)
        if not used and ending not in FORMATS:
            return cls(str(Path(_escaped(output)) / _DEFAULT), force=force)
        return cls(output if used else _escaped(output), single=not used, force=force)

    def files(self, facts: Mapping[str, Any], endings: tuple[str, ...]) -> list[Path]:
        """Return one path per ending for a result; none of them exists, or may be replaced.

        Raises
        ------
        OutputError
            A file is there already, two results have one name, or the folder cannot be made.
        """
        base = self.pattern.format(**facts)
        paths = [Path(f"{base}{ending}") for ending in endings]
        for path in paths:
            if path in self._taken:
                raise OutputError(
                    f"{path}: two results would get this name",
                    hint="name one folder: -o DIR"
                    if self.single
                    else "tell them apart: -o 'DIR/{number}_{stem}_{target}.png'",
                )
            refuse_existing(path, force=self.force)
        try:
            paths[0].parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(
                f"{paths[0].parent}: cannot be made: {error.strerror}", hint="choose another -o"
            ) from None
        self._taken.update(paths)
        return paths


def _ending(output: str) -> str:
    """A file name's ending in small letters, without the dot."""
    return Path(output).suffix.lower().lstrip(".")


def _escaped(text: str) -> str:
    """A path without fields as a pattern."""
    return text.replace("{", "{{").replace("}", "}}")


def _fields_of(pattern: str) -> list[str]:
    """Return the fields of a pattern; a usage error names an unknown one."""
    try:
        used = [name for _, name, _, _ in string.Formatter().parse(pattern) if name is not None]
    except ValueError as error:
        raise click.BadParameter(f"{pattern!r}: {error}", param_hint="-o") from None
    unknown = [name for name in used if name not in _FIELDS]
    if unknown:
        known = ", ".join(f"{{{name}}}" for name in _FIELDS)
        raise click.BadParameter(f"unknown field {{{unknown[0]}}}, known: {known}", param_hint="-o")
    try:
        pattern.format(**dict.fromkeys(_FIELDS, "") | {"index": 0})
    except ValueError as error:
        raise click.BadParameter(f"{pattern!r}: {error}", param_hint="-o") from None
    return used
