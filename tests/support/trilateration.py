"""Independent NumPy and SciPy trilateration, and noisy problems to compare with."""

import numpy as np
from scipy.optimize import Bounds, minimize

from hpcpdf.solver.satellites import satellites

SATELLITES = satellites(11)


def cost_gradient(flat, d, a, p, w=None, v=None):
    """Cost and gradient by matrix products (float64)."""
    x = flat.reshape(-1, 3)
    n = len(x)
    w = np.ones((n, n)) if w is None else w.copy()
    np.fill_diagonal(w, 0.0)
    square = (x * x).sum(1)
    r = np.sqrt(np.maximum(square[:, None] + square[None] - 2.0 * x @ x.T, 1e-24))
    residual = r - d
    k = w * residual / r
    f = 0.5 * (w * residual**2).sum()
    g = 2.0 * (k.sum(1)[:, None] * x - k @ x)
    if len(p):
        v = np.ones(a.shape) if v is None else v
        rs = np.sqrt(np.maximum(square[:, None] + (p * p).sum(1)[None] - 2.0 * x @ p.T, 1e-24))
        residual = rs - a
        k = v * residual / rs
        f += (v * residual**2).sum()
        g += 2.0 * (k.sum(1)[:, None] * x - k @ p)
    return f, g.ravel()


def direct_cost_gradient(x, d, a, p, w=None, v=None):
    """The same by explicit differences, without cancellation: (cost, largest projected gradient component)."""
    n = len(x)
    f, g = 0.0, np.zeros((n, 3))
    if n > 1:
        i, j = np.triu_indices(n, 1)
        e = x[i] - x[j]
        r = np.sqrt((e * e).sum(1))
        weight = 1.0 if w is None else w[i, j]
        f += (weight * (r - d[i, j]) ** 2).sum()
        step = (2.0 * weight * (r - d[i, j]) / np.maximum(r, 1e-12))[:, None] * e
        np.add.at(g, i, step)
        np.add.at(g, j, -step)
    for s in range(len(p)):
        e = x - p[s]
        r = np.sqrt((e * e).sum(1))
        weight = 1.0 if v is None else v[:, s]
        f += (weight * (r - a[:, s]) ** 2).sum()
        g += (2.0 * weight * (r - a[:, s]) / np.maximum(r, 1e-12))[:, None] * e
    return f, np.abs(np.clip(x - g, -1, 1) - x).max(initial=0.0)


def linear_start(a, p):
    """Closed-form multilateration."""
    b = (p * p).sum(1)[None] - a * a
    return np.clip((np.linalg.pinv(2.0 * (p - p.mean(0))) @ (b - b.mean(1, keepdims=True)).T).T, -1, 1)


def scipy_joint(d, a, p, start=None, gtol=1e-10, ftol=0.0, maxiter=3000, w=None, v=None):
    """Tight joint solution by SciPy's L-BFGS-B."""
    start = linear_start(a, p) if start is None else start
    result = minimize(
        cost_gradient,
        start.ravel(),
        args=(d, a, p, w, v),
        jac=True,
        method="L-BFGS-B",
        bounds=Bounds(-1.0, 1.0),
        options={"gtol": gtol, "ftol": ftol, "maxiter": maxiter, "maxcor": 20},
    )
    return result.x.reshape(-1, 3), float(result.fun)


def cloud(n, rng, scale=0.8):
    """Random points in the unit ball that keep some distance, as atoms do."""
    points = np.zeros((n, 3))
    spacing = 0.9 * scale / max(n, 1) ** (1.0 / 3.0)
    for k in range(n):
        for _ in range(200):
            x = rng.normal(size=3)
            x *= scale * rng.random() ** (1.0 / 3.0) / np.linalg.norm(x)
            if k == 0 or np.linalg.norm(points[:k] - x, axis=1).min() > spacing:
                break
        points[k] = x
    return points


def noisy(n, sigma, rng, p=SATELLITES, scale=0.8):
    """Positions and their distances with Gaussian noise: (x, D symmetric, A)."""
    x = cloud(n, rng, scale)
    d = np.linalg.norm(x[:, None] - x[None], axis=-1)
    e = rng.normal(scale=sigma, size=(n, n))
    d = np.abs(d + np.triu(e, 1) + np.triu(e, 1).T)
    np.fill_diagonal(d, 0.0)
    a = np.abs(np.linalg.norm(x[:, None] - p[None], axis=-1) + rng.normal(scale=sigma, size=(n, len(p))))
    return x, d, a
