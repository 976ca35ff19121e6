"""How well structures agree with their PDFs: many pairs at once, one structure to a PDF.

Histograms of distances on nodes turn into F(Q) by one matrix product and into G(r) by another. Scale follows in closed
form, Biso and Qdamp are the best of a grid, zoom is 1. Single precision: agreement factors are good to about 0.005, as
long as qbroad, delta1 and delta2 do little.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from hpcpdf import _core
from hpcpdf.pdf.kernel import Positions

Floats = NDArray[np.float64]
Singles = NDArray[np.float32]

_NODE_STEP = 1 / 32  # Å; eight-point weights keep sin(Qd) to 1e-6 up to Q = 30 1/Å
_BISOS = (0.15, 0.35, 0.6, 1.0, 1.7, 3.0)  # Å²
_QDAMPS = (0.01, 0.03, 0.045, 0.06, 0.08)  # 1/Å
_REACH = 64.0  # Å; half the period of the sine sum, far beyond the compared range
_MARGIN = 10.0  # Å; pairs beyond the compared range by more than this are left out
_R_STEP = 0.08  # Å; finer points than this are thinned out
_DELTA_Q = math.pi / _REACH


@dataclass(frozen=True)
class Agreement:
    """Agreement of B structures, each with its PDF; arrays (B,)."""

    rw: Floats
    pearson: Floats
    scale: Floats
    """Factor on the simulated PDF."""
    biso: Floats
    """Å^2."""
    qdamp: Floats
    """1/Å."""


class Scorer:
    """Compares structures with PDFs on one grid.

    Parameters
    ----------
    r : (R,)
        Grid of the PDFs, Å.
    r_range
        Range compared, Å.
    """

    def __init__(self, r: Floats, r_range: tuple[float, float]) -> None:
        used = np.flatnonzero((r >= r_range[0] - 1e-9) & (r <= r_range[1] + 1e-9))
        self._used = used[:: max(1, int(_R_STEP / float(np.median(np.diff(r))) + 1e-6))]
        self._r = r[self._used]
        self._n_nodes = 256 * math.ceil((min(r_range[1], float(r[-1])) + _MARGIN) / _NODE_STEP / 256)
        envelopes = np.exp(-0.5 * np.outer(self._r, _QDAMPS) ** 2)
        self._envelopes, self._squared = envelopes.astype(np.float32), (envelopes**2).astype(np.float32)

    def __call__(self, structures: Positions, pdfs: NDArray[np.floating], qmin: Floats, qmax: Floats) -> Agreement:
        """Compare.

        Parameters
        ----------
        structures
            B of them, Å.
        pdfs : (B, R)
            Å^-2, any scale.
        qmin, qmax : (B,)
            Limits of their transforms, 1/Å.
        """
        observed = pdfs[:, self._used].astype(np.float32)
        count, points = observed.shape
        in_q = self._in_q(structures, qmin, qmax)
        n_q = in_q.shape[1]
        best = np.full(count, -np.inf)
        found = np.zeros((count, 5))
        rows = np.arange(count)
        for number, biso in enumerate(_BISOS):
            in_r = in_q @ _to_r(self._r.tobytes(), n_q, biso)
            along = ((in_r * observed) @ self._envelopes).astype(np.float64)
            size = np.maximum((in_r * in_r) @ self._squared, 1e-30).astype(np.float64)
            match = np.where(along > 0.0, along, 0.0) ** 2 / size
            top = match.argmax(axis=1)
            value = match[rows, top]
            better = value > best
            best[better] = value[better]
            total = np.einsum("ij,ji->i", in_r, self._envelopes[:, top])
            columns = [along[rows, top], size[rows, top], total, np.full(count, number), top]
            found[better] = np.column_stack(columns)[better]
        along, size, total = found[:, 0], found[:, 1], found[:, 2]
        g = observed.astype(np.float64)
        norm, mean = np.einsum("ij,ij->i", g, g), g.mean(axis=1)
        varied = np.maximum(norm - points * mean**2, 0.0) * np.maximum(size - total**2 / points, 0.0)
        spread = np.sqrt(np.where(varied > 1e-12 * norm * size, varied, 0.0))
        return Agreement(
            rw=np.sqrt(np.maximum(1.0 - best / norm, 0.0)),
            pearson=np.divide(along - mean * total, spread, out=np.full(count, np.nan), where=spread > 0.0),
            scale=along / size,
            biso=np.take(_BISOS, found[:, 3].astype(np.intp)),
            qdamp=np.take(_QDAMPS, found[:, 4].astype(np.intp)),
        )

    def _in_q(self, structures: Positions, qmin: Floats, qmax: Floats) -> Singles:
        """F(Q), (B, n_q), zero outside of each PDF's limits; as many columns as the largest `qmax` asks for."""
        n_q = 64 * math.ceil(float(qmax.max()) / _DELTA_Q / 64)
        histogram = _core.spread(
            positions=structures.positions,
            offsets=structures.offsets,
            step=_NODE_STEP,
            n_nodes=self._n_nodes,
            d_min=0.0,
            d_max=self._n_nodes * _NODE_STEP,
            n_threads=1,
        ).astype(np.float32)
        histogram /= structures.n_atoms[:, None].astype(np.float32)
        in_q: Singles = histogram @ _sines(self._n_nodes, n_q)
        q = np.arange(n_q)
        outside = (q < np.ceil(qmin / _DELTA_Q)[:, None]) | (q >= np.ceil(qmax / _DELTA_Q)[:, None])
        in_q[outside] = 0.0
        return in_q


@lru_cache(maxsize=8)
def _sines(n_nodes: int, n_q: int) -> Singles:
    """sin(Q d) / d for nodes d and Q = k pi / reach, (nodes, Q)."""
    d = np.maximum(_NODE_STEP * np.arange(n_nodes), 1e-9)[:, None]
    return np.asarray(np.sin(d * (_DELTA_Q * np.arange(n_q))) / d, dtype=np.float32)


@lru_cache(maxsize=64)
def _to_r(grid: bytes, n_q: int, biso: float) -> Singles:
    """From F(Q) of atoms at rest to G(r) on a grid, (Q, r)."""
    q = _DELTA_Q * np.arange(n_q)
    waves = 2.0 / math.pi * _DELTA_Q * np.sin(np.outer(q, np.frombuffer(grid)))
    return np.asarray(np.exp(-biso * q**2 / (8.0 * math.pi**2))[:, None] * waves, dtype=np.float32)
