"""hpcpdf.lbfgsb where functions return NaN or infinities."""

import numpy as np
import pytest
from scipy.optimize import minimize

import hpcpdf


def gradient_of_bowl(x):
    return 2.0 * (x - 3.0)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_undefined_at_the_start_is_a_failure_at_once(value):
    for gradient in (gradient_of_bowl, lambda x: 0.0 * x):
        result = minimize(lambda x: value, [1.0, 2.0], jac=gradient, method=hpcpdf.lbfgsb)
        assert (result.success, result.status, result.message, result.nfev) == (False, 2, "ABNORMAL: ", 1)
        np.testing.assert_array_equal(result.x, [1.0, 2.0])


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_undefined_gradient_at_the_start_is_a_failure(value):
    result = minimize(lambda x: 1.0, [1.0, 2.0], jac=lambda x: np.array([1.0, value]), method=hpcpdf.lbfgsb)
    assert (result.success, result.status) == (False, 2)
    assert np.isfinite(result.x).all()


def test_undefined_start_is_a_failure():
    result = minimize(lambda x: x @ x, [np.nan, 2.0], jac=lambda x: 2 * x, method=hpcpdf.lbfgsb)
    assert (result.success, result.status) == (False, 2)


@pytest.mark.parametrize("outside", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("in_gradient_only", [True, False])
def test_search_returns_from_where_the_function_is_undefined(outside, in_gradient_only):
    """x - log x, seen as undefined for x <= 0; started where the first steps leap across."""
    asked = []

    def fun(x):
        asked.append(x)
        if np.all(x > 0.0):
            return np.sum(x - np.log(x)), 1.0 - 1.0 / x
        return (0.0 if in_gradient_only else outside), np.full_like(x, outside)

    result = minimize(fun, [1e-3, 20.0, 0.5], jac=True, method=hpcpdf.lbfgsb)
    assert result.success
    assert result.fun == pytest.approx(3.0)
    assert any(np.any(x <= 0.0) for x in asked)
    assert np.isfinite(asked).all()


def test_undefined_everywhere_but_the_start():
    calls = []

    def fun(x):
        calls.append(x)
        return (1.0 if len(calls) == 1 else np.nan), np.ones(2)

    result = minimize(fun, [1.0, 2.0], jac=True, method=hpcpdf.lbfgsb)
    assert (result.status, result.message, result.fun) == (2, "ABNORMAL: ", 1.0)
    np.testing.assert_array_equal(result.x, [1.0, 2.0])
    assert len(calls) == 21


def test_unbounded_function_is_not_called_a_success():
    with np.errstate(over="ignore"):
        result = minimize(lambda x: -np.exp(x[0]), [1.0], jac=lambda x: -np.exp(x), method=hpcpdf.lbfgsb)
    assert np.isfinite(result.fun)
    assert not result.success
