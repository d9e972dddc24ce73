"""What a task is, as the records the parallel region reads.

A place says where an operand of a task lies: `base` counts the memory handed to the region, `offset` and `stride` (from
one item of the batch to the next; 0 for what all items share) count values. Operands are numbers of places.
"""

from __future__ import annotations

import numpy as np

PACK, PRODUCT, ROUTE, SPREAD, WEIGH, DENSE = range(6)
"""Kinds of task."""

ONE, ALL, POS, NEG, SPLIT = range(5)
"""Parts of x a result is multiplied by. `SPLIT` is all of it, and there are two results: for x > 0 and for the rest."""

BY_TAPS, FILTERED, SCATTERED = range(3)
"""Ways of computing a product: tap by tap, by minimal filtering, or from what is not zero."""

EVERYWHERE, POSITIVE, NEGATIVE, REST = range(4)
"""Outputs a fraction is taken of, by the sign of their pre-activation; `REST` is all of them, divided by what the
denominator leaves of that."""


def _record(integers: str, numbers: str = "") -> np.dtype[np.void]:
    """Return a record of int64 and float64 fields."""
    fields = [(name, np.int64) for name in integers.split()] + [(name, np.float64) for name in numbers.split()]
    return np.dtype(fields)


PLACE = _record("base offset stride")

SPOT = _record("address apart")
"""A place in a run: where its first item lies, and how many bytes behind that the next one."""

FRAME = _record("tasks packs products routes spreads weighs denses spots flags tables own terms")
"""Addresses of all that a thread works on: the tasks, and by kind their records; spots, by the numbers of their places;
one flag per packed plane; tables of offsets; and scratch of its own, of the tasks' kind of values and of int64."""

TASK = _record("kind row total grain after")
"""`row` of its kind's table; `total` pieces of work, dealt out by the `grain` once all tasks up to `after` are done."""

_FRACTION = "r den z epsilon clip where normalised"
_ONWARD = "keep onward onwards next nexts spare"
"""What maps of relevance go on to: whether they are kept as they are, the first of so many packings, the first of so
many tasks that weigh their fractions, and where the thread's own scratch for these begins, in values."""

OTHERS, FORM_3_2, FORM_2_2, FORM_3_1 = range(4)
FORMS = {(3, 2): FORM_3_2, (2, 2): FORM_2_2, (3, 1): FORM_3_1}
"""Windows that there is code of their own for, by height and width, and by their distance either way."""

TABLES = {
    PACK: _record(
        f"{_FRACTION} shift den_is_x z_is_x planes flags channels summed groups slots slot "
        "height width plane_values cols top left band column",
        "coefficient",
    ),
    PRODUCT: _record(
        f"{_ONWARD} planes flags weights table x out channels groups blocks slots taps plane_values apart tile "
        "steps_y steps_x cols stride_y start_y from_y to_y stride_x start_x from_x to_x height width "
        "part split accumulate together foresee direct fill method merged kept chunk strip strips wide sums"
    ),
    ROUTE: _record(
        f"{_ONWARD} r x out part accumulate together form by_rows tables numbers "
        "planes height width out_height out_width kernel_y kernel_x stride_y stride_x top left"
    ),
    SPREAD: _record(
        f"{_FRACTION} {_ONWARD} factor x out part accumulate tables numbers "
        "planes height width out_height out_width kernel_y kernel_x stride_y stride_x top left",
        "coefficient",
    ),
    WEIGH: _record(
        f"{_FRACTION} {_ONWARD} beside weights differs whole less x out channels values band part accumulate",
        "coefficient",
    ),
    DENSE: _record(
        "first second weights x out rows columns block items squared part accumulate",
        "first_positive first_negative second_positive second_negative",
    ),
}
"""Fields of every kind of task; each is documented where the kind is carried out."""
