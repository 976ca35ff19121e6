"""How far a fitted range tells how large a particle is."""

from __future__ import annotations

from dataclasses import dataclass

from hpcpdf.lattice.sphere import SphereFit

LARGE = 5000
"""Atoms above which few of the structures that explain a PDF are met."""
REFINED_TO = 2000
"""Atoms up to which coordinates are set free: beyond, tens of numbers a point of the PDF would be, and take minutes."""

_OUT_OF_SIGHT, _TOO_LARGE = 2.2, 60.0
"""Diameters, over the fitted range and in Å, from which on no search finds the one structure."""

_SETTLED = 1.1
"""Ratio of the ends of a range of diameters up to which a size counts as settled, as in verdicts."""


@dataclass(frozen=True)
class Extent:
    """What is told of the size of a particle beside the posterior of what was met.

    Attributes
    ----------
    open : bool
        Whether the number of atoms of the best structure is one of many.
    notes : tuple of str
        For the reader.
    """

    open: bool
    notes: tuple[str, ...] = ()


def out_of_sight(sphere: SphereFit | None, end: float) -> bool:
    """Whether the data end so far before the particle (at `end`, Å) that a short search says as much as a long one."""
    return sphere is not None and (sphere.bulk or sphere.diameters[0] > _OUT_OF_SIGHT * end)


def too_large(sphere: SphereFit | None) -> bool:
    """Whether a particle is so large that no search finds the one structure, and a short one does."""
    return sphere is not None and sphere.diameters[0] > _TOO_LARGE


def extent(sphere: SphereFit | None, end: float, n_atoms: int) -> Extent:
    """Compare the best structure with a sphere of the crystal.

    Parameters
    ----------
    sphere
        Fitted where the data reach no end of the particle; else None.
    end
        Of the fitted range, Å.
    n_atoms
        Of the best structure.
    """
    large = n_atoms > LARGE
    notes = ["of particles this large few are met: shape and number of atoms are one of many"] if large else []
    if sphere is None or sphere.bulk or sphere.diameter <= end:
        return Extent(large, tuple(notes))
    low, high = sphere.diameters
    found = sphere.diameter * (n_atoms / sphere.n_atoms) ** (1.0 / 3.0)
    agrees = low <= _SETTLED * found and found <= _SETTLED * high
    other = "" if agrees else f", where the best is as large as one of {found:.0f} Å"
    notes.append(
        f"the fitted range ends at {end:.0f} Å, before the particle does: a sphere of {low:.0f} to {high:.0f} Å (68 %) "
        f"explains it{other}; a longer range or a known qdamp says more"
    )
    return Extent(large or not agrees or high > _SETTLED * low, tuple(notes))
