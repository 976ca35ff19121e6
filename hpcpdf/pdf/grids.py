"""The grids of DiffPy's Debye PDF: r, the extended range of pair distances, and Q.

Every rule follows from two roundings: a lower limit is the first whole step at or above it, an upper limit is
exclusive.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hpcpdf.errors import ConfigError
from hpcpdf.pdf.params import PdfParams

NEAR = 1.4901161193847656e-08
"""Absolute tolerance of "equal" in grid rules: the square root of the double epsilon."""

_FWHM = 2.0 * math.sqrt(2.0 * math.log(2.0))
_TAIL = math.sqrt(-math.log(3.33e-6) / (4.0 * math.log(2.0)))
_FRESH = 1151
"""Upper extended count a new DiffPy calculator holds: it stays unless the count exceeds it or falls to 1101 or less."""


def lower_index(x: float, step: float) -> int:
    """First index whose grid point is at or above `x`."""
    n = math.ceil(x / step)
    return n - 1 if abs(x - (n - 1) * step) <= NEAR else n


def upper_index(x: float, step: float) -> int:
    """Exclusive upper index of a grid that ends below `x`."""
    return math.ceil(x / step)


def r_grid(params: PdfParams) -> NDArray[np.float64]:
    """Points i * rstep from rmin to below rmax, shape (R,), Å."""
    first, last = lower_index(params.rmin, params.rstep), upper_index(params.rmax, params.rstep)
    if first >= last:
        raise ConfigError(
            f"no multiple of rstep = {params.rstep} lies from rmin = {params.rmin} to below rmax = {params.rmax}"
        )
    return np.arange(first, last, dtype=np.float64) * params.rstep


@dataclass(frozen=True)
class Grid:
    """What a Debye sum needs to know of its limits; Å and 1/Å."""

    d_min: float
    d_max: float
    qstep: float
    n_q: int
    k_first: int
    """First index of Q kept by qmin."""

    @property
    def q(self) -> NDArray[np.float64]:
        """Q_k, shape (n_q,)."""
        return np.arange(self.n_q, dtype=np.float64) * self.qstep


def extended_grid(params: PdfParams, u_max: float) -> Grid:
    """Limits of pair distances and the Q grid for the largest mean-square displacement `u_max`, Å^2.

    The range of r is extended by six termination ripples and the tail of the widest peak. The Q step is half a
    period over the upper limit, so pairs beyond that limit would come back mirrored; they are left out.
    """
    extension = min(params.maxextension, 6.0 * 2.0 * math.pi / params.qmax + _tail(params, u_max))
    step = params.rstep
    low = max(0, lower_index(params.rmin - extension, step))
    high = upper_index(params.rmax + extension, step)
    if _FRESH - 50 < high <= _FRESH:
        high = _FRESH
    d_max = step * high
    qstep = math.pi / d_max if params.qmax * d_max / math.pi > 4.0 else params.qmax / 4.0
    return Grid(
        d_min=step * low,
        d_max=d_max,
        qstep=qstep,
        n_q=math.ceil(params.qmax / qstep),
        k_first=lower_index(params.qmin, qstep),
    )


def _tail(params: PdfParams, u_max: float) -> float:
    if u_max <= 0.0:
        return 0.0
    ratio = max(1.0, _sharpening(params, params.rmin), _sharpening(params, params.rmax))
    return _TAIL * _FWHM * math.sqrt(2.0 * u_max) * math.sqrt(ratio)


def _sharpening(params: PdfParams, r: float) -> float:
    if r == 0.0:
        return 0.0
    return 1.0 - params.delta1 / r - params.delta2 / r**2 + (params.qbroad * r) ** 2
