"""Ctrl-C while kernels are compiled.

LLVM's objects are freed, and call back, in places where Python can only print an exception and go on: an interrupt that
arrives there is lost, or leaves a trail on stderr. So it is noted, and raised before the compiler's next pass.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from numba.core import event


class _Stop(event.Listener):  # type: ignore[misc]
    """Raises KeyboardInterrupt at the beginning of a pass once it is wished for."""

    wished = False

    def note(self, *_: object) -> None:
        """Note an interrupt; called as a signal's handler."""
        self.wished = True

    def on_start(self, _: Any) -> None:
        """Stop before a pass."""
        if self.wished and threading.current_thread() is threading.main_thread():
            raise KeyboardInterrupt

    def on_end(self, _: Any) -> None:
        """Nothing: a pass that is over has cleared up."""


@contextmanager
def interruptible() -> Iterator[None]:
    """Let Ctrl-C end what is compiled inside, between two passes; only where Ctrl-C is Python's own affair."""
    ours = threading.current_thread() is threading.main_thread()
    if not ours or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    stop = _Stop()
    signal.signal(signal.SIGINT, stop.note)
    try:
        with event.install_listener("numba:run_pass", stop):
            yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if stop.wished:
        raise KeyboardInterrupt
