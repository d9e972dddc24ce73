"""R / stabilised denominator, written straight into zero-padded planes."""

from __future__ import annotations

from lrptool.kernels.atomic import values_at
from lrptool.kernels.jit import kernel


@kernel()
def fractions(r, den, z, epsilon, clip, where, normalised, coefficient, out):  # type: ignore[no-untyped-def]
    """Fill `out` with coefficient · r / (den ± epsilon); zero where z has the other sign.

    Returns whether anything in it is not zero.
    """
    zero = out.dtype.type(0)
    if not normalised:
        for i in range(out.size):
            out[i] = coefficient * r[i]
    elif clip:
        for i in range(out.size):
            d = den[i]
            out[i] = coefficient * r[i] / (min(d, -epsilon) if d < zero else max(d, epsilon))
    else:
        for i in range(out.size):
            d = den[i]
            out[i] = coefficient * r[i] / (d - epsilon if d < zero else d + epsilon)
    if where == 1:
        for i in range(out.size):
            if z[i] <= zero:
                out[i] = zero
    elif where == 2:
        for i in range(out.size):
            if z[i] >= zero:
                out[i] = zero
    found = 0
    for i in range(out.size):
        # NaN is not equal to zero, so that it is not taken for dead.
        found |= out[i] != zero
    return found != 0


@kernel()
def fractions_of(task, item, skip, places, bases, out):  # type: ignore[no-untyped-def]
    """Fill `out` with a task's fractions of one item, from value `skip` of it on; see `fractions`."""
    r = values_at(places[task.r], item, skip, out.size, bases, out)
    den = values_at(places[task.den], item, skip, out.size, bases, out)
    z = values_at(places[task.z], item, skip, out.size, bases, out)
    epsilon = values_at(places[task.epsilon], item, 0, 1, bases, out)[0]
    coefficient = out.dtype.type(task.coefficient)
    return fractions(r, den, z, epsilon, task.clip != 0, task.where, task.normalised != 0, coefficient, out)


@kernel()
def _copy_rows(source, width, plane, begin, cols, add):  # type: ignore[no-untyped-def]
    """Copy rows of `width` values into a plane of rows of `cols`, from value `begin` on."""
    for y in range(source.size // width):
        row, target = source[y * width : (y + 1) * width], plane[begin + y * cols : begin + y * cols + width]
        if add:
            for i in range(width):
                target[i] += row[i]
        else:
            for i in range(width):
                target[i] = row[i]


@kernel()
def _clear_border(task, plane, low, high):  # type: ignore[no-untyped-def]
    """Write zeros around rows [low, high) of the map in its plane; above and below with the first and the last row."""
    zero = plane.dtype.type(0)
    if low == 0:
        plane[: task.top * task.cols] = zero
    if high == task.height:
        plane[(task.top + high) * task.cols :] = zero
    right = task.left + task.width
    for y in range(task.top + low, task.top + high):
        for i in range(y * task.cols, y * task.cols + task.left):
            plane[i] = zero
        for i in range(y * task.cols + right, (y + 1) * task.cols):
            plane[i] = zero


@kernel()
def _pack_rows(task, n, channel, low, high, add, places, bases, plane, own):  # type: ignore[no-untyped-def]
    """Write the fractions of rows [low, high) of a map into its plane; return whether anything is not zero."""
    skip, size = channel * task.height * task.width, (high - low) * task.width
    if task.width == task.cols and not add:
        begin = (task.top + low) * task.cols
        return fractions_of(task, n, skip + low * task.width, places, bases, plane[begin : begin + size])
    found = False
    for y in range(low, high, task.band):
        s = own[: (min(y + task.band, high) - y) * task.width]
        found |= fractions_of(task, n, skip + y * task.width, places, bases, s)
        _copy_rows(s, task.width, plane, (task.top + y) * task.cols + task.left, task.cols, add)
    return found


@kernel()
def _pack_sum(task, step, places, bases, flags, own):  # type: ignore[no-untyped-def]
    """Write one band of the sum over a group's channels; the band's number counts items, groups and bands."""
    bands = -(-task.height // task.band)
    band, rest = step % bands, step // bands
    n, g = rest // task.groups, rest % task.groups
    each, plane_size = task.channels // task.groups, task.plane_values
    number = g * task.slots + task.slot
    plane = values_at(places[task.planes], n, number * plane_size, plane_size, bases, own)
    low, high = band * task.band, min(task.height, (band + 1) * task.band)
    _clear_border(task, plane, low, high)
    for k in range(each):
        _pack_rows(task, n, g * each + k, low, high, k > 0, places, bases, plane, own)
    flags[task.flags + n * task.groups * task.slots + number] = 1


@kernel()
def _pack_columns(task, n, c, band, places, bases, own):  # type: ignore[no-untyped-def]
    """Write a band of a map column by column of a product: the planes' values for one tile follow each other."""
    each, size, column = task.channels // task.groups, task.height * task.width, task.column
    apart = task.slots * column
    first = c // each * task.plane_values + (task.slot + c % each) * column
    low = band * task.band
    s = own[: min(task.band, size - low)]
    found = fractions_of(task, n, c * size + low, places, bases, s)
    for begin in range(0, s.size, column):
        part = s[begin : begin + column]
        at = first + (low + begin) // column * apart
        target = values_at(places[task.planes], n, at, part.size, bases, own)
        for i in range(part.size):
            target[i] = part[i]
    return found


@kernel()
def _pack_band(task, n, c, number, band, places, bases, own):  # type: ignore[no-untyped-def]
    """Write a band of a map's rows into its plane."""
    plane = values_at(places[task.planes], n, number * task.plane_values, task.plane_values, bases, own)
    low, high = band * task.band, min(task.height, (band + 1) * task.band)
    _clear_border(task, plane, low, high)
    return _pack_rows(task, n, c, low, high, False, places, bases, plane, own)  # noqa: FBT003


@kernel()
def pack_pieces(task, begin, end, places, bases, flags, own):  # type: ignore[no-untyped-def]
    """Pack pieces [begin, end): their number counts items, bands and channels.

    The fractions of r (channels, height, width) go into zero-padded planes of rows of `cols`, from row `top`, column
    `left` on, `band` rows at a time. An item has `groups` × `slots` planes; this task fills those of each group from
    `slot` on, and sets the flag of a plane that holds anything. With `summed` the channels of a group are added up in
    one plane, and pieces count items, groups and bands. With `column` the planes are cut into columns of so many
    values, and lie side by side column by column: `plane_values` is that of a group, `band` a multiple of `column`.
    """
    each = task.channels // task.groups
    bands = -(-task.height * task.width // task.band) if task.column else -(-task.height // task.band)
    for step in range(begin, end):
        if task.summed:
            _pack_sum(task, step, places, bases, flags, own)
            continue
        c, rest = step % task.channels, step // task.channels
        n, band = rest // bands, rest % bands
        number = c // each * task.slots + task.slot + c % each
        if task.column:
            found = _pack_columns(task, n, c, band, places, bases, own)
        else:
            found = _pack_band(task, n, c, number, band, places, bases, own)
        if found:
            flags[task.flags + n * task.groups * task.slots + number] = 1
