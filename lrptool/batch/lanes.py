"""How many chunks are computed at the same time, and with how many threads each."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Lanes:
    """Computations side by side.

    Parameters
    ----------
    count : int
    threads : int
        Of each.
    """

    count: int
    threads: int

    @classmethod
    def of(cls, threads: int, chunks: int, size: int, fitting: int) -> Lanes:
        """Return one lane per thread, but no more than there are chunks, or fit the memory.

        One thread computes a chunk in less of a core's time than several together, and a picture that is decoded or
        written costs no other thread a moment. Where lanes are fewer than threads each has several.

        Parameters
        ----------
        threads : int
            In all.
        chunks : int
        size : int
            Pictures of a chunk.
        fitting : int
            Pictures that fit the memory at a time.
        """
        count = max(1, min(threads, chunks, fitting // size))
        return cls(count, max(1, threads // count))
