"""Satellites: fixed anchor points on the unit sphere whose distances pin a structure's place and handedness."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from hpcpdf.errors import ConfigError

DEFAULT_SATELLITES = 11
MAX_SATELLITES = 64
# Start spirals tried; for every n <= 64 the best of these reaches the published Thomson energies up to n = 12.
_STARTS = (0.5, 0.0, 0.25, 0.36)


def satellites(n: int = DEFAULT_SATELLITES) -> NDArray[np.float64]:
    """Evenly spread points on the unit sphere: the minimum of the Thomson problem.

    Equal charges that repel each other on a sphere, relaxed from Fibonacci spirals. The frame is fixed by
    putting the first point on +z and the second in the half plane x > 0 of the xz plane.

    Parameters
    ----------
    n : int
        Number of satellites, 0 to 64. The default of 11 is the one of the reference method.

    Returns
    -------
    ndarray of shape (n, 3)
        Unit vectors, the same for every call; the array is read-only.

    Raises
    ------
    ConfigError
        If `n` lies outside 0..64.
    """
    if not 0 <= n <= MAX_SATELLITES:
        raise ConfigError(f"satellites: got n = {n}, expected 0 to {MAX_SATELLITES}")
    return _thomson(int(n))


@cache
def _thomson(n: int) -> NDArray[np.float64]:
    if n == 0:
        points = np.zeros((0, 3))
    elif n == 1:
        points = np.array([[0.0, 0.0, 1.0]])
    else:
        candidates = [_relax(_spiral(n, offset)) for offset in _STARTS]
        # A tie within rounding goes to the first start, so that the choice is the same on every machine.
        best = 0
        for k, (energy, _) in enumerate(candidates):
            if energy < candidates[best][0] - 1e-6:
                best = k
        points = _fix_frame(candidates[best][1])
    points.flags.writeable = False
    return points


def _spiral(n: int, offset: float) -> NDArray[np.float64]:
    k = np.arange(n)
    z = 1.0 - (2.0 * k + 2.0 * offset + (1.0 - 2.0 * offset) * k / max(n - 1, 1) * 2.0) / n
    z = np.clip(z, -1.0, 1.0)
    angle = k * np.pi * (3.0 - np.sqrt(5.0))
    rho = np.sqrt(1.0 - z * z)
    points: NDArray[np.float64] = np.stack([rho * np.cos(angle), rho * np.sin(angle), z], axis=1)
    return points


def _energy(flat: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
    """Coulomb energy of the normalised points, and its gradient in the free coordinates."""
    free = flat.reshape(-1, 3)
    length = np.linalg.norm(free, axis=1, keepdims=True)
    x = free / length
    delta = x[:, None] - x[None]
    r = np.sqrt((delta**2).sum(-1))
    np.fill_diagonal(r, np.inf)
    force = -(delta / r[..., None] ** 3).sum(1)
    tangent = (force - (force * x).sum(1, keepdims=True) * x) / length
    return 0.5 * float((1.0 / r).sum()), tangent.ravel()


def _relax(start: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
    result = minimize(_energy, start.ravel(), jac=True, method="L-BFGS-B", options={"ftol": 0.0, "gtol": 1e-12})
    x = result.x.reshape(-1, 3)
    return float(result.fun), x / np.linalg.norm(x, axis=1, keepdims=True)


def _fix_frame(points: NDArray[np.float64]) -> NDArray[np.float64]:
    ez = points[0]
    # The first point that is not opposite to point 0 gives the direction of x (n = 2 has none).
    across = points - (points @ ez)[:, None] * ez
    lengths = np.linalg.norm(across, axis=1)
    wide = np.flatnonzero(lengths > 1e-3)
    ex = across[wide[0]] / lengths[wide[0]] if wide.size else np.linalg.svd(ez[None])[2][1]
    frame = np.stack([ex, np.cross(ez, ex), ez])
    fixed: NDArray[np.float64] = points @ frame.T
    return fixed
