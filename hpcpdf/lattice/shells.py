"""PDFs of shells: what one pair of atoms at a distance gives, on the points of a measured PDF.

G(r) = s Σ_c m_c φ_c(r), with m_c pairs in shell c and

    φ_c(r) = (2/π) exp(−(qdamp r)²/2) Σ_k ΔQ exp(−U_c Q_k²) sin(Q_k d_c)/d_c sin(Q_k r),   U_c = U (1 − δ2/d_c² + …),

the Debye sum and its sine transform (`hpcpdf.simulate_pdf`) of one line.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from hpcpdf import _core
from hpcpdf.pdf.fit import BOUNDS
from hpcpdf.pdf.grids import Grid, extended_grid
from hpcpdf.pdf.params import B_PER_U, PdfParams

Floats = NDArray[np.float64]

_NYQUIST = 0.85
"""Points farther apart than this share of π/qmax would lose what the PDF knows."""

_KEPT = 6
"""Q grids whose waves are kept."""

BONDS = (1.8, 4.0)
"""Nearest-neighbour distances that are looked for, Å."""
U_LIMITS = (BOUNDS["biso"][0] / B_PER_U, BOUNDS["biso"][1] / B_PER_U)
"""Å²; as in fits."""
DELTA2_LIMITS = BOUNDS["delta2"]

QDAMP_GUESS = 0.03
"""Where a search begins that is not told qdamp, 1/Å."""


@dataclass(frozen=True)
class Widths:
    """What turns a structure's shells into its PDF, beside the instrument.

    Attributes
    ----------
    bond : float
        Nearest-neighbour distance, Å.
    u : float
        Mean-square displacement U of every atom, Å².
    delta2 : float
        Correlated motion, Å².
    qdamp : float
        1/Å.
    """

    bond: float
    u: float
    delta2: float = 0.0
    qdamp: float = 0.0


@dataclass(frozen=True, eq=False)
class PdfData:
    """The points of a PDF that structures are compared with.

    Attributes
    ----------
    r, g : (R,)
        Å and Å⁻²; as few points as hold all that Q up to qmax can tell.
    params : PdfParams
        Of the measurement: qmin, qmax, qbroad, delta1, and the grid that the PDF was made on.
    qdamp : float or None
        1/Å; None when nobody knows.
    """

    r: Floats
    g: Floats
    params: PdfParams
    qdamp: float | None = None
    _waves: dict[Grid, _core.ShellWaves] = field(default_factory=dict, repr=False)

    @classmethod
    def thinned(cls, r: Floats, g: Floats, params: PdfParams, qdamp: float | None) -> PdfData:
        """Of all points `r`, `g`, those that are needed."""
        stride = max(1, int(_NYQUIST * math.pi / params.qmax / float(np.median(np.diff(r))) + 1e-6))
        return cls(np.ascontiguousarray(r[::stride]), np.ascontiguousarray(g[::stride]), params, qdamp)

    @property
    def independent(self) -> float:
        """Number of independent values, Δr (qmax − qmin)/π."""
        return max(1.0, float(self.r[-1] - self.r[0]) * (self.params.qmax - self.params.qmin) / math.pi)

    def rounding(self) -> float:
        """R_w that the decimals of the PDF cannot be told from; 1e-6 at least."""
        g = self.g
        size = float(np.sqrt(np.mean(g**2)))
        for decimals in range(1, 9):
            if np.max(np.abs(g - np.round(g, decimals))) < 1e-12 * max(1.0, float(np.abs(g).max())):
                return max(1e-6, 1.5 * 10.0**-decimals / math.sqrt(12.0) / size)
        return 1e-6

    def grid(self, u: float) -> Grid:
        """Q grid of a PDF with the mean-square displacement `u`, Å²."""
        return extended_grid(self.params, u)

    def padded(self, values: Floats) -> Floats:
        """Values at the points, with the zeros behind them that the compiled loops want."""
        out = np.zeros(-(-len(self.r) // 16) * 16)
        out[: len(self.r)] = values
        return out

    def columns(self, distances: Floats, u: float, delta2: float, weights: Floats, grid: Grid | None = None) -> Floats:
        """φ of shells at `distances` (C,), Å, without the envelope of qdamp, times padded `weights`; (C, points).

        `grid` is that of `u` unless given: a search whose U moves keeps its waves by keeping one.
        """
        grid = grid or self.grid(u)
        damping = u * self._sharpening(distances, delta2) * grid.qstep**2
        return self._waves_of(grid).columns(
            distance=distances, damping=damping, weight=2.0 / math.pi * grid.qstep * weights
        )

    def slopes(
        self,
        distances: Floats,
        counts: Floats,
        u: float,
        delta2: float,
        weights: Floats,
        grid: Grid | None = None,
    ) -> Floats:
        """Derivatives of counts @ columns(distances, u, delta2, weights) by log bond, log U and δ2; (3, points)."""
        grid = grid or self.grid(u)
        d = np.maximum(distances, 1e-6)
        ratio = self._sharpening(distances, delta2)
        free = ratio > 0.0
        by_bond = np.where(
            free, self.params.delta1 / d + 2.0 * delta2 / d**2 + 2.0 * (self.params.qbroad * d) ** 2, 0.0
        )
        by_delta2 = np.where(free, -1.0 / d**2, 0.0)
        scale = u * grid.qstep**2
        return self._waves_of(grid).slopes(
            distance=distances,
            damping=scale * ratio,
            factor=counts,
            stretch=np.array([np.ones_like(d), np.zeros_like(d), np.zeros_like(d)]),
            rate=scale * np.array([by_bond, ratio, by_delta2]),
            weight=2.0 / math.pi * grid.qstep * weights,
        )

    def _sharpening(self, distances: Floats, delta2: float) -> Floats:
        """U_c/U of shells."""
        d = np.maximum(distances, 1e-6)
        return np.maximum(1.0 - self.params.delta1 / d - delta2 / d**2 + (self.params.qbroad * d) ** 2, 0.0)

    def _waves_of(self, grid: Grid) -> _core.ShellWaves:
        if grid not in self._waves:
            while len(self._waves) >= _KEPT:
                self._waves.pop(next(iter(self._waves)))
            self._waves[grid] = _core.ShellWaves(
                qstep=grid.qstep,
                n_q=grid.n_q,
                k_first=grid.k_first,
                d_min=grid.d_min,
                d_max=grid.d_max,
                r=self.r,
            )
        return self._waves[grid]

    def envelope(self, qdamp: float) -> Floats:
        """exp(−(qdamp r)²/2), (R,)."""
        return np.asarray(np.exp(-0.5 * (qdamp * self.r) ** 2))

    def whitening(self) -> Floats:
        """Weights of the points under which white noise in F(Q) is white; (R,).

        Noise of F(Q) is the same at all r of G/envelope.
        """
        return 1.0 / self.envelope(QDAMP_GUESS if self.qdamp is None else self.qdamp)
