"""Which entries of a schedule can be one: whoever completes relevance packs it, and weighs its fractions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import replace

from lrptool.kernels.entries import Entry, Place
from lrptool.kernels.records import PACK, PRODUCT, ROUTE, SPREAD, WEIGH
from lrptool.kernels.shapes import extent_of_strip


def join(entries: Sequence[Entry], scratch: AbstractSet[int]) -> list[Entry]:
    """Let whoever completes maps of relevance pack them for the product behind, instead of an entry of its own.

    Parameters
    ----------
    entries : sequence of Entry
    scratch : set of int
        Buffers nobody looks at from outside.
    """
    writers: dict[int, list[int]] = {}
    onward: dict[int, list[int]] = {}
    joined = set()
    for now, entry in enumerate(entries):
        if entry.kind == PACK and not entry.integer("summed"):
            before = writers.get(entry.place("r").buffer, []) if entry.place("r").buffer in scratch else []
            last = before[-1] if before else -1
            if before and _covers(entries[last], entry) and not _in_company(entries, before):
                onward.setdefault(last, []).append(now)
                joined.add(now)
        for place, _ in entry.writes:
            writers.setdefault(place.buffer, []).append(now)
    return [
        _with_packings(entry, [entries[k] for k in onward[now]], kept=_is_read(entries, now, joined))
        if now in onward
        else entry
        for now, entry in enumerate(entries)
        if now not in joined
    ]


def _covers(writer: Entry, packing: Entry) -> bool:
    """Whether a packing reads nothing but maps the writer writes."""
    if writer.kind not in (PRODUCT, ROUTE, SPREAD, WEIGH):
        return False
    # With a stride a product does not write all values of its maps, or not in stretches.
    if writer.kind == PRODUCT and (writer.integer("stride_y"), writer.integer("stride_x")) != (1, 1):
        return False
    out, r = writer.place("out"), packing.place("r")
    (maps, size), (wanted, wanted_size) = writer.maps, packing.maps
    shift = r.offset - out.offset
    same = size == wanted_size and out.stride == r.stride and shift % size == 0
    return same and shift >= 0 and shift + wanted * size <= maps * size


def _in_company(entries: Sequence[Entry], writers: Sequence[int]) -> bool:
    """Whether the last writer fills maps together with others, none of whom completes them."""
    place, group = entries[writers[-1]].writes[0]
    return group is not None and any(
        (other.buffer, company) == (place.buffer, group) for k in writers[:-1] for other, company in entries[k].writes
    )


def _is_read(entries: Sequence[Entry], writer: int, joined: AbstractSet[int]) -> bool:
    """Whether anybody but its packings reads what an entry writes, or adds to it."""
    later = (entry for now, entry in enumerate(entries) if now > writer and now not in joined)
    return _touched(later, entries[writer].place("out").buffer)


def _with_packings(writer: Entry, packings: Sequence[Entry], *, kept: bool) -> Entry:
    """Return a writer that packs what it has written."""
    out = writer.place("out")
    size = writer.maps[1]
    moved = [
        replace(packing, fields={**packing.fields, "shift": (packing.place("r").offset - out.offset) // size})
        for packing in packings
    ]
    looked_at = [place for packing in packings for place in packing.reads if place.buffer != out.buffer]
    before = [out] if writer.integer("accumulate") and not kept else []
    written = [pair for packing in packings for pair in packing.writes]
    return replace(
        writer,
        fields={**writer.fields, "keep": int(kept)},
        reads=(*writer.reads, *before, *looked_at),
        writes=(*(writer.writes if kept else ()), *written),
        onward=moved,
    )


def spell(entry: Entry, differences: Mapping[int, tuple[Place, Place]]) -> Entry:
    """Return an entry that forms the difference of values it looks at itself."""
    if not any(place.buffer in differences for place in entry.reads):
        return entry
    x = entry.fields.get("x")
    if entry.kind != WEIGH or not isinstance(x, Place) or x.buffer not in differences:
        raise TypeError("a difference is looked at by who cannot form it")
    whole, less = (place.shifted(x.offset) for place in differences[x.buffer])
    onward = [_looks_at_x(packing, x, entry) for packing in entry.onward]
    reads = [place for place in entry.reads if place.buffer not in differences]
    spelled = replace(
        entry,
        own=2 * entry.own,
        fields={**entry.fields, "differs": 1, "whole": whole, "less": less},
        reads=(*reads, whole, less),
        onward=onward,
    )
    if any(
        packing.place(name).buffer in differences and not packing.integer(f"{name}_is_x")
        for packing in onward
        for name in ("den", "z")
    ):
        raise TypeError("a difference is looked at by who cannot form it")
    return spelled


def _looks_at_x(packing: Entry, x: Place, writer: Entry) -> Entry:
    """Return a packing that takes the values its writer has multiplied by where these are its own operands."""
    at = x.shifted(packing.integer("shift") * writer.maps[1])
    return replace(
        packing, fields={**packing.fields, **{f"{name}_is_x": int(packing.place(name) == at) for name in ("den", "z")}}
    )


def pair(entries: Sequence[Entry]) -> list[Entry]:
    """Let neighbours that weigh the same fractions, as the inputs of a sum do, be one: these are read once."""
    paired: list[Entry] = []
    for entry in entries:
        first = paired[-1] if paired else None
        if first is not None and _weigh_the_same(first, entry):
            paired[-1] = replace(
                first,
                own=max(first.own, entry.own),
                reads=(*first.reads, *entry.reads),
                writes=(*first.writes, *entry.writes),
                beside=(*first.beside, entry),
            )
        else:
            paired.append(entry)
    return paired


_SHARED = ("r", "den", "z", "epsilon", "clip", "where", "normalised", "channels", "values", "band")


def _weigh_the_same(first: Entry, other: Entry) -> bool:
    """Whether two entries read the same fractions, and neither what the other writes."""
    if first.kind != WEIGH or other.kind != WEIGH or any(first.fields[key] != other.fields[key] for key in _SHARED):
        return False
    written = {place.buffer for place, _ in first.writes}
    theirs = {place.buffer for place, _ in other.writes}
    return written.isdisjoint(other.buffers) and theirs.isdisjoint(first.buffers)


def hand_over(entries: Sequence[Entry], scratch: AbstractSet[int]) -> list[Entry]:
    """Let a product that completes maps of relevance weigh their fractions, instead of an entry of its own.

    So do the products in front of a sum: its inputs' relevance is written while that of the sum is at hand.
    """
    done: list[Entry] = []
    for now, entry in enumerate(entries):
        last = _completes(done, entry, scratch)
        if last < 0:
            done.append(entry)
        else:
            others = (*done[last + 1 :], *entries[now + 1 :])
            done[last] = _followed(done[last], entry, kept=_touched(others, entry.place("r").buffer))
    return done


def _touched(entries: Iterable[Entry], buffer: int) -> bool:
    """Whether anybody reads or writes a buffer."""
    return any(buffer in entry.buffers for entry in entries)


def _completes(before: Sequence[Entry], entry: Entry, scratch: AbstractSet[int]) -> int:
    """Return which product writes all that an entry weighs, last of all; -1 where none does, or who follows is in turn.

    Nobody between the two may have to do with what the entry writes, or write what it reads.
    """
    if entry.kind != WEIGH or entry.place("r").buffer not in scratch:
        return -1
    r = entry.place("r")
    writers = [k for k, other in enumerate(before) if r.buffer in {place.buffer for place, _ in other.writes}]
    if not writers or not _covers_whole(before[writers[-1]], entry) or _in_company(before, writers):
        return -1
    last, written = writers[-1], {place.buffer for place, _ in entry.writes}
    read = {place.buffer for place in entry.reads}
    between = before[last + 1 :]
    free = all(written.isdisjoint(other.buffers) for other in (*between, before[last]))
    return last if free and not any(place.buffer in read for other in between for place, _ in other.writes) else -1


def _covers_whole(writer: Entry, entry: Entry) -> bool:
    """Whether a product writes stretches of just the maps that are weighed."""
    if writer.kind != PRODUCT or writer.following or writer.place("out") != entry.place("r"):
        return False
    strides = (writer.integer("stride_y"), writer.integer("stride_x"))
    return strides == (1, 1) and writer.maps == entry.maps


def _followed(writer: Entry, entry: Entry, *, kept: bool) -> Entry:
    """Return a product that weighs what it has written."""
    room = 2 * extent_of_strip(writer.integer("tile"), 1)[0] * writer.integer("wide")
    out = writer.place("out")
    before = [out] if writer.integer("accumulate") and not kept else []
    own = [(place, group) for place, group in writer.writes if place.buffer != out.buffer or kept]
    return replace(
        writer,
        own=writer.own + room,
        fields={**writer.fields, "keep": int(kept), "spare": writer.own},
        reads=(*writer.reads, *before, *(place for place in entry.reads if place.buffer != out.buffer)),
        writes=(*own, *entry.writes),
        following=entry,
    )
