"""Discrete search around a structure: facet layers and single atoms come and go on its template.

A network proposes; its best proposals are improved here by the moves that crystals make. Every move
is judged by the PDF alone.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from hpcpdf.clusters.draw import facets
from hpcpdf.clusters.template import template
from hpcpdf.reconstruct.rank import Ranking

log = logging.getLogger(__name__)

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_LEVEL = 1e-4  # nearest-neighbour distances; layers closer than this are one
_SNAP = 0.2  # nearest-neighbour distances; atoms further from every site are not on the template
_SINGLES = 12  # single-atom moves of each kind that are tried for a structure
_MIN_ATOMS = 4
_WEAK = {"sc": 3}  # fewest neighbours of an atom that holds well; 4 on the other lattices: the tip of an octahedron


@dataclass(frozen=True)
class OnSites:
    """A structure on the sites of a template.

    Attributes
    ----------
    family : str
    sites : (n,) int
        Ascending indices into the family's template.
    """

    family: str
    sites: Ints

    @property
    def key(self) -> tuple[str, bytes]:
        return self.family, self.sites.tobytes()

    def positions(self, nn: float) -> Floats:
        """(n, 3) coordinates in Å for the nearest-neighbour distance `nn`."""
        return np.asarray(template(self.family).sites[self.sites] * nn)


def on_sites(family: str, positions: Floats, nn: float) -> OnSites | None:
    """The template sites that `positions` (n, 3; Å, in the template's frame) lie on; None if they do not."""
    if not family or not np.isfinite(nn):
        return None
    found = cKDTree(template(family).sites).query(positions / nn)
    gap, index = np.asarray(found[0]), np.asarray(found[1])
    if gap.max() > _SNAP or len(np.unique(index)) != len(index):
        return None
    return OnSites(family, np.sort(index).astype(np.int64))


def neighbours(structure: OnSites) -> list[OnSites]:
    """Structures one move away: a facet layer more or less, one surface atom more or less.

    No move leaves more atoms hanging by too few neighbours than there were.
    """
    frame = template(structure.family)
    n_sites = len(frame.sites)
    occupied = np.zeros(n_sites + 1, dtype=bool)
    occupied[structure.sites] = True
    heights = facets(structure.family)[:, :n_sites]
    bound = heights[:, structure.sites].max(axis=1)
    free = ~occupied[:n_sites]
    masks: list[NDArray[np.bool_]] = []
    exceeded = heights > bound[:, None] + _LEVEL
    n_exceeded = exceeded.sum(axis=0)
    for height, top, above in zip(heights, bound, exceeded, strict=True):
        layer = occupied[:n_sites] & (height > top - _LEVEL)
        masks.append(occupied[:n_sites] & ~layer)
        # Sites beyond this facet alone, on the next level: the layer that would grow there.
        alone = free & above & (n_exceeded == 1)
        if alone.any():
            masks.append(occupied[:n_sites] | (alone & (height < height[alone].min() + _LEVEL)))
    bonds = occupied[frame.neighbours].sum(axis=1)
    inside = np.flatnonzero(occupied[:n_sites])
    for site in inside[np.argsort(bonds[inside], kind="stable")][:_SINGLES]:
        mask = occupied[:n_sites].copy()
        mask[site] = False
        masks.append(mask)
    least = _WEAK.get(structure.family, 4)
    outside = np.flatnonzero(free & (bonds >= least))
    for site in outside[np.argsort(-bonds[outside], kind="stable")][:_SINGLES]:
        mask = occupied[:n_sites].copy()
        mask[site] = True
        masks.append(mask)
    hanging = int((bonds[structure.sites] < least).sum())
    found: dict[bytes, OnSites] = {}
    for mask in masks:
        sites = np.flatnonzero(mask).astype(np.int64)
        weak = np.append(mask, False)[frame.neighbours[sites]].sum(axis=1) < least
        if len(sites) >= _MIN_ATOMS and weak.sum() <= hanging:
            found.setdefault(sites.tobytes(), OnSites(structure.family, sites))
    return list(found.values())


@dataclass(frozen=True)
class Scored:
    """A structure with the R_w that ranking gave it."""

    structure: OnSites
    rw: float


def improve(
    start: Sequence[Scored],
    rank: Callable[[Sequence[Floats]], Ranking],
    nn: float,
    *,
    width: int = 8,
    rounds: int = 40,
    max_atoms: int | None = None,
    tolerance: float = 2e-4,
    max_pairs: float = 2e8,
) -> list[Scored]:
    """Beam search by single moves from `start`; every structure seen, best first.

    Parameters
    ----------
    start
        Structures to begin with.
    rank
        Agreement of structures with the PDF.
    nn
        Nearest-neighbour distance, Å.
    width
        Structures kept for the next round; those with fresh neighbours only.
    rounds
        Largest number of rounds; it ends earlier when a round improves nothing by `tolerance`.
    max_atoms
        Larger structures are not tried; None: the template is the limit.
    max_pairs
        Budget: the search ends when the structures tried have had this many pairs of atoms.
    """
    seen: dict[tuple[str, bytes], Scored] = {s.structure.key: s for s in start}
    expanded: set[tuple[str, bytes]] = set()
    best = min((s.rw for s in start), default=np.inf)
    pairs = 0.0
    for _ in range(rounds):
        if pairs > max_pairs:
            break
        beam = [s for s in sorted(seen.values(), key=lambda s: s.rw) if s.structure.key not in expanded][:width]
        fresh: dict[tuple[str, bytes], OnSites] = {}
        for scored in beam:
            expanded.add(scored.structure.key)
            for candidate in neighbours(scored.structure):
                if candidate.key not in seen and (max_atoms is None or len(candidate.sites) <= max_atoms):
                    fresh.setdefault(candidate.key, candidate)
        if not fresh:
            break
        structures = list(fresh.values())
        pairs += sum(0.5 * len(s.sites) ** 2 for s in structures)
        ranking = rank([s.positions(nn) for s in structures])
        for structure, rw in zip(structures, ranking.rw, strict=True):
            seen[structure.key] = Scored(structure, float(rw))
        top = float(ranking.rw.min())
        log.debug("search: %d structures, best R_w %.4f", len(seen), min(best, top))
        if top > best - tolerance:
            break
        best = top
    return sorted(seen.values(), key=lambda s: s.rw)
