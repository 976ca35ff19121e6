"""The batch solver finds the minimiser that a tight SciPy run finds, at every instruction level."""

import numpy as np
import pytest
from trilateration import SATELLITES, direct_cost_gradient, linear_start, noisy, scipy_joint

import hpcpdf
from hpcpdf.solver.trilaterate import TrilaterationStatus, instruction_levels

LEVELS = instruction_levels()


def solve(problems, **options):
    return hpcpdf.trilaterate([q[1] for q in problems], [q[2] for q in problems], SATELLITES, n_threads=1, **options)


@pytest.fixture(scope="module")
def mixture():
    """Noisy problems of all sizes, some with active bounds, and their tight solutions by SciPy."""
    rng = np.random.default_rng(11)
    cases = []
    for sigma in (0.01, 0.05, 0.1, 0.2, 0.4):
        sizes = [1, 2, 3, 4, 5, 8, 15, 16, 17, 31, 32, 33, 48, 64, 65, *rng.integers(1, 101, 5)]
        for n in sizes:
            problem = noisy(int(n), sigma, rng, scale=1.0 if n % 2 else 0.8)
            expected, _ = scipy_joint(problem[1], problem[2], SATELLITES)
            cases.append((problem, expected))
    assert sum(bool((np.abs(x) >= 1.0).any()) for _, x in cases) >= 5
    return cases


def check(cases, out):
    agreed = 0
    for k, ((_, d, a), expected) in enumerate(cases):
        reference, _ = direct_cost_gradient(expected, d, a, SATELLITES)
        x = out.positions[k].astype(float)
        cost, gradient = direct_cost_gradient(x, d, a, SATELLITES)
        assert np.abs(x).max() <= 1.0
        assert cost <= reference * (1 + 1e-6)
        assert gradient <= 2e-5
        assert out.status[k] == TrilaterationStatus.CONVERGED
        # A residual of 0.01 is known to 1e-5 of itself in float32.
        assert out.cost[k] == pytest.approx(cost, rel=2e-5)
        assert out.projected_gradient[k] == pytest.approx(gradient, abs=5e-6)
        if abs(cost - reference) <= 1e-6 * reference:
            agreed += 1
            np.testing.assert_allclose(x, expected, atol=2e-5)
    assert agreed >= 0.97 * len(cases)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("level", LEVELS)
def test_same_minimiser_as_tight_scipy(mixture, level, dtype, monkeypatch):
    monkeypatch.setenv("HPCPDF_INSTRUCTIONS", level)
    out = solve([q for q, _ in mixture], dtype=dtype)
    check(mixture, out)
    assert all(x.dtype == np.dtype(dtype) for x in out.positions)
    if dtype == "float64":
        assert out.projected_gradient.max() <= 5e-6


def test_general_solver_finds_the_same(mixture):
    out = solve([q for q, _ in mixture], solver="lbfgsb", dtype="float64")
    check(mixture, out)
    assert out.n_eval.mean() > 1.5 * solve([q for q, _ in mixture]).n_eval.mean()


def test_weights_of_one_change_nothing_and_others_count(mixture):
    rng = np.random.default_rng(3)
    problems = [q for q, _ in mixture if len(q[0]) <= 40]
    plain = solve(problems, dtype="float64")
    ones = solve(
        problems,
        dtype="float64",
        weights=[np.ones_like(q[1]) for q in problems],
        satellite_weights=[np.ones_like(q[2]) for q in problems],
    )
    for x, y in zip(plain.positions, ones.positions, strict=True):
        np.testing.assert_allclose(x, y, atol=1e-5)
    for dtype in ("float32", "float64"):
        weights = [rng.uniform(0.2, 3.0, q[1].shape) for q in problems]
        weights = [w + w.T for w in weights]
        satellite_weights = [rng.uniform(0.2, 3.0, q[2].shape) for q in problems]
        out = solve(problems, dtype=dtype, weights=weights, satellite_weights=satellite_weights)
        for k, (_, d, a) in enumerate(problems):
            x = out.positions[k].astype(float)
            cost, gradient = direct_cost_gradient(x, d, a, SATELLITES, weights[k], satellite_weights[k])
            expected, _ = scipy_joint(d, a, SATELLITES, w=weights[k], v=satellite_weights[k])
            reference, _ = direct_cost_gradient(expected, d, a, SATELLITES, weights[k], satellite_weights[k])
            assert cost <= reference * (1 + 1e-6)
            assert gradient <= 4e-5
            assert out.status[k] == 0


def test_results_depend_neither_on_threads_nor_on_neighbours(mixture):
    problems = [q for q, _ in mixture] * 3
    single = solve(problems)
    for threads in (2, 5):
        many = hpcpdf.trilaterate([q[1] for q in problems], [q[2] for q in problems], SATELLITES, n_threads=threads)
        for x, y in zip(single.positions, many.positions, strict=True):
            assert x.tobytes() == y.tobytes()
        for name in ("cost", "projected_gradient", "n_eval", "status"):
            assert getattr(single, name).tobytes() == getattr(many, name).tobytes()
    for k in (0, 7, 30, 90):
        alone = solve([problems[k]])
        assert alone.positions[0].tobytes() == single.positions[k].tobytes()


def test_padded_arrays_give_the_same_as_lists():
    rng = np.random.default_rng(8)
    sizes = np.array([7, 30, 1, 0, 12])
    problems = [noisy(int(n), 0.05, rng) for n in sizes]
    d, a = np.full((5, 30, 30), np.nan), np.full((5, 30, 11), np.nan)
    for k, n in enumerate(sizes):
        d[k, :n, :n], a[k, :n] = problems[k][1], problems[k][2]
    lists = solve(problems)
    for block in (d, d.astype(np.float32)):
        padded = hpcpdf.trilaterate(block, a, SATELLITES, counts=sizes)
        assert padded.positions.shape == (5, 30, 3)
        for k, n in enumerate(sizes):
            np.testing.assert_allclose(padded.positions[k, :n], lists.positions[k], atol=1e-5)
            assert np.isnan(padded.positions[k, n:]).all()
    full = hpcpdf.trilaterate(d[1:2], a[1:2], SATELLITES)
    np.testing.assert_allclose(full.positions[0], lists.positions[1], atol=1e-6)


def test_any_layout_and_number_type_is_read():
    rng = np.random.default_rng(9)
    _, d, a = noisy(40, 0.05, rng)
    expected = solve([(None, d, a)]).positions[0]
    big = np.zeros((80, 120))
    big[::2, ::3] = d
    variants = [
        (np.asfortranarray(d), np.asfortranarray(a)),
        (big[::2, ::3], np.ascontiguousarray(a[:, ::-1])[:, ::-1]),
        (np.ascontiguousarray(d[::-1, ::-1])[::-1, ::-1], a.astype(">f8")),
        (d.tolist(), a.tolist()),
        (d.astype(np.longdouble), a),
    ]
    for distances, anchors in variants:
        out = hpcpdf.trilaterate([distances], (anchors,), SATELLITES)
        np.testing.assert_allclose(out.positions[0], expected, atol=1e-6)
    # Lanes of one group that are laid out in every way at once.
    together = hpcpdf.trilaterate([q[0] for q in variants], [q[1] for q in variants], SATELLITES)
    for found in together.positions:
        np.testing.assert_allclose(found, expected, atol=1e-6)
    mixed = hpcpdf.trilaterate([d, d.astype(np.float32)] * 3, [a, a] * 3, SATELLITES)
    for found in mixed.positions:
        np.testing.assert_allclose(found, expected, atol=1e-5)
    single = hpcpdf.trilaterate([d.astype(np.float32)], [a.astype(np.float32)], SATELLITES.tolist())
    np.testing.assert_allclose(single.positions[0], expected, atol=1e-5)
    read_only = d.copy()
    read_only.flags.writeable = False
    assert solve([(None, read_only, a)]).positions[0].tobytes() == expected.tobytes()


def test_small_weights_are_minimised_as_far_as_they_can_be():
    rng = np.random.default_rng(14)
    _, d, a = noisy(30, 0.05, rng)
    expected = solve([(None, d, a)], dtype="float64").positions[0]
    for weight in (0.1, 0.01):
        full = [np.full(m.shape, weight) for m in (d, a)]
        out = hpcpdf.trilaterate([d], [a], SATELLITES, weights=full[:1], satellite_weights=full[1:])
        # The limit of the projected gradient, over the curvature of about 2 w n.
        np.testing.assert_allclose(out.positions[0], expected, atol=5e-6 / (weight * 15))


def test_infinities_that_would_cancel_are_refused():
    rng = np.random.default_rng(15)
    _, d, a = noisy(20, 0.05, rng)
    for low, high in ((-np.inf, np.inf), (np.nan, 1.0), (1.0, np.nan)):
        broken = d.copy()
        broken[3, 7], broken[7, 3] = low, high
        assert solve([(None, broken, a)]).status[0] == TrilaterationStatus.INVALID_INPUT


def test_more_than_a_hundred_atoms():
    rng = np.random.default_rng(10)
    for n, dtype in ((200, "float32"), (200, "float64"), (350, "float32")):
        _, d, a = noisy(n, 0.05, rng)
        out = solve([(None, d, a)], dtype=dtype)
        expected, _ = scipy_joint(d, a, SATELLITES, gtol=1e-7)
        cost, gradient = direct_cost_gradient(out.positions[0].astype(float), d, a, SATELLITES)
        reference, _ = direct_cost_gradient(expected, d, a, SATELLITES)
        assert out.status[0] == 0
        assert cost <= reference * (1 + 1e-6)
        assert gradient <= 2e-5 * n / 100


def test_exact_distances_give_back_the_structure():
    rng = np.random.default_rng(4)
    problems = [noisy(n, 0.0, rng) for n in (5, 20, 40, 70)]
    for dtype, tolerance in (("float32", 2e-6), ("float64", 1e-6)):
        for x, y in zip(solve(problems, dtype=dtype).positions, [q[0] for q in problems], strict=True):
            np.testing.assert_allclose(x, y, atol=tolerance)


def scipy_sequential(d, a):
    """The reference method's placement with an analytic gradient, from the closed-form start of each atom."""
    from scipy.optimize import minimize

    start = linear_start(a, SATELLITES)
    placed = np.zeros((0, 3))
    for i in range(len(d)):
        anchors = np.concatenate([SATELLITES, placed])
        wanted = np.concatenate([a[i], d[i, :i]])

        def cost(x, anchors=anchors, wanted=wanted):
            e = x - anchors
            r = np.linalg.norm(e, axis=1)
            return ((r - wanted) ** 2).sum(), (2 * (r - wanted) / r) @ e

        found = minimize(
            cost, start[i], jac=True, method="L-BFGS-B", bounds=[(-1, 1)] * 3, options={"gtol": 1e-9, "ftol": 0}
        )
        placed = np.concatenate([placed, found.x[None]])
    return placed


@pytest.mark.parametrize("solver", ["batch", "lbfgsb"])
def test_sequential_places_one_atom_after_another(solver):
    rng = np.random.default_rng(5)
    problems = [noisy(n, sigma, rng, scale=1.0) for n in (1, 2, 9, 33) for sigma in (0.0, 0.02, 0.1)]
    joint = solve(problems)
    for dtype in ("float32", "float64"):
        out = solve(problems, method="sequential", solver=solver, dtype=dtype)
        assert (out.status == 0).all()
        for k, (_, d, a) in enumerate(problems):
            np.testing.assert_allclose(out.positions[k], scipy_sequential(d, a), atol=2e-5)
            cost, _ = direct_cost_gradient(out.positions[k].astype(float), d, a, SATELLITES)
            assert out.cost[k] == pytest.approx(cost, rel=1e-3, abs=1e-8)
            assert joint.cost[k] <= out.cost[k] * (1 + 1e-6) + 1e-8
