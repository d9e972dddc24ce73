"""Where files are: those that travel with the package, and the user's cache."""

from __future__ import annotations

import os
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def bundled(folder: str) -> Path:
    """Return the folder `folder` (``models`` or ``configs``) of the wheel, or of the checkout in a source install."""
    installed = _PACKAGE / "data" / folder
    return installed if installed.is_dir() else _PACKAGE.parent / folder


def user_cache() -> Path:
    """Return the folder of lrptool's caches: ``LRPTOOL_CACHE``, or the platform's place for them; it may not exist.

    Who has no home folder has no such place, either: the path is one where nothing is and nothing can be.
    """
    if chosen := os.environ.get("LRPTOOL_CACHE"):
        return Path(chosen)
    from platformdirs import user_cache_path  # noqa: PLC0415  (not needed by most commands)

    try:
        # Some versions leave the ~ of a home that is not known in the path, others raise; this raises.
        return user_cache_path("lrptool", appauthor=False).expanduser()
    except RuntimeError:
        return Path(os.devnull) / "lrptool"
