"""A process of its own that answers requests: other libraries bring threads and settings that must not meet ours."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from typing import Any, Self

from tests.bench import ENVIRONMENT, ROOT

BLAS_THREADS = ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")


def cores() -> int:
    """Return the cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Partner:
    """A module run with ``python -m`` that serves one JSON object per line.

    Parameters
    ----------
    module : str
    threads : int
        Threads its linear algebra may use.
    """

    def __init__(self, module: str, threads: int) -> None:
        environment = ENVIRONMENT | dict.fromkeys(BLAS_THREADS, str(threads))
        command = [sys.executable, "-W", "ignore", "-m", module]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=environment
        )
        self._module = module

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        self._process.communicate()

    def ask(self, **request: Any) -> dict[str, Any]:
        """Return the answer to a request."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self._module} ended with code {self._process.wait()}")
        answer: dict[str, Any] = json.loads(line)
        return answer


def serve(answers: Mapping[str, Callable[..., dict[str, Any]]]) -> None:
    """Answer requests ``{"do": name, …}`` until the other end closes."""
    # What libraries print must not get between the answers.
    answered, sys.stdout = sys.stdout, sys.stderr
    for line in sys.stdin:
        request = json.loads(line)
        answered.write(json.dumps(answers[request.pop("do")](**request)) + "\n")
        answered.flush()
