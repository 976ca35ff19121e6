"""Whatever the function, no point that hpcpdf.lbfgsb asks for or reports lies outside the box, and no step goes up."""

from itertools import pairwise
from zlib import crc32

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import Bounds

import hpcpdf

FUNCTIONS = ("quartic", "waves", "cliff", "noise", "domain", "flat")


@st.composite
def boxes(draw):
    """Lower and upper bounds and a start: free, one-sided, narrow by one rounding unit, fixed, huge, far away."""
    n = draw(st.integers(1, 12))
    value = st.one_of(
        st.floats(-3, 3), st.sampled_from([0.0, 1.0, -1.0, 1e-300, 1e8, -1e8]), st.floats(-1e6, 1e6, width=32)
    )
    lower, upper = [], []
    for _ in range(n):
        kind = draw(st.sampled_from(["free", "lower", "upper", "both", "fixed", "sliver"]))
        a = draw(value)
        b = a + abs(draw(value)) if kind == "both" else np.nextafter(a, np.inf) if kind == "sliver" else a
        lower.append(-np.inf if kind in ("free", "upper") else a)
        upper.append(np.inf if kind in ("free", "lower") else b)
    x0 = draw(st.lists(value, min_size=n, max_size=n))
    return np.array(lower), np.array(upper), np.array(x0)


def function(name, n, seed):
    """Value and gradient of a function with the named vice."""
    rng = np.random.default_rng(seed)
    centre = 2.0 * rng.normal(size=n)
    mix = rng.normal(size=(n, n))

    def quartic(x):
        y = mix @ (x - centre)
        return float(np.sum(y**4) + y @ y), mix.T @ (4 * y**3 + 2 * y)

    def waves(x):
        y = mix @ x
        return float(np.sum(np.sin(3 * y))) + 0.01 * float(x @ x), 3 * mix.T @ np.cos(3 * y) + 0.02 * x

    def cliff(x):  # a jump that the gradient knows nothing of
        return float(np.sum((x - centre) ** 2) + 10.0 * np.sum(x > centre + 0.3)), 2 * (x - centre)

    def noise(x):
        local = np.random.default_rng(crc32((x + 0.0).tobytes()))
        return float(local.normal()), local.normal(size=n)

    def domain(x):  # no value where x <= -1
        if np.any(x <= -1.0):
            return np.nan, np.full(n, np.nan)
        return float(np.sum(x - np.log1p(x))), 1 - 1 / (1 + x)

    def flat(x):
        return 7.0, np.zeros(n)

    return {"quartic": quartic, "waves": waves, "cliff": cliff, "noise": noise, "domain": domain, "flat": flat}[name]


@given(boxes(), st.sampled_from(FUNCTIONS), st.integers(0, 99), st.sampled_from([1, 3, 10]))
@settings(max_examples=200, deadline=None)
def test_every_point_with_a_gradient_is_inside(box, name, seed, maxcor):
    lower, upper, x0 = box
    fun = function(name, len(x0), seed)
    asked, iterates = [], []

    def recorded(x):
        asked.append(x.copy())
        with np.errstate(all="ignore"):
            return fun(x)

    result = hpcpdf.lbfgsb(
        recorded,
        x0,
        jac=True,
        bounds=Bounds(lower, upper),
        maxcor=maxcor,
        maxiter=60,
        callback=lambda intermediate_result: iterates.append(intermediate_result),
    )
    for point in [*asked, *(iterate.x for iterate in iterates), result.x]:
        assert np.all(point >= lower)
        assert np.all(point <= upper)
    values = [iterate.fun for iterate in iterates]
    assert all(after <= before for before, after in pairwise(values))
    if "nit" in result and result.nit:
        assert result.fun == values[-1]
        np.testing.assert_array_equal(result.x, iterates[-1].x)


@given(boxes(), st.sampled_from(["quartic", "waves", "domain"]), st.sampled_from([None, "2-point", "3-point"]))
@settings(max_examples=100, deadline=None)
def test_points_of_finite_differences_are_inside(box, name, scheme):
    lower, upper, x0 = box
    fun = function(name, len(x0), 1)
    asked = []

    def value(x):
        asked.append(x.copy())
        with np.errstate(all="ignore"):
            return fun(x)[0]

    with np.errstate(all="ignore"):
        result = hpcpdf.lbfgsb(value, x0, jac=scheme, bounds=Bounds(lower, upper), maxiter=10)
    for point in [*asked, result.x]:
        assert np.all(point >= lower)
        assert np.all(point <= upper)
    assert result.nfev == len(asked)


@given(st.integers(0, 10_000))
@settings(max_examples=60, deadline=None)
def test_the_solution_of_a_convex_problem_satisfies_its_conditions(seed):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 30))
    root = rng.normal(size=(n + 3, n))
    goal = rng.normal(size=n + 3)
    lower = np.where(rng.random(n) < 0.6, rng.normal(size=n) - 0.3, -np.inf)
    upper = np.where(rng.random(n) < 0.6, np.maximum(lower, rng.normal(size=n) + 0.3), np.inf)

    def fun(x):
        residual = root @ x - goal
        return 0.5 * float(residual @ residual), root.T @ residual

    result = hpcpdf.lbfgsb(fun, rng.normal(size=n), jac=True, bounds=Bounds(lower, upper), ftol=0.0, gtol=1e-7)
    slope = result.jac if "jac" in result else fun(result.x)[1]
    scale = 1e-5 * np.linalg.norm(root, 2) ** 2
    assert np.all(slope[result.x > lower] <= scale)
    assert np.all(slope[result.x < upper] >= -scale)


def test_a_box_of_one_point_is_not_left():
    result = hpcpdf.lbfgsb(lambda x: (float(x @ x), 2 * x), [9.0, 9.0], jac=True, bounds=[(1, 1), (2, 2)])
    np.testing.assert_array_equal(result.x, [1.0, 2.0])
    assert result.fun == pytest.approx(5.0)
