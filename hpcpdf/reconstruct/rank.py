"""Rank many structures of one element against a PDF: a table of sines serves them all.

A histogram of a structure's distances, spread over nodes, turns into F(Q) by one matrix product and
into G(r) by another, so that zoom, Biso, Qdamp and scale are scanned for all structures at once.
Single precision, and a Q grid of its own: agreement factors are good to about 0.005. They choose;
`hpcpdf.fit_pdf` states.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from hpcpdf import _core
from hpcpdf.pdf.kernel import Positions
from hpcpdf.pdf.simulate import thread_count

Floats = NDArray[np.float64]
Singles = NDArray[np.float32]

NODE_STEP = 1 / 32  # Å; eight-point weights keep sin(Qd) to 1e-6 up to Q = 30 1/Å
_REACH = 64.0  # Å; period of the Q grid: twice the r range of the fits and more
_R_STEP = 0.08  # Å; finer than the Nyquist spacing of qmax = 30 1/Å

ZOOMS: tuple[float, ...] = tuple(np.round(np.linspace(0.95, 1.05, 21), 6))
BISOS: tuple[float, ...] = (0.15, 0.35, 0.6, 1.0, 1.7, 3.0)
QDAMPS: tuple[float, ...] = (0.01, 0.03, 0.045, 0.06, 0.08)


@dataclass(frozen=True)
class Ranking:
    """Best agreement of each structure over the scanned parameters; arrays of length n."""

    rw: Floats
    zoom: Floats
    biso: Floats
    qdamp: Floats

    def order(self) -> NDArray[np.int64]:
        return np.argsort(self.rw, kind="stable")


@lru_cache(maxsize=64)
def _sines(n_nodes: int, n_q: int, zoom: float) -> Singles:
    """sin(Q zoom d) / (zoom d) for nodes d and Q = k pi / reach, shape (nodes, Q)."""
    d = np.maximum(NODE_STEP * np.arange(n_nodes), 1e-9)
    q = math.pi / _REACH * np.arange(n_q)
    return np.asarray(np.sin(zoom * d[:, None] * q) / (zoom * d[:, None]), dtype=np.float32)


class Ranker:
    """Scan of zoom, Biso, Qdamp and scale for many structures against one PDF.

    Parameters
    ----------
    r, g : (m,)
        Measured PDF, Å and Å^-2.
    qmin, qmax : float
        Limits of its Fourier transform, 1/Å.
    r_range : (float, float)
        Range compared, Å.
    zooms, bisos, qdamps
        Values scanned; lengths relative, Å^2, 1/Å.
    n_threads
        Of the histograms; None: all cores.
    """

    def __init__(
        self,
        r: Floats,
        g: Floats,
        qmin: float,
        qmax: float,
        r_range: tuple[float, float] = (1.5, 20.0),
        zooms: Sequence[float] = ZOOMS,
        bisos: Sequence[float] = BISOS,
        qdamps: Sequence[float] = QDAMPS,
        n_threads: int | None = None,
    ) -> None:
        self.n_threads = thread_count(n_threads)
        self._pdf = (r, g, qmin, qmax, r_range)
        # The data's own points, thinned out: between points 0.1 Å apart a straight line misses the peaks.
        used = np.flatnonzero((r >= r_range[0] - 1e-9) & (r <= r_range[1] + 1e-9))
        used = used[:: max(1, int(_R_STEP / float(np.median(np.diff(r))) + 1e-6))]
        self._r, self._g = r[used], g[used]
        self.zooms, self.bisos, self.qdamps = tuple(zooms), tuple(bisos), tuple(qdamps)
        first, last = math.ceil(qmin * _REACH / math.pi), math.ceil(qmax * _REACH / math.pi)
        self._used = slice(first, last)
        self._n_q = last
        q = math.pi / _REACH * np.arange(first, last)
        self._to_r = np.sin(np.outer(q, self._r)).astype(np.float32)
        self._damping = [np.exp(-b * q**2 / (8 * math.pi**2)).astype(np.float32) for b in self.bisos]
        envelopes = np.exp(-0.5 * np.outer(self._r, self.qdamps) ** 2)
        self._projected = (envelopes * self._g[:, None]).astype(np.float32)
        self._squared = (envelopes**2).astype(np.float32)
        self._norm = float(self._g @ self._g)

    def rank(self, structures: Sequence[Floats]) -> Ranking:
        """Best agreement of each (n, 3) structure, Å."""
        n = len(structures)
        best = np.full(n, -np.inf)
        found = np.zeros((n, 3))
        if n == 0:
            return Ranking(best, found[:, 0], found[:, 1], found[:, 2])
        widest = max(float(np.linalg.norm(np.ptp(x, axis=0))) for x in structures)
        # In steps, so that few tables serve many calls.
        n_nodes = 256 * math.ceil((widest / NODE_STEP + 16) / 256)
        batch = Positions.of(structures)
        histogram = _core.spread(
            positions=batch.positions,
            offsets=batch.offsets,
            step=NODE_STEP,
            n_nodes=n_nodes,
            d_min=0.0,
            d_max=n_nodes * NODE_STEP,
            n_threads=self.n_threads,
        ).astype(np.float32)
        for zoom in self.zooms:
            in_q = histogram @ _sines(n_nodes, self._table_width(), zoom)[:, self._used]
            for biso, damping in zip(self.bisos, self._damping, strict=True):
                in_r = (in_q * damping) @ self._to_r
                along = in_r @ self._projected
                size = (in_r * in_r) @ self._squared
                match = np.where(along > 0, along, 0.0) ** 2 / np.maximum(size, 1e-30)
                top = match.argmax(axis=1)
                value = match[np.arange(n), top]
                better = value > best
                best[better] = value[better]
                found[better] = np.column_stack([np.full(n, zoom), np.full(n, biso), np.take(self.qdamps, top)])[better]
        rw = np.sqrt(np.maximum(1.0 - best / self._norm, 0.0))
        return Ranking(rw, found[:, 0], found[:, 1], found[:, 2])

    def around(self, ranking: Ranking, best: NDArray[np.int64]) -> Ranker:
        """A narrower scan, next to what the `best` structures of a ranking have."""

        def near(scanned: tuple[float, ...], found: Floats) -> list[float]:
            wanted = {scanned.index(value) + step for value in found for step in (-1, 0, 1)}
            return [scanned[k] for k in sorted(wanted) if 0 <= k < len(scanned)]

        return Ranker(
            *self._pdf,
            zooms=near(self.zooms, ranking.zoom[best]),
            bisos=near(self.bisos, ranking.biso[best]),
            qdamps=self.qdamps,
            n_threads=self.n_threads,
        )

    def _table_width(self) -> int:
        """Columns of the shared tables, rounded up so that few tables serve many PDFs."""
        return 64 * math.ceil(self._n_q / 64)
