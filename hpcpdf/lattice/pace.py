"""How long walks are and what they cost, by size of the particle: the effort of a search is counted in moves."""

from __future__ import annotations

ROUNDS = 40
"""Rounds of walks, for up to a hundred atoms where there is no noise; more for more atoms, up to the longest."""
_LONGEST, _SHORTEST = 400, 4
_TYPICAL = 120
"""Atoms of a particle whose moves cost one unit; those of larger ones cost more, as facets times atoms."""
_SOLVED = 2500
"""Atoms up to which the structure itself can be hoped for; of larger particles the size and the outline."""
_SHELLS = 6000.0
"""Shells that double the cost of a move."""


def rounds_of(size: float, clean: bool) -> int:
    """Rounds of the walks of particles of so many atoms, by data without noise or with."""
    if clean:
        # The larger a particle, the longer the way to it, as far as that can be gone.
        return max(_SHORTEST, int(min(_LONGEST, ROUNDS * max(1.0, size / 100.0)) / _beyond(size)))
    # Large particles move slowly, and noise leaves many: a cycle stays a cycle.
    return max(_SHORTEST, int(ROUNDS / max(1.0, size / 250.0)))


def price_of(size: float, n_shells: int, clean: bool) -> float:
    """Cost of a move of a particle of so many atoms, in those of a hundred on a lattice of few shells.

    Where there is no noise the moves of large particles count for less than they cost: there is one to be found.
    """
    larger = max(1.0, size / _TYPICAL)
    cost: float = larger**0.5 * _beyond(size) if clean else 2.0 * larger**1.67
    return cost * price_of_shells(n_shells)


def price_of_shells(n_shells: int) -> float:
    """Factor of the cost where there are many shells."""
    return 1.0 + n_shells / _SHELLS


def polished_of(most: int, size: float) -> int:
    """How many particles of so many atoms are polished where `most` of up to a hundred are."""
    return max(_SHORTEST, int(most / max(1.0, size / _TYPICAL) ** 1.5))


def _beyond(size: float) -> float:
    """By how much particles beyond the size that can be solved move less."""
    return float(max(1.0, size / _SOLVED) ** 1.5)
