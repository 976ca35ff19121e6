"""Structures on template sites, many at once: connected pieces and assigned distances."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from hpcpdf.clusters.template import template
from hpcpdf.config import FAMILIES
from hpcpdf.model.distances import DistanceBatch

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class _Joined:
    """The sites of all families in one array; those of a family begin at its `first`."""

    sites: NDArray[np.float64]
    first: dict[str, int]
    distances: dict[str, NDArray[np.float32]]
    """Between the sites of a family, (S * S,), in nearest-neighbour distances."""


@cache
def _joined() -> _Joined:
    templates = {family: template(family) for family in FAMILIES}
    ends = np.cumsum([0, *(len(item) for item in templates.values())]).tolist()
    return _Joined(
        np.concatenate([item.sites for item in templates.values()]),
        dict(zip(templates, ends[:-1], strict=True)),
        {family: item.distances.astype(np.float32).ravel() for family, item in templates.items()},
    )


@cache
def _partners(family: str, reach: float) -> Ints:
    """(S, M) sites of higher number within `reach` of each site, padded with S."""
    sites = template(family).sites
    pairs = cKDTree(sites).query_pairs(reach, output_type="ndarray")
    pairs = pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]
    slot = np.arange(len(pairs)) - np.searchsorted(pairs[:, 0], pairs[:, 0])
    table = np.full((len(sites), int(slot.max()) + 1), len(sites), dtype=np.int64)
    table[pairs[:, 0], slot] = pairs[:, 1]
    return table


def largest_pieces(family: str, reach: float, occupied: NDArray[np.bool_]) -> list[Ints]:
    """Largest connected piece of each structure; of equal ones that with the lowest site.

    Parameters
    ----------
    family
        Whose template's sites they are.
    reach
        Longest bond, in nearest-neighbour distances.
    occupied : (B, S) bool
        Occupied sites.

    Returns
    -------
    list of (n,) int
        Sites in ascending order; sites 0 and 1 where nothing larger than an atom is left.
    """
    count, n_sites = occupied.shape
    row, site = np.nonzero(occupied)
    # One more column, never occupied, for the padding of the table.
    flat = np.zeros((count, n_sites + 1), dtype=np.bool_)
    flat[:, :n_sites] = occupied
    partner = _partners(family, reach)[site] + (row * (n_sites + 1))[:, None]
    bonded = flat.ravel()[partner]
    number = np.empty(flat.size, dtype=np.int32)
    number[row * (n_sites + 1) + site] = np.arange(len(row), dtype=np.int32)
    ends = np.cumsum([0, *bonded.sum(axis=1)], dtype=np.int32)
    graph = csr_array((np.ones(ends[-1]), number[partner[bonded]], ends), shape=(len(row), len(row)))
    n_pieces, piece = connected_components(graph, directed=False)
    size = np.bincount(piece, minlength=n_pieces)
    of_row = np.zeros(n_pieces, dtype=np.int64)
    of_row[piece] = row
    # Pieces are numbered by their first atom, so that the stable order breaks ties by it.
    order = np.lexsort((-size, of_row))
    has_atoms, first = np.unique(of_row[order], return_index=True)
    best = np.full(count, -1, dtype=np.int64)
    best[has_atoms] = order[first]
    kept = best[row] == piece
    sizes = np.bincount(row[kept], minlength=count)
    parts = np.split(site[kept], np.cumsum(sizes)[:-1])
    pair = np.arange(2, dtype=np.int64)
    return [part if len(part) > 1 else pair for part in parts]


def site_distances(
    families: Sequence[str],
    pieces: Sequence[Ints],
    nn: NDArray[np.float64],
    satellites: NDArray[np.float64],
    length: float,
) -> DistanceBatch:
    """Assigned distances of B structures on template sites.

    Parameters
    ----------
    families, pieces
        Family and occupied sites of each.
    nn : (B,)
        Nearest-neighbour distances, Å.
    satellites : (S, 3)
        On the unit sphere.
    length
        Å per unit; a structure that reaches further gets a larger sphere.
    """
    joined = _joined()
    counts = np.array([len(piece) for piece in pieces], dtype=np.int64)
    starts = np.cumsum(counts) - counts
    offset = np.repeat([joined.first[family] for family in families], counts)
    positions = joined.sites[np.concatenate([*pieces, np.empty(0, dtype=np.int64)]) + offset]
    positions *= np.repeat(nn, counts)[:, None]
    reach = np.sqrt(np.einsum("ij,ij->i", positions, positions))
    lengths = np.maximum(length, np.maximum.reduceat(reach, starts) if len(counts) else length)
    scale = np.repeat(lengths, counts)
    squared = (reach / scale)[:, None] ** 2 + np.einsum("ij,ij->i", satellites, satellites)
    squared -= 2.0 * (positions / scale[:, None]) @ satellites.T
    outward = np.sqrt(np.maximum(squared, 0.0, out=squared), out=squared).astype(np.float32)
    per_unit = (nn / lengths).astype(np.float32)
    between = []
    for family, sites, factor in zip(families, pieces, per_unit, strict=True):
        table = joined.distances[family]
        width = len(template(family))
        between.append(table.take(sites[:, None] * width + sites) * factor)
    return DistanceBatch(between, np.split(outward, starts[1:]), counts, np.asarray(lengths), list(families))
