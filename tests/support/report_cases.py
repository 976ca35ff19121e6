"""Simulated candidates for the tests of the report: clusters by ASE, their PDFs by a plain Debye sum."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from ase import Atoms
from ase.cluster import Decahedron, Icosahedron, Octahedron
from numpy.typing import NDArray
from scipy.spatial.distance import pdist

from hpcpdf.pdf.gr import MeasuredPdf
from hpcpdf.reconstruct.shape import geometry
from hpcpdf.reconstruct.solution import Candidate


def debye(
    positions: NDArray[np.float64], r: NDArray[np.float64], *, biso: float = 0.5, qdamp: float = 0.04
) -> NDArray[np.float64]:
    """G(r) of a one-element cluster, Q from 0.8 to 22 1/Å: the sine transform of the Debye sum."""
    q = np.arange(0.8, 22.0, 0.05)
    d, count = np.unique(np.round(pdist(positions), 6), return_counts=True)
    f = 2.0 / len(positions) * (np.sin(np.outer(q, d)) @ (count / d)) * np.exp(-biso * q**2 / (8 * np.pi**2))
    return 2.0 / np.pi * 0.05 * np.sin(np.outer(r, q)) @ f * np.exp(-((qdamp * r) ** 2) / 2)


def fitted(
    atoms: Atoms, family: str, r: NDArray[np.float64], g_obs: NDArray[np.float64], *, biso: float = 0.5, **more: Any
) -> Candidate:
    """A candidate whose scale is fitted to `g_obs`."""
    g = debye(atoms.positions, r, biso=biso)
    scale = float(g @ g_obs / (g @ g))
    rw = float(np.sqrt(np.sum((g_obs - scale * g) ** 2) / np.sum(g_obs**2)))
    pearson = float(np.corrcoef(g, g_obs)[0, 1])
    shape = geometry(atoms.positions)
    values = {
        "atoms": atoms, "rw": rw, "pearson": pearson, "scale": scale, "zoom": 1.0, "biso": biso, "qdamp": 0.04,
        "delta2": 0.0, "r": r, "g_obs": g_obs, "g_calc": scale * g, "family": family, "nn_mean": shape.nn_mean,
        "coordination_mean": shape.coordination_mean, "rw_before_refine": rw,
    }  # fmt: skip
    return Candidate(**(values | more))


def clusters(element: str = "Pt", nn: float = 2.77) -> list[tuple[Atoms, str]]:
    """Five clusters of 43 to 147 atoms with their families."""
    a = nn * np.sqrt(2.0)
    made = [
        (Octahedron(element, 5, 1, latticeconstant=a), "octahedron"),
        (Octahedron(element, 6, 2, latticeconstant=a), "octahedron"),
        (Decahedron(element, 3, 3, 0, latticeconstant=a), "decahedron"),
        (Decahedron(element, 2, 3, 1, latticeconstant=a), "decahedron"),
        (Icosahedron(element, 4, latticeconstant=a), "icosahedron"),
    ]
    return [(Atoms(c.get_chemical_symbols(), c.positions), family) for c, family in made]


@cache
def solved(noise: float = 0.15) -> tuple[list[Candidate], MeasuredPdf]:
    """Ranked candidates for a noisy simulated PDF of the first cluster, fitted from 1.5 to 20 Å."""
    rng = np.random.default_rng(3)
    r = np.arange(0.0, 30.0, 0.02)
    truth = debye(clusters()[0][0].positions + 0.05 * rng.normal(size=clusters()[0][0].positions.shape), r)
    smooth = np.convolve(rng.normal(size=r.size), np.ones(9) / 9, mode="same")
    g = truth + noise * np.std(truth) * smooth * 3.0
    pdf = MeasuredPdf(r, g, qmin=0.8, qmax=22.0, composition="Pt", source="data/simulated.gr")
    inside = (r >= 1.5) & (r <= 20.0)
    cases = [fitted(atoms, family, r[inside], g[inside]) for atoms, family in clusters()]
    return sorted(cases, key=lambda c: c.rw), pdf
