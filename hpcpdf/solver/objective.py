"""User functions behind one door: value and gradient at a point, checked, counted and never asked for twice."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Vector = NDArray[np.float64]


@dataclass(frozen=True)
class ScalarObjective:
    """A user's ``fun(x, *args)``, handed a copy of x and held to returning one number. Can be pickled if ``fun`` can.

    Parameters
    ----------
    fun : callable
        The objective.
    args : tuple
        Further arguments of ``fun``.
    """

    fun: Callable[..., Any]
    args: tuple[Any, ...] = ()

    def __call__(self, x: NDArray[Any]) -> Any:
        """Value at x; raises ValueError when it is not a single number."""
        return as_scalar(self.fun(np.copy(x), *self.args))


def as_scalar(value: Any) -> Any:
    """The one number in what a function returned (a one-element array will do); ValueError if there is none."""
    if np.isscalar(value):
        return value
    try:
        value = np.asarray(value).item()
    except (TypeError, ValueError) as error:
        raise ValueError("The user-provided objective function must return a scalar value.") from error
    if value is None:
        raise ValueError("The user-provided objective function must return a scalar value, got None.")
    return value


# Value, gradient, and the function evaluations spent on them, at a point.
Evaluation = Callable[[Vector], tuple[Any, ArrayLike, int]]


def with_gradient(scalar: ScalarObjective, jac: Callable[..., Any]) -> Evaluation:
    """Value and gradient from two functions of the user's."""

    def evaluate(x: Vector) -> tuple[Any, ArrayLike, int]:
        value = scalar(x)
        return value, jac(np.copy(x), *scalar.args), 1

    return evaluate


def joint(scalar: ScalarObjective) -> Evaluation:
    """Value and gradient from one function that returns both."""

    def evaluate(x: Vector) -> tuple[Any, ArrayLike, int]:
        value, gradient = scalar.fun(np.copy(x), *scalar.args)
        return as_scalar(value), gradient, 1

    return evaluate


class Objective:
    """Value and gradient over the variables in play; the others keep their starting values.

    Parameters
    ----------
    start : (n,) array
        All variables at the start.
    evaluate : callable
        Maps all variables to value, gradient over the variables in play, and the evaluations spent.
    variables : (k,) int array, optional
        The variables in play; None means all.
    """

    def __init__(self, start: Vector, evaluate: Evaluation, variables: NDArray[np.intp] | None = None) -> None:
        self.variables = np.arange(len(start)) if variables is None else variables
        self.nfev = 0
        self.njev = 0
        self._start = start
        self._evaluate = evaluate
        self._latest: tuple[Vector, float, Vector] | None = None

    def whole(self, x: Vector) -> Vector:
        """A new array of all variables, from those in play."""
        out = self._start.copy()
        out[self.variables] = x
        return out

    def __call__(self, x: Vector) -> tuple[float, Vector]:
        """Value and gradient at x, both over the variables in play."""
        if self._latest is None or not np.array_equal(x, self._latest[0]):
            value, gradient, spent = self._evaluate(self.whole(x))
            self.nfev += spent
            self.njev += 1
            self._latest = (x, float(value), _as_gradient(gradient, len(self.variables)))
        return self._latest[1:]


def _as_gradient(values: ArrayLike, n: int) -> Vector:
    gradient = np.asarray(values, dtype=np.float64).ravel()
    if len(gradient) != n:
        raise ValueError(f"The gradient has {len(gradient)} components, expected {n}.")
    return gradient
