"""What a network sees of a PDF: a common grid, and a grid measured in nearest-neighbour distances."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.ndimage import map_coordinates, spline_filter1d

from hpcpdf.errors import DataError

Floats = NDArray[np.float64]

R_STEP = 0.1
"""Step of the network's r grid in Å."""
R_POINTS = 301
"""Points of the network's r grid, 0 ... 30 Å."""
X_GRID: Floats = 0.70 + 0.036 * np.arange(256, dtype=np.float64)
"""Distances in units of the nearest-neighbour distance, 0.70 ... 9.88."""
R_FLOOR = 1.0
"""Below this distance (Å) a PDF holds no atoms; it is set to zero."""

_SPLINE: Final = 5  # order that keeps a PDF with qmax <= 28 1/Å, sampled at 0.1 Å, to about a per cent of its maximum


@dataclass(frozen=True)
class PdfBatch:
    """PDFs on the network's grid with what their headers tell.

    Attributes
    ----------
    pdf : (n, 301) float64
        G at 0, 0.1 ... 30 Å, in Å^-2 (any scale).
    qmin, qmax : (n,) float64
        Limits of the Fourier transform in 1/Å.
    expected_nn : (n,) float64
        Nearest-neighbour distance expected from the element's metallic radius, Å.
    """

    pdf: Floats
    qmin: Floats
    qmax: Floats
    expected_nn: Floats

    def __post_init__(self) -> None:
        n = len(self.pdf)
        if self.pdf.shape != (n, R_POINTS):
            raise DataError(f"PDFs have shape {self.pdf.shape}, the networks expect (n, {R_POINTS})")
        for name in ("qmin", "qmax", "expected_nn"):
            if getattr(self, name).shape != (n,):
                raise DataError(f"{name} has shape {getattr(self, name).shape}, expected ({n},)")

    def __len__(self) -> int:
        return len(self.pdf)

    def __getitem__(self, index: slice | NDArray[np.int64]) -> PdfBatch:
        return PdfBatch(self.pdf[index], self.qmin[index], self.qmax[index], self.expected_nn[index])


def to_network_grid(r: ArrayLike, g: ArrayLike) -> Floats:
    """Interpolate one PDF linearly onto the network's grid; outside its range it is zero."""
    grid = R_STEP * np.arange(R_POINTS)
    return np.asarray(np.interp(grid, np.asarray(r, float), np.asarray(g, float), left=0.0, right=0.0))


def all_to_network_grid(r: ArrayLike, pdfs: ArrayLike) -> Floats:
    """`to_network_grid` of many PDFs (n, R) on one grid (R,), to the bit."""
    known, values = np.asarray(r, float), np.asarray(pdfs, float)
    grid = R_STEP * np.arange(R_POINTS)
    inside = np.flatnonzero((grid >= known[0]) & (grid <= known[-1]))
    index = np.clip(np.searchsorted(known, grid[inside], side="right") - 1, 0, len(known) - 2)
    out = np.zeros((len(values), R_POINTS))
    low = values[:, index]
    slope = (values[:, index + 1] - low) / (known[index + 1] - known[index])
    out[:, inside] = slope * (grid[inside] - known[index]) + low
    # np.interp gives the last value itself, without rounding.
    out[:, inside[grid[inside] == known[-1]]] = values[:, -1:]
    return out


def normalised(pdf: Floats) -> Floats:
    """Set `pdf` (n, 301) to zero below 1 Å and divide each by its maximum (Å^-2 to dimensionless)."""
    out = np.array(pdf, dtype=float)
    out[:, : round(R_FLOOR / R_STEP)] = 0.0
    top = out.max(axis=1, keepdims=True)
    if not np.all(top > 0.0):
        index = int(np.flatnonzero(top[:, 0] <= 0.0)[0])
        raise DataError(f"PDF {index} has no positive value above {R_FLOOR} Å; is it a G(r)?")
    return cast(Floats, out / top)


def _coefficients(pdf: Floats) -> Floats:
    """Spline coefficients of PDFs (n, 301) along r."""
    return np.asarray(spline_filter1d(pdf, order=_SPLINE, axis=1, output=np.float64))


def _sample(coefficients: Floats, r: Floats) -> Floats:
    """Values at r (n, m) of the splines whose coefficients are (n, 301); zero beyond the grid."""
    rows = np.broadcast_to(np.arange(len(r))[:, None], r.shape)
    # Order 0 along the rows is not available per axis: address a flattened copy with guard zeros instead.
    guard = 8
    width = coefficients.shape[1] + 2 * guard
    padded = np.zeros((len(coefficients), width))
    padded[:, guard:-guard] = coefficients
    inside = np.clip(r / R_STEP, 0.0, coefficients.shape[1] + guard / 2) + guard
    address: Floats = np.asarray(rows * width + inside, dtype=np.float64).reshape(1, -1)
    flat: Floats = map_coordinates(padded.ravel(), address, order=_SPLINE, prefilter=False)
    return flat.reshape(r.shape)


def nearest_neighbour(pdf: Floats, expected_nn: Floats) -> Floats:
    """Position of the first coordination peak in Å.

    Parameters
    ----------
    pdf : (n, 301)
        PDFs on the network's grid.
    expected_nn : (n,)
        Expected distance in Å; the highest point between 0.84 and 1.20 of it is taken.
    """
    coefficients = _coefficients(pdf)
    ratios = np.linspace(0.84, 1.20, 145)
    r = expected_nn[:, None] * ratios
    values = _sample(coefficients, r)
    top = np.clip(values.argmax(axis=1), 1, len(ratios) - 2)
    rows = np.arange(len(pdf))
    left, middle, right = values[rows, top - 1], values[rows, top], values[rows, top + 1]
    curvature = left - 2 * middle + right
    shift = np.where(curvature < 0, 0.5 * (left - right) / np.where(curvature < 0, curvature, -1.0), 0.0)
    return cast(Floats, expected_nn * (ratios[top] + np.clip(shift, -1, 1) * (ratios[1] - ratios[0])))


def reduced(batch: PdfBatch) -> tuple[Floats, Floats]:
    """PDFs on the grid of nearest-neighbour distances, and those distances.

    Returns
    -------
    features : (n, 256)
        G at `X_GRID` times the nearest-neighbour distance, divided by its maximum.
    nn : (n,)
        Nearest-neighbour distance, Å.
    """
    pdf = normalised(batch.pdf)
    nn = nearest_neighbour(pdf, batch.expected_nn)
    values = _sample(_coefficients(pdf), nn[:, None] * X_GRID)
    return values / np.maximum(values.max(axis=1, keepdims=True), 1e-12), nn
