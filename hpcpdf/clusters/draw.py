"""Random cluster shapes: convex bodies bounded by low-index facets, their ideal forms, and imperfect ones.

A facet is a half-space n.x <= b. A body is grown from the origin of its facets until it holds the wanted number of
atoms: the gauge of a site, the largest n.x / b over the facets, says when it is reached. Sizes are drawn evenly; sites
of the same gauge are added together, so that symmetric bodies stay symmetric.
"""

from __future__ import annotations

from functools import cache
from itertools import permutations, product

import numpy as np
from numpy.typing import NDArray

from hpcpdf.clusters.template import (
    Floats,
    Ints,
    Shape,
    SiteTemplate,
    find_canonical,
    icosahedron_axes,
    make_shape,
    template,
)
from hpcpdf.errors import ConfigError

Mask = NDArray[np.bool_]

IMPERFECT = 0.15
"""Share of the clusters that lose or gain a few atoms at their surface."""

TINY = 12
"""Up to this many atoms, atoms with fewer than three neighbours are allowed."""

_TRIES = 2000


def draw_shape(family: str, rng: np.random.Generator, min_atoms: int = 5, max_atoms: int = 200) -> Shape:
    """Draw a cluster shape.

    Parameters
    ----------
    family
        ``fcc``, ``sc``, ``bcc``, ``hcp``: bodies of low-index facets, opposite ones unequally far.
        ``octahedron``: regular and truncated octahedra, whole or cut by further facets.
        ``decahedron``: Ino and Marks decahedra, whole or cut, and bodies of their facets grown unevenly.
        ``icosahedron``: Mackay icosahedra, whole, cut, or under a partly filled shell.
    rng
        Source of randomness; the same state gives the same shape.
    min_atoms, max_atoms
        Bounds of the number of atoms, both included.

    Returns
    -------
    Shape
        In canonical form; connected, and every atom of a cluster above `TINY` atoms has at least three neighbours.

    Raises
    ------
    ConfigError
        If the family is unknown or no cluster between the bounds was found.
    """
    frame = template(family)
    draw = {"octahedron": _octahedron, "decahedron": _decahedron, "icosahedron": _icosahedron}.get(family, _lattice)
    for _ in range(_TRIES):
        target = int(rng.integers(min_atoms, max_atoms + 1))
        mask = draw(frame, rng, target)
        if mask is None or not min_atoms <= np.count_nonzero(mask) <= max_atoms + 4:
            continue
        if rng.random() < IMPERFECT:
            _roughen(frame, mask, rng)
        _prune(frame, mask)
        sites = np.flatnonzero(mask[:-1])
        if not min_atoms <= len(sites) <= max_atoms or not _belongs(frame, mask) or not _connected(frame, mask, sites):
            continue
        found = find_canonical(frame, sites)
        if found is not None:
            return make_shape(family, found)
    raise ConfigError(f"no {family} cluster of {min_atoms} to {max_atoms} atoms found; widen min_atoms ... max_atoms")


def _lattice(frame: SiteTemplate, rng: np.random.Generator, target: int) -> Mask | None:
    normals, kinds, heights = _facets(frame.family)
    count = int(kinds[-1]) + 1
    width = rng.uniform(0.75, 1.35, count)[kinds]
    used = _some_kinds(frame.family, rng, count)[kinds]
    style = rng.random()
    origin = np.zeros(3)
    if style < 0.2:
        # Equal layers about a site or a hole: the reference's own clusters are among these.
        origin = SYMMETRIC_CENTRES[frame.family][rng.integers(len(SYMMETRIC_CENTRES[frame.family]))]
    elif style < 0.35:
        # Opposite faces alike, but the body longer or flatter.
        axis = normals[rng.integers(len(normals))]
        width = width * (1.0 + rng.uniform(-0.35, 0.8) * (normals @ axis) ** 2)
        origin = SYMMETRIC_CENTRES[frame.family][rng.integers(len(SYMMETRIC_CENTRES[frame.family]))]
    else:
        width = width * np.exp(rng.uniform(0.05, 0.35) * rng.standard_normal(len(normals)))
        origin = rng.uniform(-0.6, 0.6, 3)
    gauge = ((heights[used] - (normals[used] @ origin)[:, None]) / width[used][:, None]).max(axis=0)
    return _grow(frame, gauge, target, rng)


def _octahedron(frame: SiteTemplate, rng: np.random.Generator, target: int) -> Mask | None:
    return _from_cores(frame, rng, target, _octahedra(), whole=0.4)


def _decahedron(frame: SiteTemplate, rng: np.random.Generator, target: int) -> Mask | None:
    if rng.random() < 0.65:
        return _from_cores(frame, rng, target, _decahedra(), whole=0.4)
    normals, kinds, heights = _facets("decahedron")
    width = rng.uniform(0.7, 1.4, int(kinds[-1]) + 1)[kinds]
    width = width * np.exp(rng.uniform(0.0, 0.3) * rng.standard_normal(len(normals)))
    shift = heights - normals[:, 2:] * rng.choice([0.0, 0.5, rng.uniform(0.0, 0.5)])
    return _grow(frame, (shift / width[:, None]).max(axis=0), target, rng)


def _icosahedron(frame: SiteTemplate, rng: np.random.Generator, target: int) -> Mask | None:
    shells, faces = _icosahedron_parts()
    sizes = [13, 55, 147, 309]
    style = rng.random()
    near = [k for k, size in enumerate(sizes) if abs(size - target) <= 2 + target // 10]
    if style < 0.3 and near:
        mask = shells <= near[0] + 1
    elif style < 0.55:
        # Faces of the next shell, spreading from a random direction over one side, or scattered.
        k = int(np.searchsorted(sizes, target))
        direction = rng.standard_normal(3)
        order = np.argsort(
            -icosahedron_axes()[1] @ direction / np.linalg.norm(direction)
            + rng.choice([0.0, 0.3, 2.0]) * rng.random(20)
        )
        mask = shells <= k
        for face in order:
            if np.count_nonzero(mask) >= target:
                break
            mask |= (shells == k + 1) & faces[:, face]
    else:
        mask = shells <= 1 + int(np.searchsorted(sizes, target)) + int(rng.random() < 0.4)
        cut = _cut(frame, mask, target, rng)
        if cut is None:
            return None
        mask = cut
    return _padded(mask)


def _from_cores(
    frame: SiteTemplate, rng: np.random.Generator, target: int, cores: tuple[Mask, Ints], whole: float
) -> Mask | None:
    masks, sizes = cores
    near = np.flatnonzero(np.abs(sizes - target) <= 2 + target // 10)
    if near.size and rng.random() < whole:
        return _padded(masks[rng.choice(near)])
    larger = np.flatnonzero((sizes >= target) & (sizes <= 2.5 * target + 20))
    if not larger.size:
        return None
    cut = _cut(frame, masks[rng.choice(larger)], target, rng)
    return None if cut is None else _padded(cut)


def _cut(frame: SiteTemplate, core: Mask, target: int, rng: np.random.Generator) -> Mask | None:
    """Remove all but about `target` atoms of a core beyond one to three random facets."""
    _, _, heights = _facets(frame.family)
    chosen = rng.choice(len(heights), size=int(rng.integers(1, 4)), replace=False)
    inside = heights[chosen, : len(frame)]
    gauge = (inside - rng.uniform(-0.8, 0.8, (len(chosen), 1))).max(axis=0)
    level = np.sort(gauge[core])
    if not level.size:
        return None
    return np.asarray(core & (gauge <= level[min(target, len(level)) - 1] + 1e-6))


def _grow(frame: SiteTemplate, gauge: Floats, target: int, rng: np.random.Generator) -> Mask | None:
    """Sites of the lowest gauge: `target` of them, or to the whole level above or below."""
    level = np.partition(gauge, target)[: target + 1] if target < len(gauge) else gauge
    limit = np.sort(level)[min(target, len(level)) - 1]
    mask = gauge <= limit + 1e-6
    below = gauge < limit - 1e-6
    if rng.random() * (np.count_nonzero(mask) - np.count_nonzero(below)) < np.count_nonzero(mask) - target:
        mask = below
    # Reaching the halo means that the ball of the template, not a facet, would bound the cluster.
    return None if mask[len(frame) :].any() else _padded(mask[: len(frame)])


def _padded(mask: Mask) -> Mask:
    return np.append(mask, False)


def _roughen(frame: SiteTemplate, mask: Mask, rng: np.random.Generator) -> None:
    """Take away or add up to four atoms where few bonds are broken or many are made."""
    for _ in range(int(rng.integers(1, 5))):
        bonds = mask[frame.neighbours].sum(axis=1)
        present = mask[:-1]
        if rng.random() < 0.5:
            surface = np.flatnonzero(present & (bonds < frame.neighbours.shape[1]))
            pool = surface[bonds[surface] <= np.median(bonds[surface])] if surface.size else surface
            value = False
        else:
            pool = np.flatnonzero(~present & (bonds >= 3))
            pool = pool[bonds[pool] >= np.quantile(bonds[pool], 0.5)] if pool.size else pool
            value = True
        if pool.size:
            mask[rng.choice(pool)] = value


def _prune(frame: SiteTemplate, mask: Mask) -> None:
    """Drop atoms with fewer than three neighbours, and those that then have, unless the cluster is tiny."""
    while np.count_nonzero(mask) > TINY:
        weak = mask[:-1] & (mask[frame.neighbours].sum(axis=1) < 3)
        if not weak.any():
            return
        mask[:-1][weak] = False


def _connected(frame: SiteTemplate, mask: Mask, sites: Ints) -> bool:
    reached = np.zeros_like(mask)
    front = sites[:1]
    while front.size:
        reached[front] = True
        found = frame.neighbours[front].ravel()
        front = np.unique(found[mask[found] & ~reached[found]])
    return int(np.count_nonzero(reached)) == len(sites)


def _belongs(frame: SiteTemplate, mask: Mask) -> bool:
    """Whether the cluster shows what makes its family: a five-fold axis, or a centre with its shell."""
    if frame.family == "decahedron":
        rings, axis = _decahedron_rings()
        return bool(mask[axis].any() and mask[rings].any(axis=1).all())
    if frame.family == "icosahedron":
        return bool(mask[0] and np.count_nonzero(mask[1:13]) >= min(9, int(np.count_nonzero(mask)) // 2))
    return True


SYMMETRIC_CENTRES = {
    "fcc": np.array(
        [[0.0, 0.0, 0.0], [np.sqrt(0.5), 0.0, 0.0], [np.sqrt(0.125)] * 3, [np.sqrt(0.125), np.sqrt(0.125), 0.0]]
    ),
    "sc": np.array([[0.0, 0.0, 0.0], [0.5, 0.5, 0.5], [0.5, 0.0, 0.0], [0.5, 0.5, 0.0]]),
    "bcc": np.array([[0.0, 0.0, 0.0], [np.sqrt(1 / 3), 0.0, 0.0], [np.sqrt(1 / 3), np.sqrt(1 / 3), 0.0]]),
    "hcp": np.array(
        [[0.0, 0.0, 0.0], [0.0, np.sqrt(1 / 3), 0.0], [0.25, np.sqrt(1 / 48), np.sqrt(1 / 6)], [0.5, 0.0, 0.0]]
    ),
}
"""Origins of symmetric bodies: a site, the holes, the middle of a bond or of the edge of a cell."""


def _some_kinds(family: str, rng: np.random.Generator, count: int) -> Mask:
    """Choose the kinds of facets; for hcp always a basal plane or pyramids to close the body along the axis."""
    while True:
        used = rng.random(count) < 0.65
        if used.any() and (family != "hcp" or ((used[0] or used[3]) and used[1:].any())):
            return used


def facets(family: str) -> Floats:
    """Heights (F, S) of the template's sites along the outward unit normals of a family's facets."""
    return _facets(family)[2][:, : len(template(family))]


@cache
def _facets(family: str) -> tuple[Floats, Ints, Floats]:
    """Unit normals (F, 3), their kind (F,), and the heights (F, S + H) of sites and halo along them."""
    frame = template(family)
    normals, kinds = facet_normals(family)
    return normals, kinds, normals @ np.concatenate([frame.sites, frame.halo]).T


@cache
def facet_normals(family: str) -> tuple[Floats, Ints]:
    """Outward unit normals (F, 3) of a family's facets, and the kind (F,) that symmetry makes alike."""
    if family == "hcp":
        groups = _hexagonal_normals()
    elif family == "decahedron":
        groups = _decahedral_normals()
    elif family == "icosahedron":
        vertices, faces = icosahedron_axes()
        edges = np.array([a + b for a in vertices for b in vertices if 0.4 < float(a @ b) < 0.5])
        groups = [faces, vertices, np.unique(np.round(edges, 9), axis=0)]
    else:
        groups = [_cubic_normals(kind) for kind in ((1, 1, 1), (1, 0, 0), (1, 1, 0))]
    normals = np.concatenate([g / np.linalg.norm(g, axis=1, keepdims=True) for g in groups])
    kinds = np.concatenate([np.full(len(g), kind) for kind, g in enumerate(groups)])
    return normals, kinds


def _cubic_normals(kind: tuple[int, int, int]) -> Floats:
    every = {
        tuple(s * x for s, x in zip(signs, order, strict=True))
        for order in permutations(kind)
        for signs in product((1, -1), repeat=3)
    }
    return np.array(sorted(every), dtype=np.float64)


def _hexagonal_normals() -> list[Floats]:
    # {0001}, {10-10}, {11-20} and {10-11} of the ideal structure (c/a = 1.633).
    angle = np.pi / 3.0 * np.arange(6)
    prism = np.column_stack([np.cos(angle + np.pi / 6), np.sin(angle + np.pi / 6), np.zeros(6)])
    second = np.column_stack([np.cos(angle), np.sin(angle), np.zeros(6)])
    slope = np.sqrt(0.75) / np.sqrt(8.0 / 3.0)
    tilt = np.array([0.0, 0.0, slope])
    pyramid = np.concatenate([prism + tilt, prism - tilt])
    return [np.array([[0.0, 0.0, 1.0], [0.0, 0.0, -1.0]]), prism, second, pyramid]


def _decahedral_normals() -> list[Floats]:
    # Ten {111} caps, five {100} sides, five planes that blunt the twin edges, two ends of the axis.
    angle = np.pi / 2.0 + 2.0 * np.pi * np.arange(5) / 5.0
    spoke = np.column_stack([np.cos(angle), np.sin(angle), np.zeros(5)])
    side = np.column_stack([np.cos(angle + np.pi / 5), np.sin(angle + np.pi / 5), np.zeros(5)])
    ring = np.sqrt(0.75) * np.cos(np.pi / 5.0)
    caps = np.concatenate([side / (2.0 * ring) + [0.0, 0.0, s] for s in (1.0, -1.0)])
    return [caps, side, spoke, np.array([[0.0, 0.0, 1.0], [0.0, 0.0, -1.0]])]


@cache
def _octahedra() -> tuple[Mask, Ints]:
    """Octahedra of every edge length, truncated at the vertices, as masks over the fcc template."""
    frame = template("octahedron")
    places = np.concatenate([frame.sites, frame.halo]) * np.sqrt(2.0)
    masks = []
    for length in range(2, 14):
        x = places - (np.array([1.0, 0.0, 0.0]) if length % 2 == 0 else 0.0)
        for cutoff in range((length - 1) // 2 + 1):
            inside = (np.abs(x).sum(axis=1) <= length - 1 + 1e-6) & (
                np.abs(x).max(axis=1) <= length - 1 - cutoff + 1e-6
            )
            if not inside[len(frame) :].any():
                masks.append(inside[: len(frame)])
    return np.array(masks), np.array([np.count_nonzero(mask) for mask in masks])


@cache
def _decahedra() -> tuple[Mask, Ints]:
    """Ino, Marks and pentagonal decahedra by (p, q, r), some with one cap taken off, as masks over the template."""
    frame = template("decahedron")
    places = np.concatenate([frame.sites, frame.halo])
    i, j, _ = _sector_steps(places)
    ring = i + j
    masks: dict[bytes, Mask] = {}
    for p, q, r in product(range(1, 10), range(1, 10), range(3)):
        h, g = p + q + 2 * r - 1, p + 2 * r
        lateral = (ring == 0) | ((ring < g) & (i < g - r) & (j < g - r))
        for shift, lost in product((0.0, 0.5), (0, 1, 2)):
            # A whole step between the layers above and below: shift the middle to the site or between two sites.
            z = places[:, 2] - shift
            if (h - 1 - 2 * shift) % 2:
                continue
            inside = lateral & (np.abs(z) <= (h - ring - 1) / 2.0 + 1e-6) & (z <= (h - ring - 1) / 2.0 - lost + 1e-6)
            if inside[len(frame) :].any() or np.count_nonzero(inside) < 5:
                continue
            masks[np.packbits(inside).tobytes()] = inside[: len(frame)]
    every = np.array(list(masks.values()))
    return every, np.count_nonzero(every, axis=1)


def _sector_steps(places: Floats) -> tuple[Ints, Ints, Ints]:
    """Steps (i, j) of each site along the two spokes that bound its sector of the decahedron, and that sector."""
    angle = np.pi / 2.0 + 2.0 * np.pi * np.arange(6) / 5.0
    spoke = np.sqrt(0.75) * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    steps = np.zeros((len(places), 2))
    sector = np.zeros(len(places), dtype=np.int64)
    for m in range(5):
        found = np.linalg.solve(spoke[m : m + 2].T, places[:, :2].T).T
        inside = (found > -1e-6).all(axis=1)
        steps[inside] = found[inside]
        sector[inside] = m
    whole = np.rint(steps).astype(np.int64)
    return whole[:, 0], whole[:, 1], sector


@cache
def _decahedron_rings() -> tuple[Ints, Ints]:
    """Sites of the five columns next to the axis (5, M), padded, and the sites on the axis."""
    frame = template("decahedron")
    i, j, _ = _sector_steps(frame.sites)
    first = np.flatnonzero(i + j == 1)
    angle = np.arctan2(frame.sites[first, 1], frame.sites[first, 0])
    sector = np.rint((angle - np.pi / 2.0) / (2.0 * np.pi / 5.0)).astype(np.int64) % 5
    columns = [first[sector == m] for m in range(5)]
    return np.array(columns), np.flatnonzero(i + j == 0)


@cache
def _icosahedron_parts() -> tuple[Ints, Mask]:
    """Shell of each site, and (S, 20) whether it lies on each face of its shell."""
    frame = template("icosahedron")
    vertices, faces = icosahedron_axes()
    heights = frame.sites @ faces.T / np.max(vertices @ faces.T)
    shells = np.rint(heights.max(axis=1)).astype(np.int64)
    return shells, np.abs(heights - shells[:, None]) < 1e-6


def decahedral_notches(places: Floats) -> tuple[Floats, Floats]:
    """Directions (5, 3) of the twin boundaries, and (5, S) how far `places` (S, 3) reach along the steps beside each.

    A plane at such a height cuts the notch of a Marks decahedron: it bounds the two sectors next to a boundary and no
    others, whose sites are far below it.
    """
    angle = np.pi / 2.0 + 2.0 * np.pi * np.arange(5) / 5.0
    spokes = np.column_stack([np.cos(angle), np.sin(angle), np.zeros(5)])
    i, j, sector = _sector_steps(places)
    heights = np.full((5, len(places)), -1e6)
    rows = np.arange(len(places))
    heights[(sector + 1) % 5, rows] = np.where(i + j > 0, np.sqrt(0.75) * j, -1e6)
    heights[sector, rows] = np.where(i + j > 0, np.sqrt(0.75) * i, -1e6)
    return spokes, heights
