"""Everything that can go wrong by a user's doing, as a tree.

    LrpError                 exit 1
    ├─ ModelError            3       unreadable, truncated, malformed, weights that do not fit
    │  └─ UnsupportedError   4       an operator or attribute that cannot be explained, with its node name
    ├─ InputError            5       image, array shape, unknown target
    ├─ ConfigError           6       composite or card: all problems at once, unknown keys with "did you mean"
    ├─ OutputError           9       a result that cannot be written: no permission, existing file
    │  └─ DiskError          9       nor can any other: a full or broken disk
    └─ NumericError          7       non-finite relevance, with node and rule; scores that should be equal and are not

2 is a usage error, 130 is Ctrl-C, 7 also a check that fails, 8 a batch in which some inputs failed. Any other exception
is a defect of lrptool and keeps its traceback. The library raises these; it never prints and never exits.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from enum import IntEnum


class ExitCode(IntEnum):
    """Exit codes of the ``lrptool`` command."""

    OK = 0
    ERROR = 1
    USAGE = 2
    MODEL = 3
    UNSUPPORTED = 4
    INPUT = 5
    CONFIG = 6
    NUMERIC = 7
    PARTIAL = 8
    OUTPUT = 9
    INTERRUPTED = 130


class LrpError(Exception):
    """Root of all errors a user can cause.

    Parameters
    ----------
    message : str
        One line: where, what was expected, what was found.
    hint : str, optional
        What to type or change next.
    """

    exit_code: ExitCode = ExitCode.ERROR

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class ModelError(LrpError):
    """A model that cannot be read, or whose weights do not fit its architecture."""

    exit_code = ExitCode.MODEL


class UnsupportedError(ModelError):
    """An operator or attribute that cannot be explained; names the node."""

    exit_code = ExitCode.UNSUPPORTED


class InputError(LrpError):
    """An image, array or target that cannot be used."""

    exit_code = ExitCode.INPUT


class ConfigError(LrpError):
    """A composite, rule or card with a mistake."""

    exit_code = ExitCode.CONFIG


class OutputError(LrpError):
    """A result that cannot be written."""

    exit_code = ExitCode.OUTPUT


class DiskError(OutputError):
    """A result that cannot be written for a reason that holds for all others: a full disk, one that only reads."""


class NumericError(LrpError):
    """Relevance that is not finite, with node and rule; scores that should be equal and are not."""

    exit_code = ExitCode.NUMERIC


def did_you_mean(word: object, known: Iterable[object]) -> str:
    """Return ``did you mean 'x'?`` for the closest known word, or the list of what is known."""
    names = sorted(map(str, known))
    close = difflib.get_close_matches(str(word).lower(), names, n=1, cutoff=0.6)
    if close:
        return f"did you mean '{close[0]}'?"
    shown = ", ".join(names[:12]) + (", …" if len(names) > 12 else "")
    return f"known: {shown}"
