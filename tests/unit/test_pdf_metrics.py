"""Agreement factors: definitions, invariances, broadcasting."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from hpcpdf import DataError
from hpcpdf.pdf.metrics import best_scale, epsilon2, pearson, rw

RNG = np.random.default_rng(7)
A = RNG.normal(size=200)
MANY = RNG.normal(size=(6, 200))

curves = arrays(np.float64, 30, elements=st.floats(-10.0, 10.0, width=32)).filter(lambda g: g.std() > 1e-3)


def test_rw_is_the_definition():
    expected = np.sqrt(np.sum((A - MANY[0]) ** 2) / np.sum(A**2))
    assert rw(A, MANY[0]) == pytest.approx(expected, rel=1e-14)
    assert rw(A, A) == 0.0
    assert rw(A, 0.0 * A) == 1.0


@given(curves, curves)
def test_best_scale_minimises_rw(obs, calc):
    best = rw(obs, calc, fit_scale=True)
    scale = float(best_scale(obs, calc))
    for factor in (0.9, 0.99, 1.01, 1.1):
        assert best <= rw(obs, scale * factor * calc) + 1e-12
    assert best <= 1.0 + 1e-12


@given(curves, curves, st.floats(0.1, 10.0))
def test_fitted_rw_and_unit_epsilon2_do_not_see_the_scale(a, b, factor):
    assert rw(a, factor * b, fit_scale=True) == pytest.approx(rw(a, b, fit_scale=True), abs=1e-7)
    assert epsilon2(factor * a, b) == pytest.approx(epsilon2(a, b), abs=1e-7)
    assert epsilon2(a, b) == pytest.approx(epsilon2(b, a))
    assert -1e-12 <= epsilon2(a, b) <= 4.0 + 1e-12


@given(curves, curves, st.floats(0.1, 10.0), st.floats(-5.0, 5.0))
def test_pearson_is_numpys_and_affine_invariant(a, b, factor, offset):
    expected = np.corrcoef(a, b)[0, 1]
    assert pearson(a, b) == pytest.approx(expected, abs=1e-9)
    assert pearson(a, factor * b + offset) == pytest.approx(expected, abs=1e-6)


def test_unit_epsilon2_is_twice_one_minus_cosine():
    cosine = A @ MANY[0] / np.linalg.norm(A) / np.linalg.norm(MANY[0])
    assert epsilon2(A, MANY[0]) == pytest.approx(2.0 * (1.0 - cosine))
    expected = np.sum((A / A.max() - MANY[0] / MANY[0].max()) ** 2)
    assert epsilon2(A, MANY[0], normalise="max") == pytest.approx(expected)


@pytest.mark.parametrize("function", [best_scale, rw, pearson, epsilon2])
def test_one_against_many(function):
    together = function(A, MANY)
    assert together.shape == (6,)
    np.testing.assert_allclose(together, [function(A, row) for row in MANY], rtol=1e-13)
    assert function(MANY[:, None], MANY[None]).shape == (6, 6)


def test_degenerate_curves_give_nan_without_warning():
    zero = np.zeros(200)
    assert np.isnan(rw(zero, A))
    assert best_scale(A, zero) == 0.0
    assert rw(A, zero, fit_scale=True) == 1.0
    assert np.isnan(pearson(A, zero + 0.3))
    assert np.isnan(epsilon2(A, zero))
    assert np.isnan(epsilon2(A, -np.ones(200), normalise="max"))


@pytest.mark.parametrize(("a", "b"), [(A, A[:-1]), (1.0, A), (A[:0], A[:0])])
def test_shapes_that_do_not_fit(a, b):
    with pytest.raises(DataError, match="expected the same r grid"):
        rw(a, b)
