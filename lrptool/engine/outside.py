"""Models as files have them, run by onnxruntime as they are: to compare scores with."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from lrptool.errors import ModelError

_FATAL = 4


def run_outside(model: bytes | Path, feeds: Mapping[str, NDArray[Any]], threads: int = 0) -> NDArray[np.float64]:
    """Return the first output of a model.

    Parameters
    ----------
    model : bytes or Path
    feeds : mapping of str to array
    threads : int

    Raises
    ------
    ModelError
        onnxruntime refuses the model or the input.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = _FATAL
    source = str(model) if isinstance(model, Path) else model
    try:
        session = onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
        found = session.run(None, dict(feeds))[0]
    except Exception as error:  # onnxruntime's exceptions share no public base
        text = str(error).strip()
        reason = text.splitlines()[0][:200] if text else type(error).__name__
        raise ModelError(f"onnxruntime does not run it: {reason}") from None
    return np.asarray(found, np.float64)
