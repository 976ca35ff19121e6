"""How well two pair distribution functions agree.

All functions work along the last axis and broadcast over the others, so one observed PDF (R,) can be compared with
many calculated ones (B, R) at once.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hpcpdf.errors import DataError

Array = NDArray[np.float64]


def best_scale(g_obs: ArrayLike, g_calc: ArrayLike) -> Array:
    """The factor s that minimises Σ (G_obs − s G_calc)²: Σ G_obs G_calc / Σ G_calc².

    Returns
    -------
    (...) array
        0 where `g_calc` is 0 throughout.
    """
    obs, calc = _pair(g_obs, g_calc)
    product = np.asarray(np.sum(obs * calc, axis=-1))
    power = np.broadcast_to(np.sum(calc * calc, axis=-1), product.shape)
    return np.asarray(np.divide(product, power, out=np.zeros_like(product), where=power > 0.0))


def rw(g_obs: ArrayLike, g_calc: ArrayLike, *, fit_scale: bool = False) -> Array:
    """Weighted residual with unit weights, sqrt(Σ (G_obs − G_calc)² / Σ G_obs²), as PDFgui computes it.

    Parameters
    ----------
    g_obs, g_calc : (..., R) arrays
        On the same r.
    fit_scale
        Multiply `g_calc` by its best factor first.

    Returns
    -------
    (...) array
        NaN where `g_obs` is 0 throughout.
    """
    obs, calc = _pair(g_obs, g_calc)
    if fit_scale:
        calc = calc * best_scale(obs, calc)[..., None]
    misfit = np.asarray(np.sum((obs - calc) ** 2, axis=-1))
    power = np.broadcast_to(np.sum(obs * obs, axis=-1), misfit.shape)
    return np.asarray(np.sqrt(np.divide(misfit, power, out=np.full(misfit.shape, np.nan), where=power > 0.0)))


def pearson(g_obs: ArrayLike, g_calc: ArrayLike) -> Array:
    """Pearson correlation coefficient.

    Returns
    -------
    (...) array
        NaN where one of the two is constant.
    """
    obs, calc = _pair(g_obs, g_calc)
    a = obs - obs.mean(axis=-1, keepdims=True)
    b = calc - calc.mean(axis=-1, keepdims=True)
    norm = np.sqrt(np.sum(a * a, axis=-1) * np.sum(b * b, axis=-1))
    product = np.sum(a * b, axis=-1)
    # Rounding leaves a constant array a spread of some 1e-16 of its size.
    size = np.sqrt(np.sum(obs * obs, axis=-1) * np.sum(calc * calc, axis=-1))
    varies = norm > 1e-14 * size
    return np.asarray(np.divide(product, norm, out=np.full(norm.shape, np.nan), where=varies))


def independent_points(r: ArrayLike, qmin: float, qmax: float) -> float:
    """How many independent values a PDF has, Δr (qmax − qmin) / π, by the sampling theorem.

    Parameters
    ----------
    r : (R,) array
        Å; only its first and last value count.
    qmin, qmax
        1/Å.

    Returns
    -------
    float
        At least 1.
    """
    ends = np.asarray(r, dtype=np.float64)[[0, -1]]
    return max(1.0, float(ends[1] - ends[0]) * (qmax - qmin) / np.pi)


def bic(rw2: ArrayLike, n_points: float, n_parameters: int) -> Array:
    """Bayesian information criterion of a least-squares fit, n ln R_w² + k ln n, the noise being unknown.

    The lower is the better description (Schwarz, Ann. Statist. 6 (1978) 461): a parameter has to lower R_w² by the
    factor n^(−1/n), some 3.5 % at n = 140, to be worth having.

    Parameters
    ----------
    rw2 : (...) array
        R_w².
    n_points
        Independent points, as `independent_points` counts them.
    n_parameters
        Fitted parameters k.

    Returns
    -------
    (...) array
        −inf where `rw2` is 0.
    """
    with np.errstate(divide="ignore"):
        return np.asarray(n_points * np.log(np.asarray(rw2, dtype=np.float64)) + n_parameters * np.log(n_points))


def epsilon2(g_a: ArrayLike, g_b: ArrayLike, *, normalise: Literal["unit", "max"] = "unit") -> Array:
    """Squared difference of two normalised PDFs, Σ (a − b)².

    Parameters
    ----------
    g_a, g_b : (..., R) arrays
        On the same r.
    normalise
        ``unit``: each is divided by its norm sqrt(Σ G²), so the value is 2(1 − cosine), from 0 to 4 and independent of
        the grid. ``max``: each is divided by its largest value, as the networks see them; grows with the number of
        points.

    Returns
    -------
    (...) array
        NaN where one of the two cannot be normalised.
    """
    a, b = _pair(g_a, g_b)
    misfit = np.sum((_normalised(a, normalise) - _normalised(b, normalise)) ** 2, axis=-1)
    return np.asarray(misfit)


def _normalised(g: Array, how: Literal["unit", "max"]) -> Array:
    size = np.sqrt(np.sum(g * g, axis=-1, keepdims=True)) if how == "unit" else g.max(axis=-1, keepdims=True)
    return np.asarray(np.divide(g, size, out=np.full(g.shape, np.nan), where=size > 0.0))


def _pair(g_a: ArrayLike, g_b: ArrayLike) -> tuple[Array, Array]:
    a, b = np.asarray(g_a, dtype=np.float64), np.asarray(g_b, dtype=np.float64)
    if a.ndim == 0 or b.ndim == 0 or a.shape[-1] != b.shape[-1] or a.shape[-1] == 0:
        raise DataError(f"two PDFs of shapes {a.shape} and {b.shape}: expected the same r grid, r along the last axis")
    return a, b
