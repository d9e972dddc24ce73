"""What results were made on and with, for run.json."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from lrptool.version import VERSION

_PACKAGES = ("numpy", "numba", "onnx", "onnxruntime", "pillow", "h5py", "zarr", "distributed", "fsspec")


def versions() -> dict[str, str]:
    """Return the versions of all that takes part."""
    found = {"lrptool": VERSION, "python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def machine() -> dict[str, Any]:
    """Return what is known of the machine."""
    return {"system": platform.system(), "architecture": platform.machine(), "cores": cores(), "host": platform.node()}


def cores() -> int:
    """Return the number of processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
