"""The batch solver finds the minimiser that a tight SciPy run finds."""

import numpy as np
import pytest
from trilateration import SATELLITES, direct_cost_gradient, noisy, scipy_joint

import hpcpdf


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("sigma", [0.01, 0.05, 0.1, 0.2, 0.4])
def test_same_minimiser_as_tight_scipy(sigma, dtype):
    rng = np.random.default_rng(int(1000 * sigma))
    problems = [noisy(int(n), sigma, rng, scale=1.0) for n in rng.integers(1, 60, 12)]
    out = hpcpdf.trilaterate([q[1] for q in problems], [q[2] for q in problems], SATELLITES, dtype=dtype, n_threads=1)
    for k, (_, d, a) in enumerate(problems):
        expected, _ = scipy_joint(d, a, SATELLITES)
        reference, _ = direct_cost_gradient(expected, d, a, SATELLITES)
        cost, gradient = direct_cost_gradient(out.positions[k].astype(float), d, a, SATELLITES)
        assert cost <= reference * (1 + 1e-6) + 1e-12
        assert gradient <= 2e-5
        assert out.status[k] == 0
        assert out.cost[k] == pytest.approx(cost, rel=1e-5)
        if abs(cost - reference) <= 1e-6 * reference:
            np.testing.assert_allclose(out.positions[k], expected, atol=2e-5)


def test_exact_distances_give_back_the_structure():
    rng = np.random.default_rng(4)
    x, d, a = noisy(40, 0.0, rng)
    out = hpcpdf.trilaterate([d], [a], SATELLITES, dtype="float64")
    np.testing.assert_allclose(out.positions[0], x, atol=1e-5)
