"""Independent, plain implementations of what the kernels compute: what a scientist would write, to measure against."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from hpcpdf.pdf.params import PdfParams

Array = NDArray[np.float64]


def numpy_pdf(positions: Sequence[Array], params: PdfParams, r: Array) -> Array:
    """Exact Debye PDFs of one-element clusters with NumPy: one sine for every pair and Q.

    Parameters
    ----------
    positions
        Clusters, each (n, 3) in Å.
    params
        Instrument and sample; ``delta1``, ``qbroad`` and ``rmin`` are taken as zero.
    r
        Distances (R,) in Å at which G is wanted.

    Returns
    -------
    numpy.ndarray
        G, (B, R), in 1/Å^2.
    """
    uiso = params.biso / (8 * np.pi**2)
    # Structure-independent grid of pdf-spec: six termination ripples and the tail of the widest peak beyond rmax.
    tail = np.sqrt(-np.log(3.33e-6) / (4 * np.log(2))) * 2 * np.sqrt(2 * np.log(2)) * np.sqrt(2 * uiso)
    extension = min(params.maxextension, 12 * np.pi / params.qmax + tail)
    count = int(np.ceil(round((params.rmax + extension) / params.rstep, 9)))
    step = np.pi / (params.rstep * count)
    q = step * np.arange(int(np.ceil(params.qmax / step)))
    weights = np.where(q >= params.qmin, 2 / np.pi * step, 0.0)
    transform = weights[:, None] * np.sin(np.outer(q, r)) * np.exp(-((params.qdamp * r) ** 2) / 2)
    result = np.empty((len(positions), len(r)))
    for index, atoms in enumerate(positions):
        first, second = np.triu_indices(len(atoms), 1)
        d = np.linalg.norm(atoms[first] - atoms[second], axis=1)
        d = d[d <= params.rstep * count]
        variance = 2 * uiso * np.maximum(1 - params.delta2 / d**2, 0.0)
        terms = np.exp(-np.outer(variance, q**2) / 2) * np.sin(np.outer(d, q)) / d[:, None]
        result[index] = 2 / len(atoms) * terms.sum(axis=0) @ transform
    return result


def scipy_trilaterate(distances: Sequence[Array], anchors: Sequence[Array], satellites: Array) -> list[Array]:
    """All coordinates of each problem at once by SciPy's L-BFGS-B, analytic gradient, from the linear start.

    Parameters
    ----------
    distances, anchors
        For each problem the (n, n) distances between atoms and the (n, S) distances to the satellites.
    satellites
        Their coordinates (S, 3).
    """
    inverse = np.linalg.pinv(2 * (satellites[1:] - satellites[0]))
    norms = (satellites**2).sum(axis=1)
    result = []
    for wanted, to_satellites in zip(distances, anchors, strict=True):
        squares = to_satellites**2
        start = ((squares[:, :1] - squares[:, 1:]) + norms[1:] - norms[0]) @ inverse.T
        found = minimize(
            _distance_cost,
            np.clip(start, -1, 1).ravel(),
            args=(wanted, to_satellites, satellites),
            jac=True,
            method="L-BFGS-B",
            bounds=[(-1, 1)] * start.size,
            options={"gtol": 1e-5},
        )
        result.append(found.x.reshape(-1, 3))
    return result


def _distance_cost(flat: Array, wanted: Array, to_satellites: Array, satellites: Array) -> tuple[float, Array]:
    x = flat.reshape(-1, 3)
    squares = (x**2).sum(axis=1)
    d = np.sqrt(np.maximum(squares[:, None] + squares - 2 * x @ x.T, 1e-18))
    np.fill_diagonal(d, 1.0)
    miss = d - wanted
    np.fill_diagonal(miss, 0.0)
    a = np.sqrt(np.maximum(squares[:, None] + (satellites**2).sum(axis=1) - 2 * x @ satellites.T, 1e-18))
    offset = a - to_satellites
    pair, anchor = miss / d, offset / a
    gradient = 2 * (pair.sum(axis=1)[:, None] * x - pair @ x)
    gradient += 2 * (anchor.sum(axis=1)[:, None] * x - anchor @ satellites)
    return float(0.5 * (miss**2).sum() + (offset**2).sum()), gradient.ravel()
