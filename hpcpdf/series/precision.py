"""How well a PDF determines the bond length and Biso of a structure."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import pdist

from hpcpdf.lattice.shells import PdfData
from hpcpdf.pdf.fit import PdfFitter
from hpcpdf.pdf.params import B_PER_U
from hpcpdf.reconstruct.solution import Candidate

_BIN = 0.01
"""Å; distances that are counted as one, which changes no slope that matters here."""


@dataclass(frozen=True)
class Precision:
    """Standard errors of a fit; the structure's shape is taken as it is.

    Attributes
    ----------
    bond : float
        Of the mean bond length, Å.
    biso : float
        Å².
    """

    bond: float
    biso: float


def precision(candidate: Candidate, fitter: PdfFitter, qdamp: float | None) -> Precision:
    """Standard errors by the normal equations of the fit, with all that was fitted beside them.

    What is left of the PDF is taken for white noise of F(Q): cov = s² (J Jᵀ)⁻¹ with s² the sum of squares left over
    per degree of freedom, of Δr (qmax − qmin)/π independent points.

    Parameters
    ----------
    candidate
        Fitted over the range of `fitter`.
    fitter
        Of the PDF.
    qdamp
        1/Å, where the instrument is known; None when it was fitted.

    Returns
    -------
    Precision
        NaN where nothing determines a value.
    """
    data = PdfData.thinned(fitter.r, fitter.g_obs, fitter.params, qdamp)
    left = PdfData.thinned(candidate.r, candidate.g_obs - candidate.g_calc, fitter.params, qdamp).g
    calculated = PdfData.thinned(candidate.r, candidate.g_calc, fitter.params, qdamp).g
    if len(left) != len(data.r):
        return Precision(math.nan, math.nan)
    distance, counts = _shells(candidate.atoms.positions, float(data.r[-1]) + 8.0)
    metric = data.whitening()
    weights = data.padded(metric * data.envelope(candidate.qdamp))
    u, n = candidate.biso / B_PER_U, len(data.r)
    curve = (counts @ data.columns(distance, u, candidate.delta2, weights))[:n]
    target = metric * calculated
    # The slopes are on the scale of what was fitted.
    scale = float(curve @ target) / max(float(curve @ curve), 1e-300)
    rows = list(scale * data.slopes(distance, counts, u, candidate.delta2, weights)[:, :n])
    if candidate.delta2 == 0.0:
        rows.pop()
    if qdamp is None:
        rows.append(-candidate.qdamp * data.r**2 * target)
    rows.append(target)
    matrix = np.array(rows)
    lengths = np.linalg.norm(matrix, axis=1)
    freedom = data.independent - len(rows)
    if freedom < 1.0 or not np.all(lengths > 0.0):
        return Precision(math.nan, math.nan)
    matrix /= lengths[:, None]
    variance = np.diag(np.linalg.pinv(matrix @ matrix.T)) / lengths**2
    noise = float(np.sum((metric * left) ** 2)) / freedom
    by_bond, by_u = np.sqrt(noise * variance[:2]).tolist()
    return Precision(by_bond * candidate.nn_mean, by_u * candidate.biso)


def _shells(positions: NDArray[np.float64], longest: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Distances of pairs up to `longest`, and how many have each."""
    distance = pdist(positions)
    counts = np.bincount(np.rint(distance[distance < longest] / _BIN).astype(np.int64))
    some = np.flatnonzero(counts)
    return _BIN * some.astype(np.float64), counts[some].astype(np.float64)
