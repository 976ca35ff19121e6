"""A PDF by free shells: non-negative counts at given widths, and the way down in the widths.

The misfit that is left when counts are at their best is a function of bond length, U, δ2 and qdamp alone (variable
projection, Golub & Pereyra 1973).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hpcpdf import _core
from hpcpdf.lattice.shells import BONDS, DELTA2_LIMITS, U_LIMITS, PdfData, Widths

Floats = NDArray[np.float64]

_QDAMP_LIMITS = (0.0, 0.09)
"""1/Å; somewhat wider than what fits of structures allow, lest a bound lies above them."""
_ENOUGH, _EXACT = 3e-6, 1e-10
"""Shells that alone would explain less than this share of what is left (squared) are left out: on the way, where all of
them together may explain a few hundredths more where shells are dense, and of the bound that is told."""
_PAIRS = 3e-5
"""Price of pairs. As many at every distance leave no trace in a PDF, which does not hold Q below qmin, and on top of
enough of them counts could be negative. Those of a real particle cost 0.001 in R_w at most, beside what is left."""
STEPS = 12
"""At most, in one descent."""
_FAILED = 3
"""A descent ends after so many steps that failed in turn."""
_DONE = 1e-5, 1e-8
"""A descent ends when a step promises less, relative and absolute."""

BOND, U, DELTA2, QDAMP = range(4)
"""Places of log bond, log U, δ2 and 1000 qdamp² in what is fitted."""
LOW = np.array([math.log(BONDS[0]), math.log(U_LIMITS[0]), DELTA2_LIMITS[0], 1000.0 * _QDAMP_LIMITS[0] ** 2])
HIGH = np.array([math.log(BONDS[1]), math.log(U_LIMITS[1]), DELTA2_LIMITS[1], 1000.0 * _QDAMP_LIMITS[1] ** 2])
_LONGEST = np.array([0.01, 0.5, 1.0, 0.8])
"""Steps at most."""
_LEAST = np.array([20.0, 0.02, 0.002, 0.002])
"""Curvature at least, times the misfit: where shells of any distance are at hand, linear theory sees no slope left."""


def widths_of(theta: Floats) -> Widths:
    return Widths(
        bond=math.exp(theta[BOND]),
        u=math.exp(theta[U]),
        delta2=float(theta[DELTA2]),
        qdamp=math.sqrt(max(float(theta[QDAMP]), 0.0) / 1000.0),
    )


class FreeShells:
    """Non-negative least squares of one PDF by one family's shells."""

    def __init__(self, data: PdfData, distance: Floats, u: float) -> None:
        self.data, self.distance = data, distance
        self.grid = data.grid(u)
        self._whitening = data.whitening()
        self.target = self._rows(self._whitening * data.g)
        self.size = float(np.linalg.norm(self.target))
        self._by_qdamp = self._rows(-0.5e-3 * data.r**2)
        self._price = 0.0
        self.used: list[int] = []
        self.counts = np.zeros(0)

    def __call__(self, theta: Floats) -> tuple[float, Floats]:
        """What is left of the data, as a share of their squares, and its gradient."""
        at = widths_of(theta)
        columns, weights = self._shells(at, self._whitening)
        start = [c for c in self.used if c < len(columns)]
        self.counts, self.used, left = _core.nnls(columns, self.target, _ENOUGH, start)
        used = np.array(self.used, dtype=np.intp)
        x = self.counts[used]
        self._columns = columns[used]
        model = x @ self._columns
        # The counts are at their best, so that only the direct change counts.
        slopes = self.data.slopes(self.distance[used] * at.bond, x, at.u, at.delta2, weights, self.grid)
        self._slopes = np.concatenate([self._rows(slopes), [self._by_qdamp * model]])
        return (left / self.size) ** 2, -2.0 / self.size**2 * (self._slopes @ (self.target - model))

    def bound(self, widths: Widths, used: Sequence[int]) -> float:
        """Least R_w with unit weights."""
        columns, _ = self._shells(widths, np.ones_like(self.data.r))
        g = self._rows(self.data.g)
        counts, _, _ = _core.nnls(columns, g, _EXACT, list(used))
        left = (g - counts @ columns)[: len(self.data.r)]
        return float(np.linalg.norm(left) / np.linalg.norm(g))

    def price(self, counts: Floats) -> float:
        """What pairs add to the share of the data that is left."""
        return float(np.sum(counts / self.distance[: len(counts)]) * self._price / self.size) ** 2

    def _shells(self, at: Widths, weights: Floats) -> tuple[Floats, Floats]:
        """Weighted shells, each with its price behind the last point, and the padded weights."""
        padded = self.data.padded(weights * self.data.envelope(at.qdamp))
        distances = self.distance[self.distance * at.bond < self.data.r[-1] + 1.5]
        columns = self._rows(self.data.columns(distances * at.bond, at.u, at.delta2, padded, self.grid))
        if self._price == 0.0:
            self._price = _PAIRS * float(np.linalg.norm(columns[0])) * float(distances[0])
        columns[:, len(self.data.r)] = self._price / distances
        return columns, padded

    def _rows(self, values: Floats) -> Floats:
        """Padded to a multiple of 16 points, with room for one more."""
        points = -(-(len(self.data.r) + 1) // 16) * 16
        if values.shape[-1] == points:
            return values
        out = np.zeros((*values.shape[:-1], points))
        out[..., : values.shape[-1]] = values
        return out

    def curvature(self) -> Floats:
        """Hessian to first order, (4, 4), at the last place and with the shells in use there."""
        basis, _ = np.linalg.qr(self._columns.T)
        slopes = self._slopes.T - basis @ (basis.T @ self._slopes.T)
        return np.asarray(2.0 / self.size**2 * (slopes.T @ slopes))


class Descent:
    """Quasi-Newton steps down the misfit, whose gradient is continuous and whose curvature jumps with the shells."""

    def __init__(self, problem: FreeShells, theta: Floats) -> None:
        self.problem = problem
        self.theta = np.clip(theta, LOW, HIGH)
        self.value, self.gradient = problem(self.theta)
        self.curvature = problem.curvature() + np.diag(_LEAST * max(self.value, 1e-4))
        self.counts, self.used = problem.counts, problem.used
        self.promise = math.inf
        """What the last step was to win, before it was made."""
        self._failed = 0

    def run(self, free: Sequence[int], steps: int = STEPS, enough: float = _DONE[0]) -> None:
        """Goes on until a step promises too little."""
        for _ in range(steps):
            self.step(free)
            if self.ended(enough):
                return

    def ended(self, enough: float = _DONE[0]) -> bool:
        return self.promise < enough * self.value + _DONE[1] or self._failed >= _FAILED

    def step(self, free: Sequence[int]) -> None:
        change = np.clip(self.theta + self._newton(free), LOW, HIGH) - self.theta
        self.promise = max(0.0, float(-(self.gradient @ change) - 0.5 * change @ self.curvature @ change))
        if self.promise == 0.0:
            return
        value, gradient = self.problem(self.theta + change)
        self._learn(change, gradient - self.gradient)
        self._failed += 1
        if value < self.value:
            self._failed = 0
            self.theta, self.value, self.gradient = self.theta + change, value, gradient
            self.counts, self.used = self.problem.counts, self.problem.used

    @property
    def place(self) -> tuple[Floats, float, Floats, Floats, list[int]]:
        """Where it is, to come back to."""
        return self.theta, self.value, self.gradient, self.counts, self.used

    @place.setter
    def place(self, place: tuple[Floats, float, Floats, Floats, list[int]]) -> None:
        self.theta, self.value, self.gradient, self.counts, self.used = place

    def _newton(self, free: Sequence[int]) -> Floats:
        at = [
            k
            for k in free
            if not (self.theta[k] <= LOW[k] and self.gradient[k] > 0.0)
            and not (self.theta[k] >= HIGH[k] and self.gradient[k] < 0.0)
        ]
        change = np.zeros(len(self.theta))
        if at:
            change[at] = -np.linalg.solve(self.curvature[np.ix_(at, at)], self.gradient[at])
            change *= min(1.0, 1.0 / max(float(np.max(np.abs(change) / _LONGEST)), 1e-30))
        return change

    def _learn(self, s: Floats, y: Floats) -> None:
        """BFGS, from steps that were not taken as well."""
        bs = self.curvature @ s
        sbs, along = float(s @ bs), float(s @ y)
        if along < 0.1 * sbs:
            # Powell's damping keeps it positive.
            share = 0.9 * sbs / (sbs - along)
            y, along = share * y + (1.0 - share) * bs, 0.1 * sbs
        self.curvature = self.curvature - np.outer(bs, bs) / sbs + np.outer(y, y) / along
