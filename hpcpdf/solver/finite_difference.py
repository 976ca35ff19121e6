"""Gradients by finite differences inside a box, for objectives that bring none."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hpcpdf.solver.objective import Evaluation, ScalarObjective, Vector

MapLike = Callable[[Callable[[Any], Any], Iterable[Any]], Iterable[Any]]

METHODS = ("2-point", "3-point", "cs")


@dataclass(frozen=True)
class FiniteDifference:
    """Finite-difference gradient over some of the variables, never leaving the box.

    Parameters
    ----------
    objective : ScalarObjective
        Function to differentiate.
    method : {'2-point', '3-point', 'cs'}
        Forward differences, central differences, or the complex step (for analytic functions that take complex x).
    lower, upper : (n,) arrays
        The box; infinite where there is no bound. A step that would leave it is turned round, or shortened.
    variables : (k,) int array
        The variables to differentiate by.
    relative_step : float or (n,) array, optional
        Step as a share of |x|; None takes ``eps**(1/2)`` (``eps**(1/3)`` for '3-point') times max(1, |x|).
    absolute_step : float or (n,) array, optional
        Step itself; takes precedence.
    mapper : callable
        ``map``, or a parallel stand-in for it.
    """

    objective: ScalarObjective
    method: str
    lower: Vector
    upper: Vector
    variables: NDArray[np.intp]
    relative_step: ArrayLike | None = None
    absolute_step: ArrayLike | None = None
    mapper: MapLike = map

    def evaluation(self) -> Evaluation:
        """Value by the objective, gradient by differences."""
        spent = 1 + len(self.variables) * (2 if self.method == "3-point" else 1)

        def evaluate(x: Vector) -> tuple[Any, ArrayLike, int]:
            value = self.objective(x)
            return value, self(x, value), spent

        return evaluate

    def __call__(self, x: Vector, f: Any) -> Vector:
        """Gradient over ``variables`` at x, where the objective is f."""
        steps = self._steps(x, np.asarray(f).dtype)
        if self.method == "cs":
            values = list(self.mapper(self.objective, self._points(x + 1j * steps, base=x.astype(complex))))
            return np.array([np.imag(values[i]) / steps[k] for i, k in enumerate(self.variables)], dtype=float)
        if self.method == "2-point":
            there = self._inside(x + _one_sided(x, steps, self.lower, self.upper))
            values = list(self.mapper(self.objective, self._points(there, base=x)))
            return np.array([(values[i] - f) / (there[k] - x[k]) for i, k in enumerate(self.variables)], dtype=float)
        h, aside = _two_sided(x, np.abs(steps), self.lower, self.upper)
        first = self._inside(np.where(aside, x + h, x - h))
        second = self._inside(np.where(aside, x + 2.0 * h, x + h))
        values = list(self.mapper(self.objective, self._points(first, second, base=x)))
        gradient = np.empty(len(self.variables))
        for i, k in enumerate(self.variables):
            a, b = values[2 * i], values[2 * i + 1]
            if aside[k]:  # slope at x of the parabola through x, x + h and x + 2 h
                gradient[i] = (4.0 * a - 3.0 * f - b) / (second[k] - x[k])
            else:
                gradient[i] = (b - a) / (second[k] - first[k])
        return gradient

    def _inside(self, x: Vector) -> Vector:
        """Rounding of x + h can pass a bound by one unit in the last place."""
        inside: Vector = np.minimum(np.maximum(x, self.lower), self.upper)
        return inside

    def _points(self, *targets: NDArray[Any], base: NDArray[Any]) -> Iterator[NDArray[Any]]:
        """For each variable in turn, the base with that one value taken from each target."""
        for k in self.variables:
            for target in targets:
                point = base.copy()
                point[k] = target[k]
                yield point

    def _steps(self, x: Vector, dtype: np.dtype[Any]) -> Vector:
        """Steps as asked for; those too small to change x give way to the automatic ones."""
        sign = np.where(x >= 0.0, 1.0, -1.0)
        narrow = np.issubdtype(dtype, np.floating) and dtype.itemsize < 8
        resolution = float(np.finfo(dtype if narrow else np.float64).eps)
        automatic: Vector = (
            resolution ** (1.0 / 3.0 if self.method == "3-point" else 0.5) * sign * np.maximum(1.0, np.abs(x))
        )
        if self.absolute_step is not None:
            wanted = np.broadcast_to(np.asarray(self.absolute_step, dtype=float), x.shape)
        elif self.relative_step is not None:
            wanted = np.asarray(self.relative_step, dtype=float) * sign * np.abs(x)
        else:
            return automatic
        steps: Vector = np.where((x + wanted) - x == 0.0, automatic, wanted)
        return steps


def _one_sided(x: Vector, h: Vector, lower: Vector, upper: Vector) -> Vector:
    """Steps turned round where they would leave the box, or shortened to the wider side where neither side has room."""
    below, above = x - lower, upper - x
    leaves = (x + h < lower) | (x + h > upper)
    has_room = np.abs(h) <= np.maximum(below, above)
    widest = np.where(above >= below, above, -below)
    return np.where(has_room, np.where(leaves, -h, h), widest)


def _two_sided(x: Vector, h: Vector, lower: Vector, upper: Vector) -> tuple[Vector, NDArray[np.bool_]]:
    """Signed steps, and where both points must lie on one side because a bound is too near."""
    below, above = x - lower, upper - x
    central = (below >= h) & (above >= h)
    one_way = np.where(above >= below, np.minimum(h, 0.5 * above), -np.minimum(h, 0.5 * below))
    steps = np.where(central, h, one_way)
    nearest = np.minimum(below, above)
    shortened = ~central & (np.abs(steps) <= nearest)  # no more can be had on one side than centrally
    return np.where(shortened, nearest, steps), ~central & ~shortened
