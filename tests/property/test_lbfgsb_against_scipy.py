"""hpcpdf.lbfgsb and SciPy's L-BFGS-B on the same 240 random bound-constrained problems, n = 1 ... 500."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.optimize import Bounds, minimize

import hpcpdf

SIZES = (1, 2, 3, 5, 8, 13, 25, 60, 150, 500)
PROBLEMS_OF_A_KIND = 48
Vector = NDArray[np.float64]


@dataclass(frozen=True)
class Problem:
    """Value-and-gradient function, box, start, and the largest curvature that scales the tolerances."""

    fun: Callable[[Vector], tuple[float, Vector]]
    lower: Vector
    upper: Vector
    x0: Vector
    curvature: float


def random_box(rng: np.random.Generator, n: int, fixed: float = 0.0) -> tuple[Vector, Vector]:
    """A quarter of the variables each with no bound, a lower one, an upper one, both; then some fixed."""
    kind = rng.integers(4, size=n)
    a, b = np.sort(rng.normal(size=(2, n)), axis=0)
    lower = np.where((kind == 1) | (kind == 3), a, -np.inf)
    upper = np.where((kind == 2) | (kind == 3), b, np.inf)
    held = rng.random(n) < fixed
    return np.where(held, a, lower), np.where(held, a, upper)


def dense_matrix(rng: np.random.Generator, n: int) -> tuple[NDArray[np.float64], float]:
    """Symmetric, without a zero, eigenvalues spread from 1 to at most 100."""
    rotation = np.linalg.qr(rng.normal(size=(n, n)))[0]
    values = 10.0 ** rng.uniform(0, 2, size=n)
    return (rotation * values) @ rotation.T, float(values.max())


def dense_quadratic(rng: np.random.Generator, n: int) -> Problem:
    matrix, curvature = dense_matrix(rng, n)
    centre = rng.normal(size=n)

    def fun(x: Vector) -> tuple[float, Vector]:
        gradient = matrix @ (x - centre)
        return 0.5 * float((x - centre) @ gradient), gradient

    return Problem(fun, *random_box(rng, n), 3 * rng.normal(size=n), curvature)


def degenerate_bounds(rng: np.random.Generator, n: int) -> Problem:
    """The free minimum lies on bounds, so their multipliers are zero; so does the start; some boxes are slivers."""
    matrix, curvature = dense_matrix(rng, n)
    lower, upper = random_box(rng, n, fixed=0.1)
    sliver = rng.random(n) < 0.1
    lower = np.where(sliver, 0.3, lower)
    upper = np.where(sliver, np.nextafter(0.3, 1.0), upper)
    side = np.where(np.isfinite(lower), lower, np.where(np.isfinite(upper), upper, 0.0))
    centre = np.where(rng.random(n) < 0.8, side, np.clip(rng.normal(size=n), lower, upper))

    def fun(x: Vector) -> tuple[float, Vector]:
        gradient = matrix @ (x - centre)
        return 0.5 * float((x - centre) @ gradient), gradient

    x0 = np.where(np.isfinite(upper), upper, np.where(np.isfinite(lower), lower, 5.0))
    return Problem(fun, lower, upper, x0, curvature)


def fixed_variables(rng: np.random.Generator, n: int) -> Problem:
    matrix, curvature = dense_matrix(rng, n)
    centre = rng.normal(size=n)

    def fun(x: Vector) -> tuple[float, Vector]:
        residual = matrix @ (x - centre)
        return 0.5 * float((x - centre) @ residual) + float(np.sum(np.cosh(x))), residual + np.sinh(x)

    lower, upper = random_box(rng, n, fixed=0.4)
    if (lower == upper).all():
        lower[0], upper[0] = -np.inf, np.inf
    return Problem(fun, lower, upper, rng.normal(size=n), curvature)


def stiff_walls(rng: np.random.Generator, n: int) -> Problem:
    """Convex, far from quadratic, curvature differing from variable to variable."""
    centre = 2.0 * rng.normal(size=n)
    rate = rng.uniform(0.5, 2.0, size=n)

    def fun(x: Vector) -> tuple[float, Vector]:
        away = rate * (x - centre)
        return float(np.sum(np.cosh(away))), rate * np.sinh(away)

    return Problem(fun, *random_box(rng, n), 2.0 * rng.normal(size=n), 4.0)


def curved_valley(rng: np.random.Generator, n: int) -> Problem:
    """Chained Rosenbrock with a mild valley, started near enough to its one minimum; not convex."""
    depth = 10.0

    def fun(x: Vector) -> tuple[float, Vector]:
        bend = x[1:] - x[:-1] ** 2
        gradient = 2.0 * (x - 1.0)
        gradient[1:] += 2.0 * depth * bend
        gradient[:-1] -= 4.0 * depth * x[:-1] * bend
        return float(np.sum((x - 1.0) ** 2) + depth * np.sum(bend**2)), gradient

    lower, upper = random_box(rng, n)
    return Problem(fun, np.minimum(lower, 0.9), np.maximum(upper, 0.8), rng.uniform(0.5, 1.5, size=n), 100.0)


def solve(problem: Problem, method: object, **options: float) -> tuple[object, list[Vector]]:
    asked: list[Vector] = []

    def fun(x: Vector) -> tuple[float, Vector]:
        asked.append(x.copy())
        return problem.fun(x)

    bounds = Bounds(problem.lower, problem.upper)
    return minimize(fun, problem.x0, jac=True, bounds=bounds, method=method, options=options), asked


def same_start(ours: list[Vector], theirs: list[Vector], count: int) -> bool:
    """Whether the first points asked for agree to rounding (which the iterations amplify)."""
    return all(np.allclose(a, b, rtol=1e-6, atol=1e-7) for a, b in zip(ours[:count], theirs[:count], strict=False))


@pytest.mark.parametrize(
    "make", [dense_quadratic, degenerate_bounds, fixed_variables, stiff_walls, curved_valley], ids=lambda f: f.__name__
)
def test_same_minimum_by_the_same_path(make: Callable[[np.random.Generator, int], Problem]) -> None:
    tight = {"ftol": 0.0, "gtol": 1e-7, "maxiter": 5000, "maxfun": 10000}
    same_path = 0
    for index in range(PROBLEMS_OF_A_KIND):
        rng = np.random.default_rng([index, len(make.__name__)])
        problem = make(rng, SIZES[index % len(SIZES)])
        if np.all(problem.lower == problem.upper):
            problem = make(rng, 2 * len(problem.x0) + 1)
        memory = (3, 5, 10)[index % 3]
        ours, our_points = solve(problem, hpcpdf.lbfgsb, maxcor=memory, **tight)
        theirs, their_points = solve(problem, "L-BFGS-B", maxcor=memory, **tight)
        same_path += same_start(our_points, their_points, 25)

        where = f"{make.__name__} {index}, n = {len(problem.x0)}: {ours.message} / {theirs.message}"
        assert np.all((np.array(our_points) >= problem.lower) & (np.array(our_points) <= problem.upper)), where
        value, gradient = problem.fun(ours.x)
        assert value == ours.fun, where
        moved = np.clip(ours.x - gradient, problem.lower, problem.upper) - ours.x
        assert np.abs(moved).max() <= 1e-5 * problem.curvature, where
        assert abs(ours.fun - theirs.fun) <= 1e-9 * max(1.0, abs(theirs.fun)), where
        np.testing.assert_allclose(ours.x, theirs.x, atol=1e-5, err_msg=where)
    print(f"{make.__name__}: {PROBLEMS_OF_A_KIND} problems, first 25 points the same in {same_path}")
    assert same_path >= 0.9 * PROBLEMS_OF_A_KIND
