"""The published FCC data set: a grid of symmetric clusters, in many elements and lattice constants."""

from __future__ import annotations

from functools import cache
from itertools import product

import numpy as np
from ase.cluster import FaceCenteredCubic
from scipy.spatial import cKDTree

from hpcpdf.clusters.cluster import Cluster
from hpcpdf.clusters.elements import METALS, metallic_radius
from hpcpdf.clusters.template import Shape, canonical_sites, make_shape, template

PAPER_SIZE = 3137
"""Clusters in the published data set."""

_SURFACES = ((1, 0, 0), (1, 1, 0), (1, 1, 1))
_LAYERS = (range(1, 9), range(1, 8), range(1, 8))
_ATOMS = (5, 100)
_STRETCH = 0.01


@cache
def reference_shapes() -> tuple[Shape, ...]:
    """Distinct shapes of the reference grid, by number of atoms.

    The grid is ``FaceCenteredCubic`` with surfaces {100}, {110}, {111} at up to 8, 7 and 7 layers from the central atom
    and 5 to 100 atoms. It has 9 shapes that differ in their distances: 13, 19, 43, 55, 63, 79, 85, 87, 93 atoms.
    Layers beyond those that touch the cluster change nothing, so only one cluster of each kind is built.
    """
    frame = template("fcc")
    tree = cKDTree(frame.sites)
    # Heights of the sites above the origin in layers: half lattice constants of {100}, thirds of the diagonal of {111}.
    cube = np.sort(np.abs(np.rint(frame.sites * np.sqrt(2.0))), axis=1)
    layers = np.stack([cube[:, 2], cube[:, 1] + cube[:, 2], cube.sum(axis=1) / 2.0])
    tried: set[bytes] = set()
    shapes: dict[str, Shape] = {}
    for heights in product(*_LAYERS):
        inside = (layers <= np.array(heights)[:, None] + 0.1).all(axis=0)
        if not _ATOMS[0] <= np.count_nonzero(inside) <= _ATOMS[1] or inside.tobytes() in tried:
            continue
        tried.add(inside.tobytes())
        atoms = FaceCenteredCubic("Au", _SURFACES, heights, latticeconstant=np.sqrt(2.0))
        centre = atoms.positions[np.argmin(np.linalg.norm(atoms.positions - atoms.positions.mean(axis=0), axis=1))]
        gap, sites = tree.query(atoms.positions - centre)
        if np.max(gap) > 1e-6:
            raise RuntimeError(f"ASE's cluster of layers {heights} does not lie on the fcc sites")
        shape = make_shape("fcc", canonical_sites("fcc", sites))
        if _ATOMS[0] <= shape.n_atoms <= _ATOMS[1]:
            shapes.setdefault(shape.key, shape)
    return tuple(sorted(shapes.values(), key=lambda shape: shape.n_atoms))


def paper_clusters(seed: int) -> list[Cluster]:
    """The ``paper`` data set: 3137 clusters that differ in their interatomic distances.

    Each is one of `reference_shapes` in one of the 28 `METALS`, its nearest-neighbour distance two metallic radii
    times a number in 0.99 ... 1.01; duplicates by distance list are left out.

    Parameters
    ----------
    seed
        Decides which ones, and their order.
    """
    rng = np.random.default_rng(np.random.SeedSequence(seed))
    shapes = reference_shapes()
    kept: dict[tuple[str, int], Cluster] = {}
    while len(kept) < PAPER_SIZE:
        shape = shapes[int(rng.integers(len(shapes)))]
        element = METALS[int(rng.integers(len(METALS)))]
        nn = 2.0 * metallic_radius(element) * (1.0 + _STRETCH * rng.uniform(-1.0, 1.0))
        cluster = Cluster(shape, element, nn)
        kept.setdefault(cluster.distance_key, cluster)
    return list(kept.values())
