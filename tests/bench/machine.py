"""What the figures were measured on: processor and versions, nothing that names a computer or its owner."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np

from lrptool.kernels.simd import SIMD
from lrptool.version import VERSION
from tests.bench.partner import cores

PACKAGES = ("numpy", "numba", "llvmlite", "onnx", "onnxruntime", "torch", "zennit", "captum")
SIMD_NAMES = {"avx512": "AVX-512", "avx2": "AVX2", "neon": "NEON", "plain": "none used"}


def processor() -> str:
    """Return the processor's name, as far as the system tells."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def gigabytes() -> str:
    """Return the memory of the machine."""
    if "SC_PHYS_PAGES" not in getattr(os, "sysconf_names", ()):
        return "unknown"
    return f"{os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') / 1e9:.0f} GB"


def blas() -> str:
    """Return the library behind numpy's products."""
    found = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
    return f"{found['name']} {found['version']}"


def versions() -> str:
    """Return the versions of all libraries that take part."""
    found = [f"lrptool {VERSION}", f"Python {platform.python_version()}"]
    for package in PACKAGES:
        try:
            found.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            continue
    return ", ".join(found)


def description(load_before: float | None) -> list[str]:
    """Return lines of Markdown.

    Parameters
    ----------
    load_before : float or None
        Processes that wanted a core in the minute before the bench began.
    """
    return [
        f"- Processor: {processor()}, {cores()} cores used, vector instructions: {SIMD_NAMES[SIMD.name]}",
        f"- Memory: {gigabytes()}; system: {platform.system()} {platform.machine()}",
        f"- Versions: {versions()}",
        f"- sgemm: numpy with {blas()}",
        *([] if load_before is None else [f"- Load in the minute before: {load_before:.1f}"]),
    ]


def load_average() -> float | None:
    """Return the mean number of processes that wanted a core in the last minute."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else None
