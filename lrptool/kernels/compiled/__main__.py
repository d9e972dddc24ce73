"""Compile a kernel and keep it: FOLDER NAME DTYPE."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from lrptool.kernels.machine_code import MachineCode

folder, name, dtype = sys.argv[1:]
MachineCode(Path(folder)).make(name, np.dtype(dtype))
