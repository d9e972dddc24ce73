"""R / stabilised denominator, written straight into zero-padded planes."""

from __future__ import annotations

from lrptool.kernels.jit import kernel

EVERYWHERE, POSITIVE, NEGATIVE = range(3)
"""Outputs a fraction is taken of, by the sign of their pre-activation."""


@kernel()
def fraction_row(r, den, z, epsilon, clip, where, normalised, coefficient, out):  # type: ignore[no-untyped-def]
    """Fill `out` with coefficient · r / (den ± epsilon), all of one row; zero where z has the other sign.

    Returns whether anything in it is not zero.
    """
    zero = out.dtype.type(0)
    if not normalised:
        for i in range(r.size):
            out[i] = coefficient * r[i]
    elif clip:
        for i in range(r.size):
            d = den[i]
            out[i] = coefficient * r[i] / (min(d, -epsilon) if d < zero else max(d, epsilon))
    else:
        for i in range(r.size):
            d = den[i]
            out[i] = coefficient * r[i] / (d - epsilon if d < zero else d + epsilon)
    if where == 1:
        for i in range(r.size):
            if z[i] <= zero:
                out[i] = zero
    elif where == 2:
        for i in range(r.size):
            if z[i] >= zero:
                out[i] = zero
    found = 0
    for i in range(r.size):
        # NaN is not equal to zero, so that it is not taken for dead.
        found |= out[i] != zero
    return found != 0


@kernel()
def pack_plane(r, den, z, epsilon, clip, where, normalised, coefficient, plane, cols, top, left):  # type: ignore[no-untyped-def]
    """Write the fractions of a map r (H, W) into a flat plane of rows of `cols`, from row `top`, column `left` on.

    What is not covered is zero. Returns whether anything is not.
    """
    height, width = r.shape
    zero = plane.dtype.type(0)
    plane[: top * cols] = zero
    plane[(top + height) * cols :] = zero
    found = False
    for y in range(height):
        row = plane[(top + y) * cols : (top + y + 1) * cols]
        row[:left] = zero
        row[left + width :] = zero
        inside = row[left : left + width]
        found |= fraction_row(r[y], den[y], z[y], epsilon, clip, where, normalised, coefficient, inside)
    return found
