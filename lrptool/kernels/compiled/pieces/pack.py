"""Relevance that lies somewhere as a whole, packed into planes."""

from __future__ import annotations

import numpy as np

from lrptool.kernels.compiled.bare import address_at, item_size, pointer_at
from lrptool.kernels.compiled.jit import kernel
from lrptool.kernels.compiled.pieces.onward import NOTHING, SINGLE, clear_around, fractions_of, hand_on

_ALIVE = np.uint8(1)


@kernel
def _pack_sum(task, frame, step, like):
    """Write one band of rows of the sum over a group's channels; its number counts items, groups and bands."""
    bands = -(-task.height // task.band)
    band, rest = step % bands, step // bands
    n, g = rest // task.groups, rest % task.groups
    each, size = task.channels // task.groups, task.height * task.width
    number = g * task.slots + task.slot
    plane = address_at(frame, task.planes, n, number * task.plane_values, like)
    s = pointer_at(frame.own, like)
    for y in range(band * task.band, min(task.height, (band + 1) * task.band)):
        begin = (task.top + y) * task.cols + task.left
        row = pointer_at(plane + begin * item_size(like), like)
        for k in range(each):
            fractions_of(task, frame, n, (g * each + k) * size + y * task.width, frame.own, task.width, like)
            for i in range(task.width):
                row[i] = s[i] if k == 0 else row[i] + s[i]
        clear_around(task, plane, y, 0, task.width, like)
    pointer_at(frame.flags + task.flags + n * task.groups * task.slots + number, _ALIVE)[0] = _ALIVE


@kernel
def pack_pieces(task, frame, begin, end, like):
    """Pack pieces [begin, end): their number counts items, bands and channels.

    The fractions of r (channels, height, width) go into zero-padded planes of rows of `cols`, from row `top`, column
    `left` on, `band` values at a time. An item has `groups` × `slots` planes; this task fills those of each group from
    `slot` on, and sets the flag of a plane that holds anything. With `summed` the channels of a group are added up in
    one plane; pieces count items, groups and bands, and these rows. With `column` the planes are cut into columns of
    so many values, and lie side by side column by column: `plane_values` is that of a group.
    """
    size = task.height * task.width
    bands = -(-size // task.band)
    for step in range(begin, end):
        if task.summed:
            _pack_sum(task, frame, step, like)
            continue
        c, rest = step % task.channels, step // task.channels
        n, low = rest // bands, rest % bands * task.band
        r = address_at(frame, task.r, n, c * size + low, like)
        hand_on(task, frame, n, c, SINGLE, low, r, NOTHING, r, NOTHING, min(task.band, size - low), like)
