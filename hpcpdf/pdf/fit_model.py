"""G(r) of many clusters as a smooth function of zoom, Biso, Qdamp and widths, with derivatives, for fitting.

For a common Biso and no correlated motion, the Debye sum of a cluster stretched by z is

    F(Q; z, U) = exp(-U Q²) h(z Q) / z,      h(Q) = (2 / N) Σ_{i<j} sin(Q d_ij) / d_ij,

one function h of one variable. Its distances are spread over a uniform grid (8-point Lagrange weights), so one FFT
gives h at all Q, and each trial needs an interpolation and a matrix product instead of a sum over pairs. Correlated
motion (delta1, delta2) and Qbroad make the width of a peak depend on its distance; then the sum is done as it is, over
the distances that differ (a lattice has a few hundred) or over that grid where these are more. The equations are those
of `hpcpdf.simulate_pdf` with ``transform="exact"``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations_with_replacement

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from scipy.spatial.distance import cdist, pdist

from hpcpdf import _core
from hpcpdf.pdf.kernel import Positions
from hpcpdf.pdf.params import Radiation
from hpcpdf.pdf.scattering import scattering_factors
from hpcpdf.pdf.simulate import thread_count

Array = NDArray[np.float64]

STEP = 1.0 / 64.0
"""Spacing of the distance grid, Å: at Q = 31/Å the interpolation errs by some 1e-7 of F."""

_EQUAL = 1e-5
"""Distances in one bin of this width, Å, count as equal: their mean errs by 4e-9 of F at Q = 31/Å."""

MANY = 3000
"""Atoms from which on distances are counted in blocks: a list of all of them takes 8 n² bytes when it is sorted."""
_AT_ONCE = 20_000_000
"""Distances in a block."""

_COINCIDENT = 1.5e-8
"""Atoms closer than this, Å, scatter no oscillation, as in the reference formulas."""

_FLAT = 1e-3
"""1/Å. At a qbroad of 0 there is no slope, though its square may want to grow: that at this qbroad tells."""

_POINTS = 8
_PHASE = 0.35
"""Largest phase Q d between two points of h(Q), radians."""


def _lagrange_coefficients() -> Array:
    """Polynomials, lowest power first, that are 1 at their own of the nodes −3 … 4 and 0 at the others; (8, 8)."""
    nodes = np.arange(_POINTS) - 3.0
    rows = []
    for j in range(_POINTS):
        others = np.delete(nodes, j)
        rows.append(np.poly(others)[::-1] / np.prod(nodes[j] - others))
    return np.array(rows)


_VALUE = _lagrange_coefficients().T
_SLOPE = np.arange(1.0, _POINTS)[:, None] * _VALUE[1:]


def lagrange(x: Array) -> tuple[NDArray[np.int64], Array, Array]:
    """Interpolation at `x` (in node spacings): first node (...,), weights (..., 8), weights of the slope (..., 8)."""
    base = np.floor(x)
    powers = np.empty((*x.shape, _POINTS))
    powers[..., 0] = 1.0
    for k in range(1, _POINTS):
        np.multiply(powers[..., k - 1], x - base, out=powers[..., k])
    return base.astype(np.int64) - 3, powers @ _VALUE, powers[..., :-1] @ _SLOPE


@dataclass(frozen=True, eq=False)
class Histogram:
    """Distances of one cluster, one row for each pair of elements.

    Attributes
    ----------
    counts : (P, M) array
        Each pair counts 2 / N, spread by Lagrange weights over nodes 0, STEP, 2 STEP, …
    distances : (D,) array
        Å; those that differ, or the nodes with weight where these are fewer. Without 0.
    amounts_at : (P, D) array
        2 / N for each pair at each of `distances`.
    pairs : tuple of (str, str)
        The elements of each row.
    amounts : mapping
        Number of atoms of each element.
    """

    counts: Array
    distances: Array
    amounts_at: Array
    pairs: tuple[tuple[str, str], ...]
    amounts: Mapping[str, int]


def histogram(positions: Array, symbols: Sequence[str]) -> Histogram:
    """Pair distances of a cluster, (n, 3) Å, with the element of each atom."""
    kinds = list(dict.fromkeys(symbols))
    names = np.array(symbols)
    parts = [positions[names == kind] for kind in kinds]
    pairs = tuple(combinations_with_replacement(kinds, 2))
    places = list(combinations_with_replacement(range(len(kinds)), 2))
    share = 2.0 / max(len(symbols), 1)
    longest = float(np.linalg.norm(np.ptp(positions, axis=0)))
    counts = _spread(parts, places, int(np.floor(longest / STEP)) + _POINTS) * (0.5 * share)
    nodes = np.flatnonzero(np.any(counts[:, 1:] != 0.0, axis=0)) + 1
    counts = counts[:, : nodes.max(initial=0) + 1]
    amounts = {kind: len(part) for kind, part in zip(kinds, parts, strict=True)}
    different = [_different(parts[a], None if a == b else parts[b], nodes.size) for a, b in places]
    ends = np.cumsum([0, *(len(d) for d, _ in different)])
    if ends[-1] > nodes.size:
        return Histogram(counts, np.asarray(nodes * STEP, dtype=np.float64), counts[:, nodes], pairs, amounts)
    at = np.zeros((len(places), ends[-1]))
    for k, (_, number) in enumerate(different):
        at[k, ends[k] : ends[k + 1]] = number * share
    return Histogram(counts, np.concatenate([d for d, _ in different]), at, pairs, amounts)


def histogram_of_shells(distances: Array, numbers: Array, n_atoms: int, symbol: str) -> Histogram:
    """`histogram` of a cluster of one element whose distances are known: no sum over its pairs.

    Parameters
    ----------
    distances : (C,) array
        Å, above 0.
    numbers : (C,) array
        Pairs at each; those without any are left out.
    n_atoms, symbol
        How many atoms of which element.
    """
    taken = numbers > 0
    d, amount = distances[taken], numbers[taken] * (2.0 / max(n_atoms, 1))
    first, weight, _ = lagrange(d / STEP)
    counts = np.zeros((1, int(np.ceil(d.max(initial=0.0) / STEP)) + _POINTS))
    # Below 0, where h is odd, no node lies: bonds are far from there.
    np.add.at(counts[0], first[:, None] + np.arange(_POINTS), weight * amount[:, None])
    return Histogram(counts, d, amount[None], ((symbol, symbol),), {symbol: n_atoms})


def _different(first: Array, second: Array | None, most: int) -> tuple[Array, Array]:
    """Mean of each group of equal distances within a part, or between two, and how many it has.

    Distances are taken in blocks of rows, so that memory does not grow with their number; more than `most`
    groups are not counted to the end.
    """
    if second is None and len(first) <= MANY:
        return _groups(pdist(first), None)
    other = first if second is None else second
    rows = max(1, _AT_ONCE // len(other))
    distance, number = np.zeros(0), np.zeros(0)
    for begin in range(0, len(first), rows):
        part = cdist(first[begin : begin + rows], other[begin:] if second is None else other)
        # Within a part each pair counts once: an atom meets those behind it.
        found = part[np.triu(np.ones(part.shape, dtype=bool), 1)] if second is None else part.ravel()
        more, many = _groups(found, None)
        distance, number = _groups(np.concatenate([distance, more]), np.concatenate([number, many]))
        if len(distance) > most:
            break
    return distance, number


def _groups(distance: Array, number: Array | None) -> tuple[Array, Array]:
    """Mean and size of each group of equal distances; `number`: how often each of `distance` counts."""
    if number is None:
        ordered = np.sort(distance[distance > _COINCIDENT])
        weight, product = None, ordered
    else:
        order = np.argsort(distance, kind="stable")
        ordered, weight = distance[order], number[order]
        product = ordered * weight
    begin = np.flatnonzero(np.diff(np.rint(ordered / _EQUAL), prepend=-1.0))
    if weight is None:
        size = np.diff(begin, append=ordered.size).astype(np.float64)
    else:
        size = np.add.reduceat(weight, begin) if begin.size else weight
    total = np.add.reduceat(product, begin) if begin.size else product
    return np.asarray(total / size, dtype=np.float64), size


def _spread(parts: Sequence[Array], places: Sequence[tuple[int, int]], length: int) -> Array:
    """2 x Lagrange weights of the distances within a part and between two, on `length` nodes; (P, length)."""
    joined = Positions.of([parts[a] if a == b else np.concatenate([parts[a], parts[b]]) for a, b in places])
    rows = _core.spread(
        positions=joined.positions,
        offsets=joined.offsets,
        step=STEP,
        n_nodes=length,
        d_min=_COINCIDENT,
        d_max=np.inf,
        n_threads=thread_count(None),
    )
    within = {a: rows[k].copy() for k, (a, b) in enumerate(places) if a == b}
    for k, (a, b) in enumerate(places):
        if a != b:
            rows[k] -= within[a] + within[b]
    return rows


def pair_weights(item: Histogram, q: Array, radiation: Radiation) -> Array:
    """f_a f_b / <f>² for each pair of elements; (P, K). For one element the factors cancel."""
    if len(item.amounts) == 1:
        return np.ones((1, q.size))
    f = {symbol: scattering_factors(symbol, q, radiation) for symbol in item.amounts}
    total = sum(item.amounts.values())
    mean = np.sum([f[symbol] * count for symbol, count in item.amounts.items()], axis=0) / total
    return np.array([f[a] * f[b] / mean**2 for a, b in item.pairs])


@dataclass(frozen=True, eq=False)
class FitGrid:
    """Where F is summed and G wanted.

    Attributes
    ----------
    q : (K,) array
        From the first grid point at or above qmin, 1/Å.
    qstep : float
    r : (R,) array
        Å.
    sine : (K, R) array
        (2 / π) qstep sin(q r).
    """

    q: Array
    qstep: float
    r: Array
    sine: Array

    @classmethod
    def make(cls, q: Array, qstep: float, r: Array) -> FitGrid:
        return cls(q, qstep, r, (2.0 / np.pi) * qstep * np.sin(np.outer(q, r)))

    def every(self, stride: int) -> FitGrid:
        """The same with fewer r."""
        return FitGrid(self.q, self.qstep, self.r[::stride], np.ascontiguousarray(self.sine[:, ::stride]))


@dataclass(frozen=True)
class Values:
    """Parameters of B clusters, each (B,): zoom, U = Biso / 8π² (Å²), qdamp (1/Å), delta2 (Å²).

    delta1 (Å) and qbroad (1/Å) are those of the model where they are None.
    """

    zoom: Array
    uiso: Array
    qdamp: Array
    delta2: Array
    delta1: Array | None = None
    qbroad: Array | None = None

    def take(self, rows: NDArray[np.int64]) -> Values:
        """Those of some clusters."""
        delta1, qbroad = (None if value is None else value[rows] for value in (self.delta1, self.qbroad))
        return Values(self.zoom[rows], self.uiso[rows], self.qdamp[rows], self.delta2[rows], delta1, qbroad)

    def split(self) -> list[Values]:
        """One cluster each."""
        return [self.take(np.array([i])) for i in range(len(self.zoom))]


class SmoothModel:
    """F(Q) of B clusters with a common width of all peaks (no delta1, delta2, qbroad).

    Parameters
    ----------
    histograms
        One for each cluster.
    weights
        For each cluster (P, K): f_a f_b / <f>² of its pairs of elements.
    q : (K,) array
        1/Å.
    widest
        Largest zoom that will be asked for.
    """

    def __init__(self, histograms: Sequence[Histogram], weights: Sequence[Array], q: Array, widest: float) -> None:
        self.q = q
        longest = max(item.counts.shape[1] for item in histograms) * STEP
        size = 1 << max(10, int(np.ceil(np.log2(2.0 * np.pi * longest / (_PHASE * STEP)))))
        self._spacing = 2.0 * np.pi / (size * STEP)
        top = int(np.ceil(widest * q[-1] / self._spacing)) + _POINTS
        self._owner = np.repeat(np.arange(len(histograms)), [len(item.counts) for item in histograms])
        self._weights = np.concatenate(weights)
        table = np.empty((len(self._owner), top + _POINTS))
        row = 0
        for item in histograms:
            node = np.arange(item.counts.shape[1]) * STEP
            over = np.divide(item.counts, node, out=np.zeros_like(item.counts), where=node > 0.0)
            wave = -np.fft.rfft(over, size, axis=1).imag[:, :top]
            # h is odd: eight points below zero let the interpolation run through the origin. The node d = 0 is the
            # limit sin(Qd)/d -> Q.
            part = np.concatenate([-wave[:, _POINTS:0:-1], wave], axis=1)
            part += item.counts[:, :1] * (np.arange(-_POINTS, top) * self._spacing)
            table[row : row + len(item.counts)] = part
            row += len(item.counts)
        self._table = table

    def evaluate(self, values: Values, members: NDArray[np.int64]) -> tuple[Array, Array, Array]:
        """F and its derivatives with respect to zoom and U; each (b, K), for the clusters `members`.

        `values` may hold several rows for the same cluster.
        """
        # Many trials share a zoom, so the weights are made once for each.
        zooms, which = np.unique(values.zoom, return_inverse=True)
        first, weight, slope = lagrange(zooms[:, None] * self.q / self._spacing)
        h, dh = np.zeros((2, len(members), self.q.size))
        for row, owner in enumerate(self._owner):
            mine = np.flatnonzero(members == owner)
            if not mine.size:
                continue
            use = which[mine]
            points = sliding_window_view(self._table[row], _POINTS)[first[use] + _POINTS]
            h[mine] += self._weights[row] * np.einsum("bkj,bkj->bk", points, weight[use])
            dh[mine] += self._weights[row] * np.einsum("bkj,bkj->bk", points, slope[use])
        zoom = values.zoom[:, None]
        damping = np.exp(-values.uiso[:, None] * self.q**2) / zoom
        f = h * damping
        f_zoom = damping * (dh * (self.q / self._spacing)) - f / zoom
        return f, f_zoom, -(self.q**2) * f


@dataclass(frozen=True, eq=False)
class CorrelatedModel:
    """F(Q) of B clusters when the width of a peak depends on its distance (delta1, delta2, qbroad).

    Parameters
    ----------
    histograms
        One for each cluster.
    weights
        For each cluster (P, K): f_a f_b / <f>² of its pairs of elements.
    q : (K,) array
        Consecutive multiples of `qstep`, 1/Å.
    qstep : float
    delta1, qbroad : float
        Å, 1/Å; where `Values` do not say them.
    """

    histograms: Sequence[Histogram]
    weights: Sequence[Array]
    q: Array
    qstep: float
    delta1: float
    qbroad: float

    def evaluate(self, values: Values, members: NDArray[np.int64]) -> tuple[Array, ...]:
        """F and its derivatives with respect to zoom, U and delta2, and to delta1 and qbroad if `values` hold one.

        Each is (b, K).
        """
        more = values.delta1 is not None or values.qbroad is not None
        out = np.zeros((6 if more else 4, len(members), self.q.size))
        for b, owner in enumerate(members):
            delta1 = self.delta1 if values.delta1 is None else values.delta1[b]
            qbroad = self.qbroad if values.qbroad is None else values.qbroad[b]
            out[:, b] = self._one(
                int(owner), values.zoom[b], values.uiso[b], values.delta2[b], delta1, qbroad, more=more
            )
        return tuple(out)

    def _one(
        self, owner: int, zoom: float, uiso: float, delta2: float, delta1: float, qbroad: float, *, more: bool
    ) -> Array:
        item, weights = self.histograms[owner], self.weights[owner]
        d = item.distances * zoom
        ratio = 1.0 - delta1 / d - delta2 / d**2 + (qbroad * d) ** 2
        # A width that the formula makes imaginary is none at all.
        open_ = ratio > 0.0
        ratio_zoom = np.where(open_, delta1 / d + 2.0 * delta2 / d**2 + 2.0 * (qbroad * d) ** 2, 0.0) / zoom
        ratio = np.where(open_, ratio, 0.0)
        first = round(self.q[0] / self.qstep)
        sine, cosine = _core.wave_tables(
            d, self.qstep**2 * uiso * ratio, self.qstep, first + self.q.size, thread_count(None)
        )
        rows = [np.ones_like(d), ratio, ratio_zoom, open_ / d**2]
        if more:
            rows += [open_ / d, open_ * -2.0 * max(qbroad, _FLAT) * d**2]
        by = np.stack(rows)
        # (P, 4 or 6, K): all sums over distances in one product.
        sums = (item.amounts_at[:, None] * by).reshape(len(by) * len(weights), d.size) @ sine[:, first:]
        plain, by_ratio, by_zoom, *by_width = sums.reshape(len(weights), len(by), -1).transpose(1, 0, 2)
        stretched = self.q * (item.amounts_at @ cosine[:, first:])
        q2 = self.q**2
        parts = [plain, (stretched - plain) / zoom - uiso * q2 * by_zoom, -q2 * by_ratio]
        parts += [uiso * q2 * part for part in by_width]
        return np.stack([np.sum(weights * part, axis=0) for part in parts])
