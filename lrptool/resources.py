"""Where files are: those that travel with the package, the user's cache, weights that nobody has named."""

from __future__ import annotations

import os
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent
WEIGHTS = (".caffemodel", ".caffemodel.h5", ".h5")
"""How files with Caffe's weights end; the last may be anybody's."""


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


def weights_in(folder: Path) -> list[Path]:
    """Return the files of a folder that hold Caffe's weights; an ``.h5`` counts where no name says Caffe."""
    for endings in (WEIGHTS[:2], WEIGHTS[2:]):
        found = [path for ending in endings for path in folder.glob(f"*{ending}") if not path.name.startswith(".")]
        if found:
            return sorted(found)
    return []
