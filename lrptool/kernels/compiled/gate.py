"""Who takes part in a kernel: the gate that its threads go in and out by, see `lrptool.kernels.team`."""

from __future__ import annotations

from lrptool.kernels.compiled.atomic import take, wait_for
from lrptool.kernels.compiled.jit import kernel
from lrptool.kernels.team import APART, CLOSED


@kernel
def enter(gate):
    """Return the caller's number among those who take part; `CLOSED` or more where it is too late."""
    return take(gate, 1)


@kernel
def leave(gate, leads):
    """Say that the caller is done; who leads closes the gate and waits for all who came."""
    if leads:
        came = take(gate, CLOSED)
        wait_for(gate + APART, came - 1)
    else:
        take(gate + APART, 1)
