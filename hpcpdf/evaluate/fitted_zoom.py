"""The zoom at which a structure's PDF agrees best with an observed one, all else as simulated."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hpcpdf.errors import DataError
from hpcpdf.pdf.fit import PdfFitter
from hpcpdf.pdf.gr import MeasuredPdf
from hpcpdf.pdf.grids import r_grid
from hpcpdf.pdf.metrics import pearson
from hpcpdf.pdf.params import PdfParams
from hpcpdf.pdf.simulate import simulate_pdf

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class ZoomFits:
    """What the fit of n structures gave, over the whole r grid.

    Attributes
    ----------
    zoom : (n,) array
        Distances of the fitted structure are `zoom` times those given, 0.9 to 1.1. It is 1 where no zoom gives a
        positive correlation, and NaN where there is no structure.
    scale : (n,) array
        Factor on `g_calc`, from the closed form; 0 in both of these cases.
    rw, pearson : (n,) arrays
        R_w with that scale, and correlation, at that zoom; 1 and NaN where there is no structure.
    g_calc : (n, R) array
        PDF of the fitted structure without the scale, Å⁻²; 0 where there is no structure.
    """

    zoom: Array
    scale: Array
    rw: Array
    pearson: Array
    g_calc: Array


def fit_zooms(
    structures: Sequence[ArrayLike],
    g_obs: ArrayLike,
    params: PdfParams | Sequence[PdfParams],
    *,
    observed: ArrayLike | None = None,
) -> ZoomFits:
    """Fit zoom and scale of n structures, each to one of m observed PDFs, by least squares.

    The zoom is searched over its whole range first (`hpcpdf.pdf.fit`): peaks at 10 Å move by half an ångström for 5 %,
    so that there are several optima.

    Parameters
    ----------
    structures
        n arrays (n_atoms, 3), Å. One that holds no two atoms, or coordinates that are not finite, is no structure.
    g_obs : (m, R) array
        Å⁻², on the grid of `params`.
    params
        What the PDFs were simulated with, one for all or m of them; they share the r grid.
    observed : (n,) array of int, optional
        Which PDF each structure is fitted to; default: structure i to PDF i. Many structures for one PDF are fitted
        together, faster.

    Raises
    ------
    DataError
        If numbers of structures and PDFs, or of points and grid, do not fit together.
    """
    curves = np.asarray(g_obs, dtype=np.float64)
    settings = [params] * len(curves) if isinstance(params, PdfParams) else list(params)
    owner = np.arange(len(structures)) if observed is None else np.asarray(observed, dtype=np.int64)
    if curves.ndim != 2 or len(settings) != len(curves) or owner.shape != (len(structures),):
        raise DataError(
            f"{len(structures)} structures for {owner.shape} PDFs out of {curves.shape}, with {len(settings)} sets of "
            "parameters; expected one PDF a structure and one set a PDF"
        )
    if owner.size and not (owner.min() >= 0 and owner.max() < len(curves)):
        raise DataError(f"structures belong to PDFs {owner.min()} to {owner.max()}, but there are {len(curves)}")
    n = len(structures)
    found = ZoomFits(np.full(n, np.nan), np.zeros(n), np.ones(n), np.full(n, np.nan), np.zeros((n, curves.shape[1])))
    positions = [np.asarray(item, dtype=np.float64) for item in structures]
    usable = np.array([len(item) > 1 and bool(np.isfinite(item).all()) for item in positions], dtype=bool)
    for which in np.unique(owner[usable]):
        mine = np.flatnonzero(usable & (owner == which))
        fits = _fitter(curves[which], settings[which], f"PDF {which}").fit([positions[i] for i in mine])
        for index, fit in zip(mine, fits, strict=True):
            found.scale[index], found.rw[index] = fit.scale, fit.rw
            # Anything is as good as anything else where the best scale is 0.
            found.zoom[index] = fit.zoom if fit.scale > 0.0 else 1.0
            found.g_calc[index] = (
                fit.g_calc / fit.scale if fit.scale > 0.0 else simulate_pdf(positions[index], settings[which])[1]
            )
            found.pearson[index] = pearson(curves[which], found.g_calc[index])
    return found


def _fitter(g: Array, params: PdfParams, source: str) -> PdfFitter:
    r = r_grid(params)
    if g.shape != r.shape:
        raise DataError(f"{source} has {g.size} points, its parameters give a grid of {r.size}")
    pdf = MeasuredPdf(r, g, qmin=params.qmin, qmax=params.qmax, source=source)
    return PdfFitter(pdf, (float(r[0]), float(r[-1])), ("zoom",), params=params)
