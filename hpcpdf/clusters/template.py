"""Site templates: the ideal positions that the clusters of a family occupy, with their symmetry.

A template is a ball cut out of the ideal structure of a family, around one of its sites. Lengths are in units of the
nearest-neighbour distance, so that one template serves every element.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import cache, cached_property
from itertools import permutations, product

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial import cKDTree

from hpcpdf.config import FAMILIES
from hpcpdf.errors import ConfigError, DataError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

NEIGHBOUR_CUTOFF = 1.2
"""Sites closer than this are neighbours: above the 1.155 of the second shell of bcc, below the 1.414 of fcc and sc."""

KEY_STEP = 1e-4
"""Distances are told apart to this fraction of the shortest one when shapes are compared."""

# Half the length of the longest cluster: 200 atoms stretched to an aspect ratio of about two.
_RADIUS = {"fcc": 5.25, "octahedron": 5.25, "hcp": 5.25, "sc": 5.75, "bcc": 5.3, "decahedron": 5.25, "icosahedron": 4.0}
_HALO = 1.5
_GOLDEN = (1.0 + np.sqrt(5.0)) / 2.0
_TIE = 1e-9

# Fixed weights of the orientation functional, without any symmetry of their own. Long axes turn towards z, then y.
_W1 = np.array([0.31, 0.59, 1.0])
_W2 = np.array([[0.0, 0.06, 0.11], [0.06, 0.41, 0.17], [0.11, 0.17, 1.0]])
_W3 = np.zeros((3, 3, 3))
_W3[2, 2, 2], _W3[1, 1, 1], _W3[0, 0, 0] = 0.50, 0.29, 0.13
_W3[2, 2, 1], _W3[2, 2, 0], _W3[1, 1, 2], _W3[1, 1, 0], _W3[0, 0, 2], _W3[0, 0, 1] = 0.23, 0.07, 0.37, 0.19, 0.31, 0.11
_W3[0, 1, 2] = 0.43
# The lean of the centroid says which side a growing cluster filled last; skewness only helps where that is zero.
_W3 *= 0.3


@dataclass(frozen=True, eq=False)
class SiteTemplate:
    """Ideal sites of a family around the origin, and the symmetry that maps them on each other.

    Attributes
    ----------
    family
        Name of the family.
    sites
        (S, 3) positions in nearest-neighbour distances, by distance from the origin; the origin itself is site 0.
    operations
        (G, 3, 3) orthogonal matrices: the point group of the sites about the origin, the identity first.
    codes
        (S, 3) integers that name a site; differences of codes name the site seen from another one.
    centres
        Indices of the sites that may become the origin: every site of a lattice, the sites on the five-fold axis of the
        decahedron, the centre of the icosahedron.
    halo
        (H, 3) sites of the same structure just outside the template: a draw that reaches them does not fit.
    """

    family: str
    sites: Floats
    operations: Floats
    codes: Ints
    centres: Ints
    halo: Floats = field(repr=False)

    def __len__(self) -> int:
        return len(self.sites)

    @property
    def translations(self) -> Floats:
        """(T, 3) shifts of the origin that keep the structure, up to an inversion for the second site of hcp."""
        return self.sites[self.centres]

    @cached_property
    def digest(self) -> str:
        """Names the meaning of the site indices: whatever stores indices stores this too, to be checked on reading."""
        steps = np.rint(self.sites * 1e4).astype("<i8")
        return hashlib.blake2b(self.family.encode() + steps.tobytes(), digest_size=8).hexdigest()

    @cached_property
    def images(self) -> Ints:
        """(G, S) index of the site that each operation moves each site to."""
        moved = np.einsum("gij,sj->gsi", self.operations, self.sites)
        gap, index = cKDTree(self.sites).query(moved, distance_upper_bound=1e-6)
        if not np.all(np.isfinite(gap)):
            raise RuntimeError(f"the template of {self.family} is not closed under its point group")
        return np.asarray(index, dtype=np.int64)

    @cached_property
    def neighbours(self) -> Ints:
        """(S, M) indices of the sites within `NEIGHBOUR_CUTOFF` of each site, padded with S."""
        pairs = cKDTree(self.sites).query_pairs(NEIGHBOUR_CUTOFF, output_type="ndarray")
        found: list[list[int]] = [[] for _ in self.sites]
        for a, b in pairs.tolist():
            found[a].append(b)
            found[b].append(a)
        table = np.full((len(found), max(map(len, found))), len(found), dtype=np.int64)
        for index, row in enumerate(found):
            table[index, : len(row)] = sorted(row)
        return table

    @cached_property
    def distances(self) -> Floats:
        """(S, S) distances between sites, in nearest-neighbour distances."""
        difference = self.sites[:, None, :] - self.sites[None, :, :]
        return np.asarray(np.sqrt(np.einsum("abi,abi->ab", difference, difference)))

    @cached_property
    def distance_classes(self) -> tuple[Floats, NDArray[np.int32]]:
        """The distinct distances (C,) and the (S, S) index of each pair's distance among them."""
        steps = np.rint(self.distances * 1e6).astype(np.int64)
        _, first, inverse = np.unique(steps, return_index=True, return_inverse=True)
        return self.distances.ravel()[first], np.asarray(inverse, dtype=np.int32).reshape(steps.shape)

    @cached_property
    def _functional(self) -> Floats:
        """(G, 36) weights of the second (9) and third (27) moments in the orientation functional of each operation."""
        r = self.operations
        second = np.einsum("ab,gai,gbj->gij", _W2, r, r)
        third = np.einsum("abc,gai,gbj,gck->gijk", _W3, r, r, r)
        return np.concatenate([second.reshape(-1, 9), third.reshape(-1, 27)], axis=1)

    @cached_property
    def _lookup(self) -> tuple[Ints, Ints, Ints]:
        reach = np.abs(self.codes).max(axis=0)
        width = 2 * reach + 1
        strides = np.array([width[1] * width[2], width[2], 1], dtype=np.int64)
        table = np.full(int(width.prod()), -1, dtype=np.int64)
        table[(self.codes + reach) @ strides] = np.arange(len(self.codes))
        return table, strides, reach

    def recentre(self, sites: Ints, centre: int) -> Ints | None:
        """Indices of `sites` seen from the site `centre`, or None when they do not all fit."""
        if centre == 0:
            return sites
        code = self.codes[centre]
        moved = self.codes[sites] - code
        if self.flips(centre):
            moved = -moved
        table, strides, reach = self._lookup
        if (np.abs(moved) > reach).any():
            return None
        found = table[(moved + reach) @ strides]
        return None if found.min(initial=0) < 0 else found

    def flips(self, centre: int) -> bool:
        """Whether the structure seen from this site is inverted: hcp has two kinds of sites."""
        return self.family == "hcp" and bool(self.codes[centre, 2] % 2)


@dataclass(frozen=True, eq=False)
class Shape:
    """A cluster without scale: occupied sites of a family's template, in canonical order.

    Attributes
    ----------
    family
        Name of the family.
    sites
        (n,) indices into ``template(family).sites``, canonical and ascending.
    key
        Digest of the scale-free distance list: equal for equal shapes, whatever their family.
    """

    family: str
    sites: Ints
    key: str

    @property
    def positions(self) -> Floats:
        """(n, 3) positions in nearest-neighbour distances, the canonical origin at zero."""
        return template(self.family).sites[self.sites]

    @property
    def n_atoms(self) -> int:
        """Number of atoms."""
        return len(self.sites)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Shape):
            return NotImplemented
        return self.family == other.family and np.array_equal(self.sites, other.sites)

    def __hash__(self) -> int:
        return hash((self.family, self.key))


@cache
def template(family: str) -> SiteTemplate:
    """Site template of a family; built on first use, then shared.

    Parameters
    ----------
    family
        One of ``fcc, sc, bcc, hcp, octahedron, decahedron, icosahedron``. Octahedra lie on the fcc lattice.

    Raises
    ------
    ConfigError
        For an unknown family.
    """
    if family not in FAMILIES:
        raise ConfigError(f"unknown cluster family {family!r}; known: {', '.join(FAMILIES)}")
    points, codes, operations = ideal_sites(family, _RADIUS[family])
    radius = np.linalg.norm(points, axis=1)
    order = np.lexsort((*np.round(-points.T, 6), np.round(radius, 6)))
    points, codes, radius = points[order], codes[order], radius[order]
    inside = radius <= _RADIUS[family] + 1e-9
    sites, codes = np.ascontiguousarray(points[inside]), np.ascontiguousarray(codes[inside])
    centres = np.arange(len(sites))
    if family == "decahedron":
        centres = centres[np.hypot(sites[:, 0], sites[:, 1]) < 1e-6]
    elif family == "icosahedron":
        centres = centres[:1]
    return SiteTemplate(family, sites, operations, codes, centres, points[~inside])


def ideal_sites(family: str, radius: float) -> tuple[Floats, Ints, Floats]:
    """Ideal positions of a family within `radius` of a site and somewhat beyond, unsorted.

    Parameters
    ----------
    family
        As for `template`.
    radius
        Nearest-neighbour distances.

    Returns
    -------
    points : (S, 3)
        Nearest-neighbour distances; all sites within `radius` are among them.
    codes : (S, 3)
        Integers that name a site.
    operations : (G, 3, 3)
        Point group about the origin, the identity first.
    """
    builder = {"decahedron": _decahedron, "icosahedron": _icosahedron, "hcp": _hcp}.get(family)
    return builder(radius) if builder else _cubic(family, radius)


def canonical_sites(family: str, sites: ArrayLike) -> Ints:
    """Canonical position, orientation and order of a set of occupied sites.

    The site nearest to the centroid becomes the origin. Of the point group, the operation is taken that maximises a
    fixed linear functional of the centroid seen from the origin and of the second and third central moments (each
    scaled by the radius of gyration), so that one more atom rarely changes it; what is still tied is resolved by the
    lexicographically smallest list of sites. Sites are ordered by index, that is by distance from the origin.

    Parameters
    ----------
    family
        Family of the template.
    sites
        (n,) indices of the occupied sites, in any order; repeated ones count once.

    Returns
    -------
    ndarray
        (n,) ascending indices. Any image of the cluster under the template's symmetry gives the same ones.

    Raises
    ------
    DataError
        If `sites` is empty, names no site of the template, or does not fit into it after re-centring.
    """
    frame = template(family)
    chosen = np.unique(np.asarray(sites, dtype=np.int64))
    if chosen.size == 0 or chosen[0] < 0 or chosen[-1] >= len(frame):
        raise DataError(
            f"sites of {family}: expected at least one index in 0...{len(frame) - 1}, got {np.asarray(sites)}"
        )
    found = find_canonical(frame, chosen)
    if found is None:
        raise DataError(f"sites of {family}: the cluster of {chosen.size} atoms leaves the template when re-centred")
    return found


def find_canonical(frame: SiteTemplate, sites: Ints) -> Ints | None:
    """`canonical_sites` for unique ascending `sites`; None when they do not fit."""
    positions = frame.sites[sites]
    n = len(positions)
    centroid = positions.sum(axis=0) / n
    offset = centroid - frame.sites[frame.centres]
    gap = np.einsum("ci,ci->c", offset, offset)
    nearest = np.flatnonzero(gap <= gap.min() + _TIE)

    q = positions - centroid
    gyration = max(float(np.einsum("ni,ni->", q, q)) / n, _TIE)
    second = (q.T @ q).ravel() / (n * gyration)
    third = ((q[:, :, None] * q[:, None, :]).reshape(n, 9).T @ q).ravel() / (n * gyration**1.5)
    sign = np.array([-1.0 if frame.flips(int(c)) else 1.0 for c in frame.centres[nearest]])
    even, odd = frame._functional[:, :9] @ second, frame._functional[:, 9:] @ third
    lean = (sign[:, None] * offset[nearest]) @ (frame.operations.transpose(0, 2, 1) @ _W1).T / np.sqrt(gyration)
    value = even[None, :] + sign[:, None] * odd[None, :] + lean
    where = np.argwhere(value >= value.max() - _TIE)
    candidates = []
    for c in np.unique(where[:, 0]):
        seen = frame.recentre(sites, int(frame.centres[nearest[c]]))
        if seen is None:
            return None
        candidates.append(frame.images[where[where[:, 0] == c, 1]][:, seen])
    images = np.sort(np.concatenate(candidates), axis=1)
    differs = np.flatnonzero((images != images[0]).any(axis=0))
    if differs.size:
        images = images[np.lexsort(images[:, differs[::-1]].T)]
    return np.asarray(images[0])


def make_shape(family: str, sites: Ints) -> Shape:
    """Shape of canonical `sites`, with its key."""
    distances, classes = template(family).distance_classes
    counts = np.bincount(classes[sites[:, None], sites[None, :]].ravel(), minlength=len(distances)) // 2
    counts[0] = 0
    present = np.flatnonzero(counts)
    return Shape(family, sites, distance_digest(distances[present], counts[present], len(sites)))


def distance_digest(distances: Floats, counts: Ints, n_atoms: int) -> str:
    """32 hexadecimal digits that name a list of distances, up to its scale.

    Parameters
    ----------
    distances
        Ascending distances, any unit.
    counts
        How often each occurs.
    n_atoms
        Number of atoms.
    """
    steps = np.zeros(0, dtype=np.int64)
    if len(distances):
        steps = np.rint(distances / (distances[0] * KEY_STEP)).astype(np.int64)
    values, start = np.unique(steps, return_index=True)
    total = np.add.reduceat(counts, start) if len(values) else steps
    data = np.concatenate([[n_atoms], values, total]).astype("<i8")
    return hashlib.blake2b(data.tobytes(), digest_size=16).hexdigest()


def _grid(reach: int) -> Ints:
    axis = np.arange(-reach, reach + 1)
    return np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1).reshape(-1, 3)


def _ball(points: Floats, codes: Ints, radius: float) -> tuple[Floats, Ints]:
    keep = np.einsum("ni,ni->n", points, points) <= (radius + _HALO) ** 2
    return points[keep], codes[keep]


def _cubic(family: str, radius: float) -> tuple[Floats, Ints, Floats]:
    unit = {"sc": 1.0, "bcc": 1.0 / np.sqrt(3.0)}.get(family, 1.0 / np.sqrt(2.0))
    codes = _grid(int((radius + _HALO) / unit) + 1)
    if family == "bcc":
        codes = codes[(codes % 2 == codes[:, :1] % 2).all(axis=1)]
    elif family != "sc":
        codes = codes[codes.sum(axis=1) % 2 == 0]
    operations = np.array(
        [
            np.diag(signs) @ np.eye(3)[list(order)]
            for order in permutations(range(3))
            for signs in product((1, -1), repeat=3)
        ]
    )
    return *_ball(codes * unit, codes, radius), operations


def _hcp(radius: float) -> tuple[Floats, Ints, Floats]:
    # Codes count thirds of the two short axes and halves of the long one; ideal c/a.
    cell = np.array([[1.0, 0.0, 0.0], [-0.5, np.sqrt(0.75), 0.0], [0.0, 0.0, np.sqrt(8.0 / 3.0)]])
    first = _grid(int(radius + _HALO) + 2) * np.array([3, 3, 2])
    codes = np.concatenate([first, first + np.array([1, 2, 1])])
    mirror = [np.diag([1.0, 1.0, 1.0]), np.diag([-1.0, 1.0, 1.0])]
    flat = [np.diag([1.0, 1.0, s]) for s in (1.0, -1.0)]
    operations = np.array([_about_z(k, 3) @ m @ f for k in range(3) for m in mirror for f in flat])
    return *_ball(codes / np.array([3.0, 3.0, 2.0]) @ cell, codes, radius), operations


def _decahedron(radius: float) -> tuple[Floats, Ints, Floats]:
    # Columns i v_m + j v_(m+1) of five sectors; a column is shifted by half a step along the axis when i + j is odd.
    angle = 2.0 * np.pi * np.arange(6) / 5.0 + np.pi / 2.0
    spoke = np.sqrt(0.75) * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    columns: list[tuple[Floats, int]] = [(np.zeros(2), 0)]
    reach = int((radius + _HALO) / 0.7) + 1
    for m in range(5):
        for i, j in product(range(1, reach), range(reach)):
            columns.append((i * spoke[m] + j * spoke[m + 1], (i + j) % 2))
    half = 2 * int(radius + _HALO) + 2
    points, codes = [], []
    for name, (place, odd) in enumerate(columns):
        if np.hypot(*place) > radius + _HALO:
            continue
        steps = np.arange(-half, half + 1)
        steps = steps[steps % 2 == odd]
        points.append(np.column_stack([np.tile(place, (len(steps), 1)), steps / 2.0]))
        codes.append(np.column_stack([np.full(len(steps), name), np.zeros_like(steps), steps]))
    mirror = [np.diag([1.0, 1.0, 1.0]), np.diag([-1.0, 1.0, 1.0])]
    flat = [np.diag([1.0, 1.0, s]) for s in (1.0, -1.0)]
    operations = np.array([_about_z(k, 5) @ m @ f for k in range(5) for m in mirror for f in flat])
    return *_ball(np.concatenate(points), np.concatenate(codes), radius), operations


def icosahedron_axes() -> tuple[Floats, Floats]:
    """Unit vectors to the 12 vertices and 20 faces of the icosahedron, as the template holds it."""
    vertices = np.array([[0.0, a, b * _GOLDEN] for a in (1, -1) for b in (1, -1)])
    vertices = np.concatenate([np.roll(vertices, shift, axis=1) for shift in range(3)])
    vertices /= np.linalg.norm(vertices[0])
    close = vertices @ vertices.T > 0.4
    faces = [
        (a, b, c) for a in range(12) for b in range(a) for c in range(b) if close[a, b] and close[b, c] and close[a, c]
    ]
    centres = np.array([vertices[list(f)].sum(axis=0) for f in faces])
    return vertices, centres / np.linalg.norm(centres[0])


def _icosahedron(radius: float) -> tuple[Floats, Ints, Floats]:
    # Mackay shells: the radial neighbour distance is one, the tangential one 1.0515.
    vertices, faces = icosahedron_axes()
    points = [np.zeros((1, 3))]
    shells = int(radius)
    for face in faces:
        corners = vertices[np.argsort(-vertices @ face)[:3]]
        for n in range(1, shells + 1):
            points.append(np.array([[i, j, n - i - j] for i in range(n + 1) for j in range(n + 1 - i)]) @ corners)
    every = np.concatenate(points)
    _, first = np.unique(np.round(every, 6) + 0.0, axis=0, return_index=True)
    every = every[np.sort(first)]
    pairs = [(a, b) for a in range(12) for b in range(12) if 0.4 < vertices[a] @ vertices[b] < 0.5]
    start = np.linalg.inv(_frame(vertices, *pairs[0]))
    rotations = np.array([_frame(vertices, a, b) @ start for a, b in pairs])
    operations = np.concatenate([rotations, -rotations])
    names = np.arange(len(every))
    codes = np.column_stack([names, np.zeros_like(names), np.zeros_like(names)])
    return every, codes, operations


def _frame(vertices: Floats, a: int, b: int) -> Floats:
    return np.column_stack([vertices[a], vertices[b], np.cross(vertices[a], vertices[b])])


def _about_z(k: int, fold: int) -> Floats:
    angle = 2.0 * np.pi * k / fold
    return np.array([[np.cos(angle), -np.sin(angle), 0.0], [np.sin(angle), np.cos(angle), 0.0], [0.0, 0.0, 1.0]])
