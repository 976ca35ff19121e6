"""Bounded Levenberg–Marquardt for many small PDF fits at once, the scale eliminated in closed form."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from hpcpdf.pdf.background import Background
from hpcpdf.pdf.fit_model import FitGrid, Values
from hpcpdf.pdf.params import B_PER_U

Array = NDArray[np.float64]

_FIELDS = {"zoom": ("zoom", 1.0), "biso": ("uiso", B_PER_U)} | {
    name: (name, 1.0) for name in ("qdamp", "delta2", "delta1", "qbroad")
}
"""Parameter -> field of `Values`, and how many of the parameter's unit one of the field's is."""

_MAX_STEPS = 60
_MISFIT_CHANGE = 1e-11
_EXACT = 1e-15
"""Misfit, relative to Σ G_obs², at which nothing is left to fit."""


class Model(Protocol):
    """F(Q) of clusters as a function of their parameters."""

    def evaluate(self, values: Values, members: NDArray[np.int64]) -> tuple[Array, ...]:
        """F and its derivatives with respect to zoom, U and, where refined, delta2, delta1 and qbroad; each (b, K)."""


@dataclass(frozen=True, eq=False)
class Problem:
    """Least squares of s G(r; values) to `g_obs`, minimised over s >= 0, and over a background, in closed form.

    Parameters
    ----------
    model
        F(Q) of the clusters.
    grid
        r and the sine sum.
    g_obs : (R,) array
        Å⁻²; without what the background can tell of it, where there is one.
    refine
        Names of the free parameters.
    bounds
        Their limits.
    background
        Taken out of the model, too.
    """

    model: Model
    grid: FitGrid
    g_obs: Array
    refine: Sequence[str]
    bounds: Mapping[str, tuple[float, float]]
    background: Background | None = None

    def misfit(self, values: Values, members: NDArray[np.int64]) -> Array:
        """Σ (G_obs − s G)² at the best s; (b,)."""
        g = self._flat(self._envelope(values) * (self.model.evaluate(values, members)[0] @ self.grid.sine))
        return self._misfit(g @ self.g_obs, np.einsum("br,br->b", g, g))

    def curve(self, values: Values) -> tuple[Array, float]:
        """s G of the first cluster, (R,), and s."""
        first = self.model.evaluate(values, np.zeros(1, dtype=np.int64))[0]
        g = (self._envelope(values) * (first @ self.grid.sine))[0]
        flat = self._flat(g)
        power = float(flat @ flat)
        scale = max(float(flat @ self.g_obs) / power, 0.0) if power > 0.0 else 0.0
        return scale * g, scale

    def normal_equations(self, values: Values, members: NDArray[np.int64]) -> tuple[Array, Array, Array]:
        """Misfit (b,), Gauss–Newton matrix (b, V, V) and right-hand side (b, V), s projected out (Kaufman 1975)."""
        f = self.model.evaluate(values, members)
        envelope = self._envelope(values)
        g = envelope * (f[0] @ self.grid.sine)
        columns = []
        for name in self.refine:
            if name == "qdamp":
                columns.append(-values.qdamp[:, None] * self.grid.r**2 * g)
            else:
                order = {"zoom": 1, "biso": 2, "delta2": 3, "delta1": 4, "qbroad": 5}[name]
                columns.append(envelope * (f[order] @ self.grid.sine) / _FIELDS[name][1])
        # The derivative by qdamp is made of the whole G.
        d, g = self._flat(np.stack(columns, axis=1)), self._flat(g)
        power = np.einsum("br,br->b", g, g)
        safe = np.where(power > 0.0, power, 1.0)
        with_obs = g @ self.g_obs
        scale = np.maximum(with_obs / safe, 0.0)
        along = np.einsum("bvr,br->bv", d, g)
        matrix = np.einsum("bvr,bwr->bvw", d, d) - along[:, :, None] * along[:, None, :] / safe[:, None, None]
        right = d @ self.g_obs - along * (with_obs / safe)[:, None]
        return self._misfit(with_obs, power), scale[:, None, None] ** 2 * matrix, scale[:, None] * right

    def _flat(self, g: Array) -> Array:
        return g if self.background is None else self.background.without(g)

    def _envelope(self, values: Values) -> Array:
        return np.asarray(np.exp(-0.5 * (values.qdamp[:, None] * self.grid.r) ** 2))

    def _misfit(self, with_obs: Array, power: Array) -> Array:
        total = float(self.g_obs @ self.g_obs)
        gain = np.where((with_obs > 0.0) & (power > 0.0), with_obs**2 / np.where(power > 0.0, power, 1.0), 0.0)
        return np.asarray(np.maximum(total - gain, 0.0))


def solve(
    problem: Problem, start: Values, members: NDArray[np.int64], *, change: float = _MISFIT_CHANGE
) -> tuple[Values, Array]:
    """Refine every start; the best of each cluster, in the order of the clusters, and its misfit Σ (G_obs − s G)².

    A fit ends where a step lowers the misfit by less than the share `change`.
    """
    x = np.stack([_get(start, name) for name in problem.refine], axis=1) if problem.refine else None
    if x is None:
        misfit, values = problem.misfit(start, members), start
    else:
        x, misfit = _descend(problem, start, members, x, change)
        values = _set(start, problem.refine, x)
    best = []
    for owner in range(int(members.max()) + 1):
        mine = np.flatnonzero(members == owner)
        best.append(int(mine[np.argmin(misfit[mine])]))
    return values.take(np.array(best)), misfit[best]


def _descend(
    problem: Problem, start: Values, members: NDArray[np.int64], x: Array, change: float
) -> tuple[Array, Array]:
    low, high = (np.array([problem.bounds[name][i] for name in problem.refine]) for i in (0, 1))
    x = np.clip(x, low, high)
    misfit, matrix, right = problem.normal_equations(_set(start, problem.refine, x), members)
    damping = np.full(len(x), 1e-3)
    floor = _EXACT * float(problem.g_obs @ problem.g_obs)
    active = np.flatnonzero(misfit > floor)
    for _ in range(_MAX_STEPS):
        if not active.size:
            break
        trial = np.clip(
            x[active] + _step(matrix[active], right[active], damping[active], x[active], low, high), low, high
        )
        values = _set(start.take(active), problem.refine, trial)
        new_misfit, new_matrix, new_right = problem.normal_equations(values, members[active])
        better = new_misfit <= misfit[active]
        gain = misfit[active] - new_misfit
        accepted = active[better]
        x[accepted], misfit[accepted] = trial[better], new_misfit[better]
        matrix[accepted], right[accepted] = new_matrix[better], new_right[better]
        damping[accepted] *= 0.2
        damping[active[~better]] *= 8.0
        small = better & (gain <= change * misfit[active])
        stuck = ~better & (damping[active] > 1e8)
        active = active[~small & ~stuck & (misfit[active] > floor)]
    return x, misfit


def _step(matrix: Array, right: Array, damping: Array, x: Array, low: Array, high: Array) -> Array:
    """Damped Gauss–Newton steps; variables that press against a limit stay there."""
    held = ((x <= low) & (right < 0.0)) | ((x >= high) & (right > 0.0))
    diagonal = np.einsum("bvv->bv", matrix)
    # A parameter without influence (no pairs, no scale) gets a unit diagonal and so no step.
    size = np.where(diagonal > 0.0, diagonal, 1.0)
    scaling = 1.0 / np.sqrt(size)
    scaled = matrix * scaling[:, :, None] * scaling[:, None, :]
    free = ~held
    scaled *= free[:, :, None] & free[:, None, :]
    index = np.arange(x.shape[1])
    scaled[:, index, index] = np.where(free, 1.0 + damping[:, None], 1.0)
    rhs = np.where(free, right * scaling, 0.0)
    return np.asarray(np.linalg.solve(scaled, rhs[..., None])[..., 0] * scaling)


def _get(values: Values, name: str) -> Array:
    field, unit = _FIELDS[name]
    return np.asarray(getattr(values, field)) * unit


def _set(values: Values, names: Sequence[str], x: Array) -> Values:
    fields = {field: getattr(values, field) for field, _ in _FIELDS.values()}
    for i, name in enumerate(names):
        field, unit = _FIELDS[name]
        fields[field] = x[:, i] / unit
    return Values(**fields)
