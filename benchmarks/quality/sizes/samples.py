"""Made-up samples whose sizes are known: facetted particles with lognormal diameters, and icosahedra among them."""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ase.cluster import Icosahedron
from numpy.typing import NDArray
from scipy.spatial.distance import pdist

from hpcpdf import PdfParams, simulate_pdf
from hpcpdf.pdf.clusters import as_clusters
from hpcpdf.pdf.gr import MeasuredPdf
from hpcpdf.pdf.grids import extended_grid, r_grid
from hpcpdf.pdf.simulate import debye_f, sine_exact

sys.path.insert(0, str(Path(__file__).parents[1] / "structures"))
import shapes

Floats = NDArray[np.float64]

BOND = 2.775
"""Å; platinum."""
TIGHTER = 0.99
"""Mean bond of the icosahedra over that of fcc."""


@dataclass(frozen=True)
class Truth:
    """What the sample is made of: diameters in Å, of the spheres of equal volume."""

    mean: float
    width: float
    atom_mean: float
    icosahedra: float
    n_particles: int


def equal_sphere(n_atoms: float, bond: float = BOND) -> float:
    return float(bond * (6.0 * n_atoms / (math.pi * math.sqrt(2.0))) ** (1.0 / 3.0))


def facetted(rng: np.random.Generator, diameter: float) -> Floats:
    """An fcc particle of about that diameter: 26 facets at independent distances, or symmetric ones."""
    n = max(13, round(math.pi * math.sqrt(2.0) / 6.0 * (diameter / BOND) ** 3))
    size = shapes.Span(round(0.93 * n), round(1.07 * n) + 1)
    return (shapes.fcc_convex(rng, size, 0.2) if rng.random() < 0.6 else shapes.fcc_symmetric(rng, size)) * BOND


def spread(
    seed: int,
    *,
    mean: float = 28.0,
    width: float = 5.0,
    icosahedra: float = 0.2,
    noise: float = 0.02,
    qdamp_known: bool = True,
    rmax: float = 50.1,
) -> tuple[MeasuredPdf, Truth]:
    """PDF of 60 facetted particles of lognormal diameters, and icosahedra with a share of the atoms.

    Parameters
    ----------
    seed
        Of shapes, sizes and noise.
    mean, width
        Of the particles' diameters, Å, in the distribution that they are drawn from.
    icosahedra
        Their share of the atoms; sizes by the same distribution, bonds 1 % shorter.
    noise
        Standard deviation relative to the root mean square of F(Q).
    qdamp_known
        Whether the header says qdamp.
    rmax
        Å.
    """
    rng = np.random.default_rng(seed)
    variance = math.log1p((width / mean) ** 2)
    middle = math.log(mean) - 0.5 * variance
    clusters = [facetted(rng, math.exp(rng.normal(middle, math.sqrt(variance)))) for _ in range(60)]
    sizes = np.array([len(points) for points in clusters])
    diameters = np.array([equal_sphere(n) for n in sizes])
    truth = Truth(
        float(diameters.mean()),
        float(diameters.std(ddof=1)),
        float(sizes @ diameters / sizes.sum()),
        icosahedra,
        len(clusters),
    )
    atoms = sizes.astype(float)
    if icosahedra > 0.0:
        closed = [Icosahedron("Pt", shell).positions for shell in range(3, 8)]
        near = [math.log(equal_sphere(len(points), TIGHTER * BOND)) for points in closed]
        number = np.exp(-0.5 * (np.array(near) - middle) ** 2 / variance) * [len(points) for points in closed]
        # Nearest neighbours of an icosahedron lie along its radii, 2.5 % closer than the mean.
        clusters += [points / pdist(points).min() * 0.975 * TIGHTER * BOND for points in closed]
        atoms = np.concatenate([atoms, number / number.sum() * icosahedra / (1.0 - icosahedra) * atoms.sum()])
    return _pdf(clusters, atoms, noise, rng, qdamp_known, rmax), truth


def single(seed: int, *, noise: float = 0.02, qdamp_known: bool = True, rmax: float = 20.1) -> MeasuredPdf:
    """PDF of one facetted particle of 80 to 300 atoms."""
    rng = np.random.default_rng((seed, 1))
    points = facetted(rng, equal_sphere(rng.uniform(80.0, 300.0)))
    return _pdf([points], np.ones(1), noise, rng, qdamp_known, rmax)


def large(seed: int, diameter: float, *, noise: float = 0.02, rmax: float = 125.1) -> tuple[MeasuredPdf, int]:
    """PDF of one facetted particle of about that diameter, Å, and its number of atoms; qdamp is told."""
    rng = np.random.default_rng((seed, 2))
    points = facetted(rng, diameter)
    return _pdf([points], np.ones(1), noise, rng, True, rmax), len(points)


def _pdf(
    clusters: list[Floats], atoms: Floats, noise: float, rng: np.random.Generator, qdamp_known: bool, rmax: float
) -> MeasuredPdf:
    params = PdfParams(rmax=rmax, qmin=0.8, qmax=25.0, qdamp=0.03, biso=0.5)
    share = atoms / atoms.sum()
    r, each = simulate_pdf(clusters, params, transform="exact", n_threads=1)
    grid = extended_grid(params, params.uiso)
    f = share @ debye_f(as_clusters(clusters, params)[0], params, grid, 1)
    used = slice(grid.k_first, grid.n_q)
    extra = np.zeros((1, len(f)))
    extra[0, used] = rng.normal(0.0, noise * float(np.sqrt(np.mean(f[used] ** 2))), grid.n_q - grid.k_first)
    envelope = np.exp(-0.5 * (params.qdamp * r) ** 2)
    g = share @ each + envelope * sine_exact(extra, grid, r_grid(params), params.rstep, 1)[0]
    header = {"qdamp": repr(params.qdamp)} if qdamp_known else {}
    seen = r >= 1.0
    return MeasuredPdf(r[seen], g[seen], qmin=params.qmin, qmax=params.qmax, metadata=header, source="sample")
