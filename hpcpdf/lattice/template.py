"""Templates of the lattice engine: the sites of a family, their neighbours, facets and classes of distances.

A template is a ball of the family's ideal structure, as large as the search needs it. Lengths are in nearest-neighbour
distances. Whatever lies on a template has few distinct distances, its shells, and its PDF is linear in how many pairs
each of them has.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from hpcpdf import _core
from hpcpdf.clusters.draw import SYMMETRIC_CENTRES, decahedral_notches, facet_normals
from hpcpdf.clusters.template import NEIGHBOUR_CUTOFF, ideal_sites
from hpcpdf.errors import ConfigError, SolverError

Floats = NDArray[np.float64]
Ints = NDArray[np.int32]

LATTICES = ("fcc", "hcp", "bcc", "sc", "decahedron", "icosahedron", "twin")
"""Families of the engine. Octahedra lie on the fcc lattice; ``twin`` is fcc with one twin plane."""

_LAYER = 1e-4
"""Heights closer than this belong to one layer."""

_CELLS = {"fcc": 2.0, "sc": 2.0, "bcc": 6.0, "hcp": 6.0, "twin": 6.0, "decahedron": 1000.0, "icosahedron": 1000.0}
"""Cells per squared distance that tell shells apart: squared distances of lattices are whole numbers or thirds."""
_COARSER = (1.0, 0.5, 0.25, 0.1)
"""Factors on them for decahedra and icosahedra with more distances than can be told apart: at 10 bond lengths, cells of
0.0005 are far below any peak's width still.
"""

_LEAST_BONDS = {"sc": 2, "bcc": 4}
"""Neighbours that an added atom must have; 3 on close-packed templates, second shell counted for bcc."""

_MISSING = {"fcc": 15.0, "hcp": 15.2, "bcc": 18.5, "sc": 6.0, "decahedron": 14.8, "icosahedron": 13.4, "twin": 15.0}
"""Missing bonds of compact particles of N atoms, over N^(2/3)."""


class TemplateTooLargeError(SolverError):
    """A family has more distances in particles of that size than the search can tell apart."""


@dataclass(frozen=True, eq=False)
class Template:
    """Sites that the atoms of a family may take.

    Attributes
    ----------
    family : str
    radius : float
        Sites farther from the origin than this stay empty.
    sites : (S, 3)
        Positions, by distance from the origin.
    distance : (C,)
        Distance of each shell, ascending within the classes' order.
    core : LatticeSites
        The same for the compiled loops.
    operations : (G, 3, 3)
        Point group about the origin.
    centres : (K, 3)
        Centres of symmetric bodies.
    least_bonds : int
        Neighbours that an added atom must have.
    coordination : int
        Neighbours of a site in the bulk.
    usual_missing : float
        Missing bonds of a compact particle, over n_atoms^(2/3).
    normals : (F, 3)
        Outward normals of the facets.
    kinds : (F,)
        Facets that symmetry makes alike.
    neighbours : (S, M)
        Sites next to each site, padded with S.
    levels : (S, F)
        Layer of each facet that a site lies in, counted outwards.
    """

    family: str
    radius: float
    sites: Floats
    distance: Floats
    core: _core.LatticeSites = field(repr=False)
    operations: Floats = field(repr=False)
    centres: Floats = field(repr=False)
    least_bonds: int
    coordination: int
    usual_missing: float
    normals: Floats = field(repr=False)
    kinds: Ints = field(repr=False)
    neighbours: Ints = field(repr=False)
    levels: NDArray[np.int16] = field(repr=False)

    def __len__(self) -> int:
        return len(self.sites)


def lattice_template(family: str, radius: float, reach: float) -> Template:
    """Template of a family.

    Radius and reach are rounded up in steps of a twelfth of an octave, so that few templates serve many PDFs; the last
    ones are kept.

    Parameters
    ----------
    family
        One of `LATTICES`.
    radius
        Room for particles, from the origin, in nearest-neighbour distances.
    reach
        Longest distance of a pair that counts: longer ones have no shell, as the data do not see them.

    Raises
    ------
    ConfigError
        For an unknown family.
    TemplateTooLargeError
        For decahedra and icosahedra of more than some 12 bond lengths across.
    """
    if family not in LATTICES:
        raise ConfigError(f"unknown lattice family {family!r}; known: {', '.join(LATTICES)}")
    return _template(family, _rounded(radius), _rounded(reach))


def _rounded(length: float) -> float:
    return round(float(2.0 ** (math.ceil(12.0 * math.log2(max(length, 2.0)) - 1e-9) / 12.0)), 6)


@lru_cache(maxsize=32)
def _template(family: str, radius: float, longest: float) -> Template:
    points, operations = _points(family, radius)
    # One more layer of sites around those that may be taken tells when a particle would leave the template.
    reach = radius + 1.0
    distance = np.linalg.norm(points, axis=1)
    order = np.lexsort((*np.round(-points.T, 6), np.round(distance, 6)))
    order = order[distance[order] <= reach + 1e-9]
    sites = np.ascontiguousarray(points[order])
    edge = (distance[order] > radius + 1e-9).astype(np.uint8)
    normals, kinds, heights = _facets(family, sites)
    levels = np.empty(heights.shape, dtype=np.int32)
    for row, height in zip(levels, heights, strict=True):
        steps = np.rint(height / _LAYER)
        found = np.unique(steps)
        # Steps that differ by one are the same layer, rounded.
        layer = np.concatenate([[0], np.cumsum(np.diff(found) > 1.5)])
        row[:] = layer[np.searchsorted(found, steps)]
    neighbours = _neighbours(sites)
    scale, table, shells = _shells(family, sites, reach, longest)
    core = _core.LatticeSites(
        positions=sites,
        neighbours=neighbours,
        level=levels,
        height=np.maximum(heights, -1e6),
        normal=normals,
        kind=kinds,
        edge=edge,
        scale=scale,
        table=table,
        n_classes=len(shells),
    )
    centres = SYMMETRIC_CENTRES.get({"twin": "fcc"}.get(family, family))
    if family == "decahedron":
        centres = np.array([[0.0, 0.0, 0.0], [0.0, 0.0, 0.5], [0.0, 0.0, 0.25]])
    elif centres is None:
        centres = np.zeros((1, 3))
    elif family == "twin":
        centres = np.array([[0.0, 0.0, 0.0], [0.0, np.sqrt(1 / 3), 0.0], [0.5, np.sqrt(1 / 12), 0.0], [0.5, 0.0, 0.0]])
    return Template(
        family=family,
        radius=radius,
        sites=sites,
        distance=shells,
        core=core,
        operations=operations,
        centres=np.ascontiguousarray(centres),
        least_bonds=_LEAST_BONDS.get(family, 3),
        coordination=neighbours.shape[1],
        usual_missing=_MISSING[family],
        normals=normals,
        kinds=kinds,
        neighbours=neighbours,
        levels=np.ascontiguousarray(levels.T.astype(np.int16)),
    )


def _points(family: str, radius: float) -> tuple[Floats, Floats]:
    if family == "icosahedron":
        # Whole shells come from there, the last with the middle of its faces closest: (3 + √5)/(4√3) · 1.0515 = 0.7947.
        points, _, operations = ideal_sites(family, (radius + 1.0) / 0.7946 + 1.0)
        return points, operations
    if family != "twin":
        points, _, operations = ideal_sites(family, radius)
        return points, operations
    # Close-packed layers A B C ... going away from layer A at z = 0 on both sides alike: z = 0 is the twin plane.
    reach = radius + 1.5
    steps = np.arange(-int(1.2 * reach) - 3, int(1.2 * reach) + 4)
    i, j = (axis.ravel() for axis in np.meshgrid(steps, steps, indexing="ij"))
    flat = np.column_stack([i + 0.5 * j, np.sqrt(0.75) * j])
    shift = np.array([0.0, np.sqrt(1.0 / 3.0)])
    layers = []
    for layer in range(-int(reach / np.sqrt(2.0 / 3.0)) - 1, int(reach / np.sqrt(2.0 / 3.0)) + 2):
        height = np.full((len(flat), 1), layer * np.sqrt(2.0 / 3.0))
        layers.append(np.hstack([flat + (abs(layer) % 3) * shift, height]))
    points = np.concatenate(layers)
    points = points[np.einsum("ni,ni->n", points, points) <= reach**2]
    angle = 2.0 * np.pi / 3.0 * np.arange(3)
    turns = [np.array([[np.cos(a), -np.sin(a), 0.0], [np.sin(a), np.cos(a), 0.0], [0.0, 0.0, 1.0]]) for a in angle]
    mirrors = [np.diag([x, 1.0, z]) for x in (1.0, -1.0) for z in (1.0, -1.0)]
    return points, np.array([turn @ mirror for turn in turns for mirror in mirrors])


def _facets(family: str, sites: Floats) -> tuple[Floats, Ints, Floats]:
    """Normals, kinds and heights (F, S) of the facets that bound particles of a family."""
    if family == "twin":
        normals, kinds = _twin_normals()
        return normals, kinds, normals @ sites.T
    normals, kind = facet_normals(family)
    heights = normals @ sites.T
    kinds = kind.astype(np.int32)
    if family == "decahedron":
        # The notches of Marks decahedra: planes across a twin boundary that bound its two sectors alone.
        spokes, notches = decahedral_notches(sites)
        normals = np.concatenate([normals, spokes])
        heights = np.concatenate([heights, notches])
        kinds = np.concatenate([kinds, np.full(len(spokes), kinds.max() + 1, dtype=np.int32)])
    return normals, kinds, heights


def _twin_normals() -> tuple[Floats, Ints]:
    """Facet normals {111}, {100}, {110} of both halves of a twin about z = 0."""
    normals, kinds = facet_normals("fcc")
    # The axes of the fcc cell, seen from close-packed layers along z: [111] along z, [1-10] along x.
    frame = np.array([[1.0, -1.0, 0.0], [1.0, 1.0, -2.0], [1.0, 1.0, 1.0]]) / np.sqrt([[2.0], [6.0], [3.0]])
    upper = normals @ frame.T
    # Layer B lies at +y of layer A here; the other stacking is the same turned by half a turn.
    stacking = upper if _stacks_along_y(frame) else upper * np.array([-1.0, -1.0, 1.0])
    both = np.concatenate([stacking, stacking * np.array([1.0, 1.0, -1.0])])
    kind = np.tile(kinds, 2)
    _, first = np.unique(np.round(both, 6) + 0.0, axis=0, return_index=True)
    first = np.sort(first)
    return np.ascontiguousarray(both[first]), kind[first].astype(np.int32)


def _stacks_along_y(frame: Floats) -> bool:
    """Whether the fcc lattice in this frame has a neighbour at (0, +y, +z) of an atom."""
    cell = np.array([[1, 1, 0], [1, 0, 1], [0, 1, 1]]) / np.sqrt(2.0)
    seen = cell @ frame.T
    return bool(((np.abs(seen[:, 0]) < 1e-9) & (seen[:, 1] * seen[:, 2] > 1e-9)).any())


def _neighbours(sites: Floats) -> Ints:
    pairs = cKDTree(sites).query_pairs(NEIGHBOUR_CUTOFF, output_type="ndarray").astype(np.int64)
    both = np.concatenate([pairs, pairs[:, ::-1]])
    both = both[np.lexsort((both[:, 1], both[:, 0]))]
    counts = np.bincount(both[:, 0], minlength=len(sites))
    table = np.full((len(sites), int(counts.max(initial=1))), len(sites), dtype=np.int32)
    start = np.concatenate([[0], np.cumsum(counts)[:-1]])
    table[both[:, 0], np.arange(len(both)) - np.repeat(start, counts)] = both[:, 1]
    return table


def _shells(family: str, sites: Floats, radius: float, longest: float) -> tuple[float, NDArray[np.uint16], Floats]:
    """Cells per squared distance, table of shells by them, and their distances (C,) up to `longest`."""
    scale = _CELLS[family]
    if family in ("decahedron", "icosahedron"):
        for factor in _COARSER:
            try:
                return factor * scale, *_core.classes_of_pairs(sites, factor * scale, longest)
            except ValueError as error:
                if "too many classes" not in str(error):
                    raise
        raise TemplateTooLargeError(
            f"{family} particles up to {2.0 * radius - 2.0:.0f} bond lengths across have too many distances"
        )
    distance = np.sqrt(_squared_distances(family, min(longest, 2.0 * radius)))
    table = np.full(int(np.ceil(4.0 * radius**2 * scale)) + 8, 0xFFFF, dtype=np.uint16)
    table[np.rint(distance**2 * scale).astype(np.int64)] = np.arange(len(distance))
    return scale, table, distance


@lru_cache(maxsize=256)
def _squared_distances(family: str, longest: float) -> Floats:
    """Squares of the distances between sites of a lattice up to `longest`, ascending."""
    if family == "twin":
        # Any stacking of close-packed layers has distances that are square roots of thirds.
        return np.arange(3, int(3.0 * longest**2 + 1e-6) + 1) / 3.0
    points, _, _ = ideal_sites(family, longest)
    found = np.unique(np.rint(_CELLS[family] * np.einsum("ni,ni->n", points, points))) / _CELLS[family]
    return np.asarray(found[(found > 0.0) & (found <= longest**2 + 1e-6)])


def shell_distances(family: str, reach: float) -> Floats:
    """Distances of a family's shells up to `reach`, in nearest-neighbour distances, ascending; (C,)."""
    reach = _rounded(reach)
    if family in ("decahedron", "icosahedron"):
        return _distances_of_pairs(family, reach)
    return np.sqrt(_squared_distances(family, reach))


@lru_cache(maxsize=64)
def _distances_of_pairs(family: str, longest: float) -> Floats:
    """Distances up to `longest` between sites around the centre.

    A particle that long fits into a ball of 0.61 times the length (Jung), which need not sit at the centre of the
    template; but pairs that lie farther out recur nearer to it.
    """
    radius = 0.65 * longest + 0.5
    points, _ = _points(family, radius)
    inside = np.einsum("ni,ni->n", points, points) <= radius**2 + 1e-9
    return _core.classes_of_pairs(np.ascontiguousarray(points[inside]), _CELLS[family], longest)[1]
