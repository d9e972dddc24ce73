"""Chunks: inputs that are computed together, always the same ones, whatever is missing and whoever computes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from lrptool.batch.archives import filled
from lrptool.batch.items import Item


@dataclass(frozen=True, slots=True)
class Chunk:
    """Some inputs.

    Parameters
    ----------
    number : int
    items : tuple of Item
    missing : frozenset of int
        Numbers of the items whose results are wanted.
    """

    number: int
    items: tuple[Item, ...]
    missing: frozenset[int]


def shard_of(items: Sequence[Item], size: int, shard: tuple[int, int]) -> list[Item]:
    """Return a shard's part of the inputs, with their rows in its store: every so-manieth chunk of `size` inputs."""
    index, count = shard
    mine = [item for k, item in enumerate(items) if (k // size) % count == index - 1]
    slot, found = 0, []
    for item in mine:
        found.append(replace(item, slot=slot))
        slot += len(item.wish.targets)
    return found


def chunks_of(items: Sequence[Item], size: int, missing: frozenset[int]) -> Iterator[Chunk]:
    """Yield the chunks of a shard in which something is missing; members of compressed archives get their bytes."""
    wanted = [
        (number, part)
        for number, part in enumerate(items[begin : begin + size] for begin in range(0, len(items), size))
        if any(item.number in missing for item in part)
    ]
    unpacked = filled(item for _, part in wanted for item in part)
    for number, part in wanted:
        filled_part = tuple(next(unpacked) for _ in part)
        yield Chunk(number, filled_part, frozenset(item.number for item in part) & missing)
