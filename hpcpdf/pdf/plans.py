"""Tables that turn clusters into PDFs: which clusters they serve, and which tables are kept."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from hpcpdf import _core
from hpcpdf.pdf.clusters import Cluster
from hpcpdf.pdf.grids import Grid
from hpcpdf.pdf.params import PdfParams
from hpcpdf.pdf.scattering import scattering_factors

Floats = NDArray[np.float64]

_LARGEST = 64 * 2**20
"""Bytes of the tables of one plan; clusters that need more are computed directly."""

_KEPT = 4

_SHORTEST = 16.0
"""Length of the shortest tables, Å; longer ones double it, so that clusters of all sizes share a few plans."""


@dataclass(frozen=True)
class Points:
    """Points of G at (first + i) * step, i below count; step in Å."""

    step: float
    first: int
    count: int


@dataclass(frozen=True)
class Joined:
    """Clusters stored one after another, all bare or all with symbols."""

    positions: Floats
    offsets: NDArray[np.uintp]
    species: NDArray[np.intc] | None
    factors: Floats | None
    """Scattering factors by species, (S, n_q)."""

    @classmethod
    def of(cls, clusters: Sequence[Cluster], params: PdfParams, grid: Grid) -> Joined:
        """Join clusters; `grid` gives the Q of the scattering factors."""
        positions = np.concatenate([cluster.positions for cluster in clusters])
        offsets = np.cumsum([0, *(len(cluster.positions) for cluster in clusters)], dtype=np.uintp)
        if clusters[0].symbols is None:
            return cls(positions, offsets, None, None)
        symbols = [symbol for cluster in clusters for symbol in cluster.symbols or ()]
        known = sorted(set(symbols))
        rank = {symbol: i for i, symbol in enumerate(known)}
        species = np.array([rank[symbol] for symbol in symbols], dtype=np.intc)
        factors = np.array([scattering_factors(symbol, grid.q, params.radiation) for symbol in known])
        return cls(positions, offsets, species, factors.reshape(len(known), grid.n_q))

    def diagonals(self) -> Floats:
        """Diagonals of the boxes around the clusters, (B,), Å: no pair is longer."""
        found = np.zeros(len(self.offsets) - 1)
        offsets = self.offsets.astype(np.intp)
        some = np.flatnonzero(np.diff(offsets))
        if some.size:
            starts = offsets[some]
            sides = np.maximum.reduceat(self.positions, starts) - np.minimum.reduceat(self.positions, starts)
            found[some] = np.sqrt((sides**2).sum(axis=1))
        return found


def table_lengths(lengths: Floats, grid: Grid) -> Floats:
    """Length of the tables that serve clusters of these lengths, Å."""
    # A little more than the box, lest rounding puts the longest pair beyond the table.
    doublings = np.ceil(np.log2(np.maximum((1.0 + 1e-9) * lengths / _SHORTEST, 1.0)))
    return np.minimum(grid.d_max, _SHORTEST * 2.0**doublings)


def fits(lengths: Floats, grid: Grid, points: Points, *, adjoint: bool = False) -> NDArray[np.bool_]:
    """Whether tables of these lengths are small enough to be made and kept."""
    different, which = np.unique(lengths, return_inverse=True)
    size = [
        _core.PdfPlan.bytes(
            qstep=grid.qstep, n_q=grid.n_q, length=length, rstep=points.step, count=points.count, adjoint=adjoint
        )
        for length in different.tolist()
    ]
    return np.asarray((np.array(size) <= _LARGEST)[which], dtype=np.bool_)


def is_truncated(symbols: tuple[str, ...] | None, u: float, params: PdfParams, grid: Grid) -> bool:
    """Whether `params.precision` would end the contribution of any pair within the range of distances."""
    if symbols is None or params.precision == 0.0:
        return False
    return any(_is_truncated(symbol, u, params, grid) for symbol in set(symbols))


@lru_cache(maxsize=256)
def _is_truncated(symbol: str, u: float, params: PdfParams, grid: Grid) -> bool:
    factors = scattering_factors(symbol, grid.q, params.radiation)
    d = grid.d_max
    ratio = 1.0 - params.delta1 / d - params.delta2 / d**2 + (params.qbroad * d) ** 2
    # The longest pair is the weakest and the widest; of two species the product lies between their squares.
    contribution = 2.0 * factors**2 * np.exp(-u * max(ratio, 0.0) * grid.q**2) / d
    return bool((contribution <= params.precision).any())


def plan_for(
    params: PdfParams, grid: Grid, u: float, points: Points, length: float, *, adjoint: bool = False
) -> _core.PdfPlan:
    """Plan for these parameters, made or found among the last few."""
    return _plan(grid, (params.delta1, params.delta2, params.qbroad), u, points, length, adjoint)


@lru_cache(maxsize=_KEPT)
def _plan(
    grid: Grid, width: tuple[float, float, float], u: float, points: Points, length: float, adjoint: bool
) -> _core.PdfPlan:
    return _core.PdfPlan(
        qstep=grid.qstep,
        n_q=grid.n_q,
        k_first=min(grid.k_first, grid.n_q),
        delta1=width[0],
        delta2=width[1],
        qbroad=width[2],
        u=u,
        d_min=grid.d_min,
        d_max=grid.d_max,
        length=length,
        rstep=points.step,
        first=points.first,
        count=points.count,
        adjoint=adjoint,
    )


def sharing(keys: Sequence[object]) -> list[list[int]]:
    """Indices of equal keys, in the order of their first appearance."""
    groups: dict[object, list[int]] = {}
    for index, key in enumerate(keys):
        groups.setdefault(key, []).append(index)
    return list(groups.values())


def interpolation(grid: Grid, r: Floats, rstep: float) -> tuple[Points, NDArray[np.intp], Floats]:
    """DiffPy's transform: a grid of at most `rstep` with a power of two of points, and r among them.

    Returns
    -------
    points
        The part of that grid that is needed.
    index, weight : ndarray, shape (R,)
        G(r) = (1 - weight) G[index] + weight G[index + 1].
    """
    wanted = max(grid.n_q, math.ceil(math.pi / rstep / grid.qstep))
    step = math.pi / grid.qstep / 2 ** math.ceil(math.log2(wanted))
    position = r / step
    index = position.astype(np.intp)
    first = int(index[0])
    return Points(step, first, int(index[-1]) + 2 - first), index - first, position - index
