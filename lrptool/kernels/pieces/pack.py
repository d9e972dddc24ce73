"""Relevance that lies somewhere as a whole, packed into planes."""

from __future__ import annotations

from lrptool.kernels.atomic import address_at, values_at
from lrptool.kernels.jit import kernel
from lrptool.kernels.pieces.onward import NOTHING, SINGLE, clear_around, fractions_of, hand_on


@kernel()
def _pack_sum(task, step, places, bases, flags, own):  # type: ignore[no-untyped-def]
    """Write one band of rows of the sum over a group's channels; its number counts items, groups and bands."""
    bands = -(-task.height // task.band)
    band, rest = step % bands, step // bands
    n, g = rest // task.groups, rest % task.groups
    each, size = task.channels // task.groups, task.height * task.width
    number = g * task.slots + task.slot
    first = address_at(places[task.planes], n, number * task.plane_values, bases, own)
    plane = values_at(places[task.planes], n, number * task.plane_values, task.plane_values, bases, own)
    s = own[: task.width]
    for y in range(band * task.band, min(task.height, (band + 1) * task.band)):
        begin = (task.top + y) * task.cols + task.left
        row = plane[begin : begin + task.width]
        for k in range(each):
            fractions_of(task, n, (g * each + k) * size + y * task.width, places, bases, s)
            for i in range(task.width):
                row[i] = s[i] if k == 0 else row[i] + s[i]
        clear_around(task, first, y, 0, task.width, own)
    flags[task.flags + n * task.groups * task.slots + number] = 1


@kernel()
def pack_pieces(task, begin, end, places, bases, flags, own):  # type: ignore[no-untyped-def]
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
            _pack_sum(task, step, places, bases, flags, own)
            continue
        c, rest = step % task.channels, step // task.channels
        n, low = rest // bands, rest % bands * task.band
        r = address_at(places[task.r], n, c * size + low, bases, own)
        hand_on(task, n, c, SINGLE, low, r, r, NOTHING, min(task.band, size - low), places, bases, flags, own)
