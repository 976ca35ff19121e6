"""Motifs of a sample: how many neighbours an average atom has at each distance, by the size of its particle.

Crystals are cut off by a sphere: of the z_c neighbours in shell c, the share γ(d_c/D) is left
(`hpcpdf.lattice.crystal`). Close-packed layers may be faulted; decahedra and icosahedra are counted as they are.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from ase import Atoms
from ase.cluster import Decahedron, Icosahedron
from numpy.typing import NDArray
from scipy.spatial.distance import pdist

from hpcpdf.errors import ConfigError
from hpcpdf.lattice.crystal import bulk_shells, characteristic
from hpcpdf.lattice.sphere import CRYSTALS

Floats = NDArray[np.float64]

MOTIFS = ("fcc", "hcp", "bcc", "sc", "decahedron", "icosahedron")
"""Structures that a sample may be made of."""

FACETTED = 0.07
"""Relative spread of spheres that have, on average, the pairs of facetted particles of one volume."""

_SHELLS = 9
"""Of the largest icosahedron: 2057 atoms."""
_MARKS = (
    *((2, 2, 0), (3, 1, 0), (2, 5, 0), (3, 2, 0), (2, 1, 1), (3, 3, 0), (2, 2, 1), (2, 3, 1), (2, 4, 1), (3, 2, 1)),
    *((3, 3, 1), (3, 4, 1), (4, 3, 1), (4, 4, 1), (3, 4, 2), (4, 3, 2), (4, 4, 2), (5, 4, 2), (5, 5, 2), (6, 5, 2)),
    (6, 7, 2),
)
"""Atoms along an edge, along the axis, and depth of the notches of Marks decahedra of 13 to 2046 atoms: among those of
about one size the ones with the most bonds."""
_ALIKE = 0.006
"""Distances closer than this, in bond lengths, are taken together."""


@dataclass(frozen=True)
class Spread:
    """A lognormal distribution of diameters, each particle counted as often as it has atoms.

    With ln D normal about ln `median` with the variance `variance` among atoms, the same among particles is about
    ln `median` − 3 `variance`: a lognormal distribution remains one when its members are weighed by a power of D.

    Attributes
    ----------
    median : float
        Å or bond lengths; half of the atoms are in smaller particles.
    variance : float
        Of ln D.
    """

    median: float
    variance: float

    @property
    def atom_mean(self) -> float:
        """Mean diameter of the particle that an atom is in."""
        return self.median * math.exp(0.5 * self.variance)

    @property
    def mean(self) -> float:
        """Mean diameter of the particles."""
        return self.median * math.exp(-2.5 * self.variance)

    @property
    def width(self) -> float:
        """Standard deviation of the particles' diameters."""
        return self.mean * math.sqrt(math.expm1(self.variance))

    def law(self) -> tuple[float, float]:
        """How far `mean` and `width` are from those of a Schulz law of the same mean and variance among atoms.

        Weighed by D³, a gamma distribution of the exponent k is one of k + 3.
        """
        variance = min(math.expm1(self.variance), 0.3)
        mean, width = 1.0 - 3.0 * variance, math.sqrt(variance * (1.0 - 3.0 * variance))
        return abs(self.atom_mean * mean - self.mean), abs(self.atom_mean * width - self.width)

    def nodes(self, more: float = 0.0) -> tuple[Floats, Floats]:
        """Diameters and their weights, (15,), for averages over atoms; with `more` relative spread of each particle."""
        x, weights = _hermite()
        return self.median * np.exp(math.sqrt(self.variance + more**2) * x), weights


@lru_cache(maxsize=1)
def _hermite() -> tuple[Floats, Floats]:
    x, weights = np.polynomial.hermite_e.hermegauss(15)
    return x, weights / weights.sum()


def equal_sphere(n_atoms: float, family: str) -> float:
    """Diameter of the sphere that has the volume of `n_atoms` atoms of a motif, in bond lengths."""
    return float((6.0 * n_atoms / (math.pi * CRYSTALS.get(family, CRYSTALS["fcc"]))) ** (1.0 / 3.0))


def check_motif(family: str) -> None:
    """ConfigError for one that is not known."""
    if family not in MOTIFS:
        raise ConfigError(f"unknown motif {family!r}; known: {', '.join(MOTIFS)}")


def neighbours(family: str, reach: float, spread: Spread, faults: float = 0.0) -> tuple[Floats, Floats]:
    """Distances up to `reach`, and how many neighbours an atom of the sample has there on average.

    Parameters
    ----------
    family
        One of `MOTIFS`.
    reach
        Bond lengths.
    spread
        Of diameters, in bond lengths: those of the spheres of equal volume.
    faults
        Of fcc: probability that a layer begins a twin (`stacking`).

    Returns
    -------
    distance, number : (C,)
        In bond lengths, ascending; of neighbours.
    """
    check_motif(family)
    if family in CRYSTALS:
        if family == "fcc" and faults > 0.0:
            distance, shared, other = _layers(reach)
            same = stacking(faults, len(shared) - 1)
            number = same @ shared + (1.0 - same) @ other
        else:
            distance, number = bulk_shells(family, reach)
        sizes, weights = spread.nodes(FACETTED)
        return distance, number * (weights @ characteristic(distance / sizes[:, None]))
    distance, diameters, table = _closed(family)
    kept = distance <= reach
    return distance[kept], _between(np.log(diameters), *_logarithms(spread)) @ table[:, kept]


def moments(family: str, spread: Spread) -> tuple[float, float, float]:
    """Mean and standard deviation of the particles' diameters, and the mean over atoms, in the unit of `spread`.

    Closed particles have few sizes: theirs are those of the sizes that stand for the spread.

    Parameters
    ----------
    family
        One of `MOTIFS`.
    spread
        Of diameters, in bond lengths.
    """
    if family in CRYSTALS:
        return spread.mean, spread.width, spread.atom_mean
    diameters = _closed(family)[1]
    atoms = _between(np.log(diameters), *_logarithms(spread))
    particles = atoms / diameters**3
    particles /= particles.sum()
    mean = float(particles @ diameters)
    return mean, math.sqrt(max(float(particles @ diameters**2) - mean**2, 0.0)), float(atoms @ diameters)


def _logarithms(spread: Spread) -> tuple[Floats, Floats]:
    sizes, weights = spread.nodes()
    return np.log(sizes), weights


def largest(family: str) -> float:
    """Diameter up to which a motif is known, in bond lengths."""
    return math.inf if family in CRYSTALS else float(_closed(family)[1][-1])


def stacking(faults: float, n: int) -> Floats:
    """Probability that two close-packed layers m = 0 … n apart lie above each other.

    Growth faults: every layer continues the order of the two before it (…ABC…), or reverses it with the probability
    `faults` (…ABA…): none gives fcc, only such steps hcp, and few of them twins (β of Warren, X-ray Diffraction, 1969).
    """
    # State: the way the last step went (0, 1) and the place reached (A, B, C).
    state = np.zeros((2, 3))
    state[:, 0] = 0.5
    same = [1.0]
    for m in range(n):
        if m > 0:
            state = (1.0 - faults) * state + faults * state[::-1]
        state = np.stack([np.roll(state[0], 1), np.roll(state[1], -1)])
        same.append(float(state[:, 0].sum()))
    return np.array(same)


@lru_cache(maxsize=8)
def _layers(reach: float) -> tuple[Floats, Floats, Floats]:
    """Neighbours in close-packed layers: distances (C,), and how many there are in a layer m layers away.

    Returns
    -------
    distance : (C,)
    shared, other : (M, C)
        Of a layer that lies above that of the atom, and of one that lies beside.
    """
    n = math.ceil(reach) + 1
    a, b = np.meshgrid(np.arange(-2 * n, 2 * n + 1), np.arange(-2 * n, 2 * n + 1))
    # Squared distances in thirds: of sites above each other, and above the hollow beside.
    there = 3 * (a * a + a * b + b * b)
    aside = there + 3 * (a + b) + 1
    most = round(3.0 * reach**2)
    layers = int(reach / math.sqrt(2.0 / 3.0)) + 1
    counts = np.zeros((2, layers, most + 1))
    for m in range(layers):
        left = most - 2 * m * m
        for kind, plane in enumerate((there, aside)):
            found = np.bincount(plane[plane <= left].ravel(), minlength=left + 1)
            counts[kind, m, 2 * m * m :] = (1.0 if m == 0 else 2.0) * found
    some = np.flatnonzero(counts.sum(axis=(0, 1)))
    some = some[some > 0]
    return np.sqrt(some / 3.0), counts[0][:, some], counts[1][:, some]


def _between(nodes: Floats, at: Floats, weights: Floats) -> Floats:
    """Weights of nodes that stand for weights at other places, linear between them; ends stand for what is beyond."""
    place = np.clip(np.searchsorted(nodes, at) - 1, 0, len(nodes) - 2)
    share = np.clip((at - nodes[place]) / (nodes[place + 1] - nodes[place]), 0.0, 1.0)
    low = np.bincount(place, weights=weights * (1.0 - share), minlength=len(nodes))
    return np.asarray(low + np.bincount(place + 1, weights=weights * share, minlength=len(nodes)))


@lru_cache(maxsize=2)
def _closed(family: str) -> tuple[Floats, Floats, Floats]:
    """Distances (C,), diameters (K,) and neighbours an atom (K, C) of closed particles of growing size."""
    make = {"icosahedron": _icosahedra, "decahedron": _decahedra}[family]
    clusters = make()
    pairs = [pdist(points) for points in clusters]
    pairs = [distance / distance.min() for distance in pairs]
    bins = [np.rint(d / _ALIKE).astype(np.int64) for d in pairs]
    length = int(bins[-1].max()) + 1
    counts = np.array([np.bincount(place, minlength=length) for place in bins])
    sums = np.sum([np.bincount(p, d, minlength=length) for p, d in zip(bins, pairs, strict=True)], axis=0)
    some = np.flatnonzero(counts.sum(axis=0))
    sizes = np.array([len(points) for points in clusters])
    diameters = np.array([equal_sphere(int(n), family) for n in sizes])
    return sums[some] / counts.sum(axis=0)[some], diameters, 2.0 * counts[:, some] / sizes[:, None]


def _icosahedra() -> list[Floats]:
    """Mackay icosahedra."""
    return [_positions(Icosahedron, shells) for shells in range(2, _SHELLS + 1)]


def _decahedra() -> list[Floats]:
    """Marks decahedra."""
    return [_positions(Decahedron, *form) for form in _MARKS]


def _positions(make: Callable[..., Atoms], *numbers: int) -> Floats:
    return np.asarray(make("Au", *numbers).positions)
