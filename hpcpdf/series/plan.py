"""In which order the files of a series are solved: from the middle outwards, each from its neighbour."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

LENGTH = 48
"""Files that begin from one that is solved without a neighbour; a constant, so that answers do not depend on cores."""


@dataclass(frozen=True)
class Stretch:
    """Neighbouring files: one that is solved for itself, and two chains away from it.

    Attributes
    ----------
    anchor : int
    chains : tuple of tuple of int
        Each file begins from the one before it, the first ones from the anchor.
    """

    anchor: int
    chains: tuple[tuple[int, ...], ...]


def stretches(count: int, length: int = LENGTH) -> list[Stretch]:
    """Stretches of about equal length, at most `length`, of a series of `count` files."""
    parts = -(-count // length)
    edges = [round(k * count / parts) for k in range(parts + 1)] if parts else []
    found = []
    for low, high in pairwise(edges):
        anchor = (low + high) // 2
        chains = (tuple(range(anchor - 1, low - 1, -1)), tuple(range(anchor + 1, high)))
        found.append(Stretch(anchor, tuple(chain for chain in chains if chain)))
    return found
