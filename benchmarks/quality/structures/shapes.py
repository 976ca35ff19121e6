"""Shapes for the test sets, built apart from the package's own lattice search: lengths in nearest-neighbour distances.

Facet bodies are grown as levels of a gauge, the largest n.(x - centre) / b over the facet normals n with distances b: a
level holds whole facets, so that every body is the intersection of its half-spaces with the lattice.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from itertools import permutations, product

import numpy as np
from ase.cluster import Decahedron, Icosahedron
from numpy.typing import NDArray
from scipy.sparse.csgraph import connected_components
from scipy.spatial import ConvexHull, cKDTree

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Rng = np.random.Generator

BONDED = 1.2
"""Atoms closer than this are neighbours."""

_LAYER = np.sqrt(2.0 / 3.0)
"""Distance of the (111) layers."""
_TRIES = 500


class NoShapeError(RuntimeError):
    """No shape that meets the conditions was found."""


@dataclass(frozen=True)
class Span:
    """Bounds of the number of atoms, both included."""

    low: int
    high: int

    def draw(self, rng: Rng) -> int:
        return int(rng.integers(self.low, self.high + 1))

    def __contains__(self, n: object) -> bool:
        return isinstance(n, int) and self.low <= n <= self.high


def fcc_convex(rng: Rng, size: Span, spread: float = 0.35) -> Floats:
    """A convex fcc particle without any symmetry: 26 facets at independent distances about a random centre.

    Parameters
    ----------
    rng
        Source of randomness.
    size
        Bounds of the number of atoms; the number aimed at is uniform in them.
    spread
        Half width of the uniform distribution of the facets' distances, relative to its mean.

    Returns
    -------
    ndarray
        (n, 3) positions, connected by nearest-neighbour bonds.
    """

    def draw() -> Floats | None:
        centre = rng.uniform(-0.5, 0.5, 3) * np.sqrt(2.0)
        distance = rng.uniform(1.0 - spread, 1.0 + spread, len(fcc_normals()))
        points = _grow(fcc_ball, fcc_normals(), distance, centre, size.draw(rng), size)
        return None if points is None or has_symmetry(points) else points

    return _first(draw)


def fcc_symmetric(rng: Rng, size: Span) -> Floats:
    """A convex fcc particle about a site, a hole or the middle of a bond, opposite facets equally far.

    Half of them have all facets of a kind equally far, the others are longer or flatter along one facet's normal.
    """
    centres = np.array([[0, 0, 0], [1, 0, 0], [0.5, 0.5, 0.5], [0.5, 0.5, 0]]) / np.sqrt(2.0)

    def draw() -> Floats | None:
        distance = rng.uniform(0.75, 1.35, 3)[_fcc_kinds()]
        used = (rng.random(3) < 0.65)[_fcc_kinds()]
        if not used.any():
            return None
        if rng.random() < 0.5:
            axis = fcc_normals()[rng.integers(26)]
            distance = distance * (1.0 + rng.uniform(-0.35, 0.8) * (fcc_normals() @ axis) ** 2)
        centre = centres[rng.integers(len(centres))]
        return _grow(fcc_ball, fcc_normals()[used], distance[used], centre, size.draw(rng), size)

    return _first(draw)


def fcc_rough(rng: Rng, size: Span) -> Floats:
    """`fcc_convex`, then one to five atoms removed where few bonds break or added where at least three form."""

    def draw() -> Floats | None:
        points = fcc_convex(rng, size)
        sites = fcc_ball(float(np.linalg.norm(points, axis=1).max()) + 1.5)
        mask = cKDTree(points).query(sites)[0] < 1e-6
        tree = cKDTree(sites)
        pairs = tree.query_pairs(BONDED, output_type="ndarray")
        # A site changes once at most: what is put on does not go again.
        fresh = np.ones(len(sites), dtype=bool)
        for _ in range(int(rng.integers(1, 6))):
            bonds = np.bincount(pairs[:, 0], mask[pairs[:, 1]], len(sites))
            bonds += np.bincount(pairs[:, 1], mask[pairs[:, 0]], len(sites))
            if rng.random() < 0.5:
                surface = np.flatnonzero(mask & fresh & (bonds < 12))
                pool = surface[bonds[surface] <= np.median(bonds[surface])]
            else:
                pool = np.flatnonzero(~mask & fresh & (bonds >= 3))
            if len(pool):
                chosen = rng.choice(pool)
                mask[chosen] = not mask[chosen]
                fresh[chosen] = False
        rough = sites[mask]
        return rough if len(rough) in size and connected(rough) else None

    return _first(draw)


def twin(rng: Rng, size: Span, spread: float = 0.3) -> Floats:
    """An fcc particle with one twin plane: (111) layers ...CBABC... about a mirror layer, cut by facets of both halves.

    At least two layers and 15 % of the atoms lie on either side of the mirror layer. Each half is bounded by its own
    crystal's facets whose normals point to its side.
    """

    def draw() -> Floats | None:
        target = size.draw(rng)
        radius = _radius(target)
        centre = np.append(rng.uniform(-0.5, 0.5, 2), rng.uniform(-0.4, 0.4) * radius)
        normals = _twin_normals()
        distance = rng.uniform(1.0 - spread, 1.0 + spread, len(normals))
        points = _grow(_twin_ball, normals, distance, centre, target, size)
        if points is None:
            return None
        layer = np.rint(points[:, 2] / _LAYER).astype(int)
        share = min(float(np.mean(layer > 0)), float(np.mean(layer < 0)))
        return points if layer.min() <= -2 and layer.max() >= 2 and share >= 0.15 else None

    return _first(draw)


def cut_decahedron(rng: Rng, size: Span) -> Floats:
    """An Ino or Marks decahedron without what lies beyond one plane; an atom of its axis keeps all 12 neighbours."""

    def draw() -> Floats | None:
        p, q, r = (int(rng.integers(low, high)) for low, high in ((1, 6), (1, 6), (0, 3)))
        core = Decahedron("Au", p, q, r, latticeconstant=np.sqrt(2.0)).positions
        if not size.low <= len(core) <= 2 * size.high:
            return None
        core = core - core.mean(axis=0)
        left = _cut(core, rng)
        if left is None or len(left) not in size:
            return None
        axis = np.flatnonzero(np.hypot(left[:, 0], left[:, 1]) < 1e-6)
        return left if len(axis) and coordination(left)[axis].max() == 12 else None

    return _first(draw)


def cut_icosahedron(rng: Rng, size: Span) -> Floats:
    """A Mackay icosahedron without what lies beyond one plane, or two; the central atom keeps all 12 neighbours."""

    def draw() -> Floats | None:
        core = Icosahedron("Au", int(rng.integers(3, 6)), latticeconstant=np.sqrt(2.0)).positions
        core = core - core.mean(axis=0)
        left = _cut(core, rng)
        if left is not None and rng.random() < 0.5:
            left = _cut(left, rng)
        if left is None or len(left) not in size:
            return None
        middle = int(np.argmin(np.linalg.norm(left, axis=1)))
        return left if np.linalg.norm(left[middle]) < 1e-6 and coordination(left)[middle] == 12 else None

    return _first(draw)


def coordination(points: Floats) -> Ints:
    """(n,) number of neighbours of each atom."""
    return np.array([len(near) - 1 for near in cKDTree(points).query_ball_point(points, BONDED)], dtype=np.int64)


def connected(points: Floats) -> bool:
    """Whether nearest-neighbour bonds join all atoms."""
    graph = cKDTree(points).sparse_distance_matrix(cKDTree(points), BONDED)
    return bool(connected_components(graph, directed=False, return_labels=False) == 1)


def has_symmetry(points: Floats) -> bool:
    """Whether a cubic rotation or reflection about the centroid maps fcc sites on themselves."""
    codes = np.rint(points * np.sqrt(2.0)).astype(np.int64)
    centred = len(codes) * codes - codes.sum(axis=0)
    own = {tuple(row) for row in centred.tolist()}
    # An operation that maps the atoms farthest out on others is rare: ask those first.
    order = np.argsort(-np.einsum("ni,ni->n", centred, centred), kind="stable")
    return any(all(tuple(row) in own for row in (centred[order] @ g).tolist()) for g in _cubic_group()[1:])


@cache
def fcc_normals() -> Floats:
    """(26, 3) unit normals of {100}, {110} and {111}."""
    normals = np.array([n for n in product((-1.0, 0.0, 1.0), repeat=3) if any(n)])
    return np.asarray(normals / np.linalg.norm(normals, axis=1, keepdims=True))


@cache
def _fcc_kinds() -> Ints:
    """Kind of each normal: 0, 1, 2 for {100}, {110}, {111}."""
    return np.count_nonzero(fcc_normals(), axis=1).astype(np.int64) - 1


@cache
def _cubic_group() -> Ints:
    """(48, 3, 3) operations, the identity first."""
    return np.array(
        [
            np.diag(signs) @ np.eye(3, dtype=np.int64)[list(order)]
            for order in permutations(range(3))
            for signs in product((1, -1), repeat=3)
        ]
    )


@cache
def fcc_ball(radius: float) -> Floats:
    """Sites of the fcc lattice within `radius` of one of them."""
    reach = int(radius * np.sqrt(2.0)) + 1
    axis = np.arange(-reach, reach + 1)
    codes = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1).reshape(-1, 3)
    codes = codes[(codes.sum(axis=1) % 2 == 0) & (np.einsum("ni,ni->n", codes, codes) <= 2.0 * radius**2 + 1e-9)]
    return np.asarray(codes / np.sqrt(2.0))


@cache
def _upright() -> Floats:
    """Rotation that turns [111] to z."""
    z = np.ones(3) / np.sqrt(3.0)
    x = np.array([1.0, -1.0, 0.0]) / np.sqrt(2.0)
    return np.array([x, np.cross(z, x), z])


@cache
def _twin_ball(radius: float) -> Floats:
    """Sites of two fcc crystals that share the layer z = 0 and mirror each other in it."""
    upper = fcc_ball(radius) @ _upright().T
    upper = upper[upper[:, 2] > -1e-6]
    return np.concatenate([upper, upper[upper[:, 2] > 1e-6] * [1.0, 1.0, -1.0]])


@cache
def _twin_normals() -> Floats:
    """Normals of the upper crystal that do not point down, and their mirror images."""
    upper = fcc_normals() @ _upright().T
    upper = upper[upper[:, 2] > -1e-6]
    return np.concatenate([upper, upper[upper[:, 2] > 1e-6] * [1.0, 1.0, -1.0]])


def _radius(n_atoms: int) -> float:
    """Radius of a ball of close-packed spheres."""
    return float((3.0 * n_atoms / (4.0 * np.pi * np.sqrt(2.0))) ** (1.0 / 3.0))


def _grow(
    ball: Callable[[float], Floats], normals: Floats, distance: Floats, centre: Floats, target: int, size: Span
) -> Floats | None:
    """The level of the gauge with about `target` atoms; None when that is not within `size`, or in pieces."""
    # In steps, so that few balls serve many shapes.
    radius = float(np.ceil(2.0 * (2.2 * _radius(target) + 1.5)) / 2.0)
    sites = ball(radius)
    gauge = np.max((sites - centre) @ (normals / distance[:, None]).T, axis=1)
    level = np.sort(gauge)[min(target, len(gauge)) - 1]
    inside = [sites[gauge < level - 1e-6], sites[gauge <= level + 1e-6]]
    points = min(inside, key=lambda found: abs(len(found) - target))
    if len(points) not in size or np.linalg.norm(points, axis=1).max() > radius - 1.0 or not connected(points):
        return None
    return points


def _cut(core: Floats, rng: Rng) -> Floats | None:
    """Take off one to several layers along the normal of a face of the hull, or towards a corner."""
    hull = ConvexHull(core)
    corner = core[hull.vertices] / np.linalg.norm(core[hull.vertices], axis=1, keepdims=True)
    directions = hull.equations[:, :3] if rng.random() < 0.6 else corner
    height = core @ directions[rng.integers(len(directions))]
    layers = np.unique(np.round(height, 5))[::-1]
    layers = layers[layers > 0.0]
    if not len(layers):
        return None
    limit = layers[rng.integers(len(layers))]
    left = core[height < limit - 1e-4]
    return left if len(core) - len(left) >= 3 and len(left) >= 0.55 * len(core) and connected(left) else None


def _first(draw: Callable[[], Floats | None]) -> Floats:
    for _ in range(_TRIES):
        points = draw()
        if points is not None:
            return points
    raise NoShapeError(f"no such shape in {_TRIES} draws")
