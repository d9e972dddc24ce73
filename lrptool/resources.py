"""Where the files that travel with the package are: bundled models and composites."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def bundled(folder: str) -> Path:
    """Return the folder `folder` (``models`` or ``configs``) of the wheel, or of the checkout in a source install."""
    installed = _PACKAGE / "data" / folder
    return installed if installed.is_dir() else _PACKAGE.parent / folder
