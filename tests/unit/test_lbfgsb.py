"""hpcpdf.lbfgsb as a method of scipy.optimize.minimize: trace, options, results, messages and callbacks."""

import numpy as np
import pytest
import scipy
from scipy.optimize import Bounds, LinearConstraint, OptimizeResult, OptimizeWarning, minimize, rosen, rosen_der
from scipy.sparse.linalg import LinearOperator

import hpcpdf

# SciPy reworded its messages in 1.15; ours are the new ones whatever SciPy is installed.
WORDING_IS_SCIPYS = tuple(map(int, scipy.__version__.split(".")[:2])) >= (1, 15)
FIELDS = {"fun", "jac", "nfev", "njev", "nit", "status", "message", "x", "success", "hess_inv"}


def bowl(x):
    return float(np.sum((x - 3.0) ** 2))


def bowl_gradient(x):
    return 2.0 * (x - 3.0)


def driver1(x):
    """Sample problem 1 of the algorithm's authors, value and gradient."""
    bend = x[1:] - x[:-1] ** 2
    gradient = np.zeros_like(x)
    gradient[0] = 2.0 * (x[0] - 1.0)
    gradient[1:] += 8.0 * bend
    gradient[:-1] -= 16.0 * x[:-1] * bend
    return 4.0 * (0.25 * (x[0] - 1.0) ** 2 + np.sum(bend**2)), gradient


def test_golden_trace():
    n = 25
    lower = np.where(np.arange(n) % 2 == 0, 1.0, -100.0)
    result = minimize(
        driver1,
        np.full(n, 3.0),
        jac=True,
        bounds=Bounds(lower, np.full(n, 100.0)),
        method=hpcpdf.lbfgsb,
        options={"maxcor": 5, "ftol": 1e7 * np.finfo(float).eps, "gtol": 1e-5},
    )
    assert (result.nit, result.nfev) == (23, 28)
    # Without rounding it is 1.08349008350e-9 (in extended precision), on the edge between two tenth digits.
    assert abs(result.fun - 1.0834900835e-9) < 1e-19
    assert result.message == "CONVERGENCE: RELATIVE REDUCTION OF F <= FACTR*EPSMCH"


def test_result_fields_are_scipys():
    options = {"maxcor": 30}  # no pair is dropped: SciPy's operator mixes up their order once pairs are
    ours = minimize(rosen, [1.3, 0.7], jac=rosen_der, method=hpcpdf.lbfgsb, options=options)
    theirs = minimize(rosen, [1.3, 0.7], jac=rosen_der, method="L-BFGS-B", options=options)
    assert isinstance(ours, OptimizeResult)
    assert set(ours) == set(theirs) == FIELDS
    for name in ("nfev", "njev", "nit", "status", "success"):
        assert ours[name] == theirs[name]
    np.testing.assert_allclose(ours.x, theirs.x, rtol=1e-9)
    np.testing.assert_allclose(ours.hess_inv.todense(), theirs.hess_inv.todense(), rtol=1e-6)


@pytest.mark.parametrize(
    "bounds", [Bounds([-1, 2.5], [0.5, np.inf]), [(-1, 0.5), (2.5, None)], ((-1, 0.5), (2.5, np.inf))]
)
def test_bounds_in_every_form(bounds):
    result = minimize(rosen, [0.0, 3.0], jac=rosen_der, bounds=bounds, method=hpcpdf.lbfgsb)
    np.testing.assert_allclose(result.x, [0.5, 2.5])


def test_scalar_bounds_apply_to_all():
    result = minimize(bowl, [0.0, 1.0, 5.0], jac=bowl_gradient, bounds=Bounds(0.0, 2.0), method=hpcpdf.lbfgsb)
    np.testing.assert_array_equal(result.x, [2.0, 2.0, 2.0])


def test_start_outside_the_bounds_is_moved_in():
    seen = []

    def fun(x):
        seen.append(x)
        return bowl(x), bowl_gradient(x)

    minimize(fun, [50.0, -50.0], jac=True, bounds=[(0, 1), (0, 1)], method=hpcpdf.lbfgsb)
    np.testing.assert_array_equal(seen[0], [1.0, 0.0])


@pytest.mark.parametrize(
    ("bounds", "words"),
    [
        ([(0, 1)] * 3, "number of bounds"),
        (Bounds([0, 0, 0], [1, 1, 1]), "number of bounds"),
        ([(2, 1), (0, 1)], "less than the corresponding lower"),
        ([(np.inf, np.inf), (0, 1)], "leaves no room"),
    ],
)
def test_contradictory_bounds_are_refused(bounds, words):
    with pytest.raises(ValueError, match=words):
        minimize(bowl, [0.5, 0.5], jac=bowl_gradient, bounds=bounds, method=hpcpdf.lbfgsb)


@pytest.mark.parametrize("bounds", [None, [(None, 0.8), (None, None), (-1, 2)]])
@pytest.mark.parametrize("scheme", [None, "2-point", "3-point", "cs"])
def test_finite_differences_count_and_step_as_scipys(scheme, bounds):
    def fun(x):
        return np.sum(np.cosh(x - [1.0, 2.0, 3.0])) + 0.3 * x[0] * x[1]

    x0 = [1.3, 0.7, 2.0]
    ours = hpcpdf.lbfgsb(fun, x0, jac=scheme, bounds=bounds)
    theirs = minimize(fun, x0, jac=scheme, bounds=bounds, method="L-BFGS-B")
    assert (ours.nfev, ours.njev, ours.nit) == (theirs.nfev, theirs.njev, theirs.nit)
    np.testing.assert_allclose(ours.x, theirs.x, rtol=1e-6)


def test_scheme_by_option_where_minimize_drops_the_name():
    x0 = [1.3, 0.7, 2.0]
    reference = minimize(rosen, x0, jac="3-point", method="L-BFGS-B")
    result = minimize(rosen, x0, method=hpcpdf.lbfgsb, options={"finite_diff_method": "3-point"})
    assert result.nfev == reference.nfev
    dropped = minimize(rosen, x0, jac="3-point", method=hpcpdf.lbfgsb)
    assert dropped.success
    np.testing.assert_allclose(dropped.x, 1.0, atol=1e-4)
    with pytest.raises(ValueError, match="unknown scheme '5-point'"):
        minimize(rosen, x0, method=hpcpdf.lbfgsb, options={"finite_diff_method": "5-point"})


@pytest.mark.parametrize("options", [{"eps": 1e-4}, {"eps": np.array([1e-3, 1e-5])}])
def test_eps_is_the_step_of_the_default_differences(options):
    seen = []

    def fun(x):
        seen.append(x)
        return bowl(x)

    minimize(fun, [1.0, 2.0], method=hpcpdf.lbfgsb, options={**options, "maxiter": 1})
    steps = np.broadcast_to(options["eps"], 2)
    np.testing.assert_allclose(seen[1] - seen[0], [steps[0], 0.0], rtol=1e-8)
    np.testing.assert_allclose(seen[2] - seen[0], [0.0, steps[1]], rtol=1e-6)


@pytest.mark.parametrize("scheme", ["2-point", "3-point"])
def test_relative_step(scheme):
    seen = []

    def fun(x):
        seen.append(x)
        return bowl(x)

    hpcpdf.lbfgsb(fun, [10.0, 2.0], jac=scheme, finite_diff_rel_step=1e-3, maxiter=1)
    np.testing.assert_allclose(np.abs(seen[1] - seen[0]), [1e-2, 0.0], rtol=1e-9)


def test_joint_function_called_directly_is_evaluated_once_a_point():
    calls = []

    def fun(x, shift):
        calls.append(x)
        return bowl(x - shift), bowl_gradient(x - shift)

    result = hpcpdf.lbfgsb(fun, [1.0, 2.0], args=1.0, jac=True)
    assert result.nfev == len(calls)
    np.testing.assert_allclose(result.x, 4.0, atol=1e-6)


def test_args_reach_function_and_gradient():
    result = minimize(
        lambda x, a, b: a * bowl(x) + b,
        [0.0, 9.0],
        args=(2.0, 7.0),
        jac=lambda x, a, b: a * bowl_gradient(x),
        method=hpcpdf.lbfgsb,
    )
    assert result.fun == pytest.approx(7.0)


@pytest.mark.parametrize(
    ("options", "status", "message"),
    [
        ({"maxiter": 2}, 1, "STOP: TOTAL NO. OF ITERATIONS REACHED LIMIT"),
        ({"maxiter": 0}, 1, "STOP: TOTAL NO. OF ITERATIONS REACHED LIMIT"),
        ({"maxfun": 5}, 1, "STOP: TOTAL NO. OF F,G EVALUATIONS EXCEEDS LIMIT"),
        ({"ftol": 1e-2}, 0, "CONVERGENCE: RELATIVE REDUCTION OF F <= FACTR*EPSMCH"),
        ({"gtol": 1e-1}, 0, "CONVERGENCE: NORM OF PROJECTED GRADIENT <= PGTOL"),
        ({"maxls": 1}, 2, "ABNORMAL: "),
        ({"maxcor": 0}, 2, "ERROR: M <= 0"),
        ({"ftol": -1.0}, 2, "ERROR: FACTR < 0"),
    ],
)
def test_statuses_and_messages_are_scipys(options, status, message):
    x0 = np.array([-1.2, 1.0])
    theirs = minimize(rosen, x0, jac=rosen_der, method="L-BFGS-B", options=options)
    ours = minimize(rosen, x0, jac=rosen_der, method=hpcpdf.lbfgsb, options=options)
    assert (ours.status, ours.message, ours.success) == (status, message, status == 0)
    assert (ours.status, ours.nit, ours.nfev) == (theirs.status, theirs.nit, theirs.nfev)
    if WORDING_IS_SCIPYS:
        assert ours.message == theirs.message


def test_no_variables():
    result = minimize(bowl, [], jac=bowl_gradient, method=hpcpdf.lbfgsb)
    assert (result.status, result.message, result.nfev, result.x.shape) == (2, "ERROR: N <= 0", 1, (0,))
    assert hpcpdf.lbfgsb(bowl, [], bounds=[]).status == 2


def test_maxls_must_be_positive():
    with pytest.raises(ValueError, match="maxls must be positive"):
        minimize(bowl, [0.0], jac=bowl_gradient, method=hpcpdf.lbfgsb, options={"maxls": 0})


def test_tol_sets_both_tolerances_unless_given():
    x0 = [-1.2, 1.0]
    by_tol = minimize(rosen, x0, jac=rosen_der, method=hpcpdf.lbfgsb, tol=1e-3)
    by_name = minimize(rosen, x0, jac=rosen_der, method=hpcpdf.lbfgsb, options={"ftol": 1e-3, "gtol": 1e-3})
    tighter = minimize(rosen, x0, jac=rosen_der, method=hpcpdf.lbfgsb, tol=1e-3, options={"ftol": 0.0, "gtol": 1e-9})
    assert by_tol.nfev == by_name.nfev < tighter.nfev


def test_start_at_the_solution():
    result = minimize(bowl, [3.0, 3.0], jac=bowl_gradient, method=hpcpdf.lbfgsb)
    assert (result.nit, result.nfev, result.status) == (0, 1, 0)
    np.testing.assert_array_equal(result.hess_inv.todense(), np.eye(2))


def test_single_precision_start_and_gradient():
    def fun(x):
        x = x.astype(np.float32)
        return np.sum(x**2), 2 * x

    result = minimize(fun, np.array([1.0, 2.0], dtype=np.float32), jac=True, method=hpcpdf.lbfgsb)
    assert result.success
    assert result.x.dtype == result.jac.dtype == np.float64
    by_differences = minimize(lambda x: np.float32(np.sum(x**2)), np.array([1.0, 2.0]), method=hpcpdf.lbfgsb)
    np.testing.assert_allclose(by_differences.x, 0.0, atol=2.0)


def test_function_may_overwrite_its_argument():
    def fun(x):
        value = bowl(x)
        x[:] = np.nan
        return value

    def gradient(x):
        value = bowl_gradient(x)
        x[:] = np.nan
        return value

    for jac in (gradient, None):
        np.testing.assert_allclose(minimize(fun, [0.0, 7.0], jac=jac, method=hpcpdf.lbfgsb).x, 3.0, atol=1e-6)


@pytest.mark.parametrize("value", [np.ones(2), None, "seven", [1, 2]])
def test_function_must_return_a_number(value):
    with pytest.raises(ValueError, match=r"scalar value|could not convert"):
        minimize(lambda x: value, [0.0, 1.0], jac=bowl_gradient, method=hpcpdf.lbfgsb)


def test_array_of_one_is_a_number():
    result = minimize(lambda x: np.array([bowl(x)]), [0.0], jac=lambda x: bowl_gradient(x)[None], method=hpcpdf.lbfgsb)
    assert isinstance(result.fun, float)
    assert result.jac.shape == (1,)


def test_gradient_of_another_length_is_refused():
    with pytest.raises(ValueError, match="3 components, expected 2"):
        minimize(bowl, [0.0, 1.0], jac=lambda x: np.ones(3), method=hpcpdf.lbfgsb)


def test_x0_must_be_a_vector():
    with pytest.raises(ValueError, match="only have one dimension"):
        hpcpdf.lbfgsb(bowl, np.ones((2, 2)))
    assert hpcpdf.lbfgsb(bowl, 7.0, jac=bowl_gradient).x.shape == (1,)


def test_callback_forms_see_copies_of_every_iterate():
    plain, named = [], []
    minimize(rosen, [1.3, 0.7], jac=rosen_der, method=hpcpdf.lbfgsb, callback=plain.append)

    def by_name(intermediate_result):
        named.append(intermediate_result)
        intermediate_result.x = None  # ours to spoil

    result = minimize(rosen, [1.3, 0.7], jac=rosen_der, method=hpcpdf.lbfgsb, callback=by_name)
    assert len(plain) == len(named) == result.nit
    np.testing.assert_array_equal(plain[-1], result.x)
    assert len({point.tobytes() for point in plain}) == result.nit
    assert named[-1].fun == result.fun


@pytest.mark.parametrize("by_name", [True, False])
def test_stop_iteration_ends_the_run(by_name):
    seen = []

    def halt(x):
        seen.append(x)
        if len(seen) == 3:
            raise StopIteration

    def halt_by_name(*, intermediate_result):
        halt(intermediate_result.x)

    result = minimize(
        rosen, [1.3, 0.7], jac=rosen_der, method=hpcpdf.lbfgsb, callback=halt_by_name if by_name else halt
    )
    reference = minimize(rosen, [1.3, 0.7], jac=rosen_der, method=hpcpdf.lbfgsb, options={"maxiter": 3})
    assert (result.status, result.success, result.nit) == (99, False, 3)
    assert result.message == "`callback` raised `StopIteration`."
    np.testing.assert_array_equal(result.x, reference.x)


class _Planned(Exception):
    pass


@pytest.mark.parametrize("place", ["fun", "jac", "callback"])
def test_exceptions_pass_through(place):
    def fail(*_):
        raise _Planned

    arguments = {"fun": bowl, "jac": bowl_gradient, "callback": None, place: fail}
    with pytest.raises(_Planned):
        minimize(x0=[0.0, 1.0], method=hpcpdf.lbfgsb, **arguments)


def test_reentrant():
    """A minimisation inside the objective of another one disturbs neither."""

    def inner(x):
        best = minimize(lambda y: bowl(y - x[0]), [0.0], jac=lambda y: bowl_gradient(y - x[0]), method=hpcpdf.lbfgsb).x
        return float((best[0] - 5.0) ** 2)

    np.testing.assert_allclose(minimize(inner, [0.0], method=hpcpdf.lbfgsb).x, 2.0, atol=1e-5)


def test_fixed_variables_with_differences_are_left_out():
    bounds = [(1, 1), (0, 9), (None, None)]
    points = []
    ours = minimize(bowl, [1.0, 2.0, 0.0], bounds=bounds, method=hpcpdf.lbfgsb, callback=points.append)
    theirs = minimize(bowl, [1.0, 2.0, 0.0], bounds=bounds, method="L-BFGS-B")
    assert ours.nfev == theirs.nfev
    assert np.isnan(ours.jac[0])
    assert ours.hess_inv is None
    assert points[-1].shape == (3,)
    np.testing.assert_allclose(ours.x, [1, 3, 3], atol=1e-6)


def test_fixed_variables_with_a_gradient_stay():
    result = minimize(bowl, [7.0, 2.0], jac=bowl_gradient, bounds=[(1, 1), (0, 9)], method=hpcpdf.lbfgsb)
    np.testing.assert_array_equal(result.x, [1.0, 3.0])
    np.testing.assert_array_equal(result.jac, [-4.0, 0.0])


@pytest.mark.parametrize("jac", [None, True, bowl_gradient])
def test_all_variables_fixed(jac):
    fun = (lambda x: (bowl(x), bowl_gradient(x))) if jac is True else bowl
    result = minimize(fun, [5.0, 5.0], jac=jac, bounds=[(1, 1), (2, 2)], method=hpcpdf.lbfgsb)
    theirs = minimize(fun, [5.0, 5.0], jac=jac, bounds=[(1, 1), (2, 2)], method="L-BFGS-B")
    assert set(result) == set(theirs)
    assert (result.fun, result.success, result.message, result.nfev) == (5.0, True, theirs.message, 1)
    direct = hpcpdf.lbfgsb(fun, [5.0, 5.0], jac=jac, bounds=[(1, 1), (2, 2)])
    assert direct.fun == 5.0


def test_inverse_hessian_is_the_operator_of_the_stored_pairs():
    """On a quadratic it takes the newest gradient change back to its step, also after old pairs were dropped."""
    rng = np.random.default_rng(3)
    root = rng.normal(size=(40, 12))
    matrix = root.T @ root
    points = [np.full(12, 2.0)]
    result = minimize(
        lambda x: (0.5 * x @ matrix @ x, matrix @ x),
        points[0],
        jac=True,
        method=hpcpdf.lbfgsb,
        callback=points.append,
        options={"maxcor": 4, "maxiter": 9},
    )
    operator = result.hess_inv
    assert isinstance(operator, LinearOperator)
    assert operator.shape == (12, 12)
    # The last step is not stored yet when the run ends: the newest pair is that of the step before.
    newest = points[-2] - points[-3]
    np.testing.assert_allclose(operator @ (matrix @ newest), newest, rtol=1e-7, atol=1e-12)
    dense = operator.todense()
    np.testing.assert_allclose(dense, dense.T, atol=1e-12)
    assert np.linalg.eigvalsh(dense).min() > 0.0
    np.testing.assert_allclose(dense @ points[0], operator.matvec(points[0]), rtol=1e-9)
    assert operator.n_corrs == 4


def test_ignored_arguments_warn_as_in_scipy():
    cases = [
        ({"hess": lambda x: np.eye(2)}, "does not use Hessian information"),
        ({"hessp": lambda x, p: p}, "does not use Hessian-vector"),
        ({"constraints": LinearConstraint([[1, 1]], 0, 1)}, "cannot handle constraints"),
        ({"constraints": [{"type": "eq", "fun": lambda x: 0.0}]}, "cannot handle constraints"),
    ]
    for arguments, words in cases:
        with pytest.warns(RuntimeWarning, match=words) as caught:
            result = minimize(bowl, [0.0, 1.0], jac=bowl_gradient, method=hpcpdf.lbfgsb, **arguments)
        assert caught[0].filename == __file__
        assert result.success
    with pytest.warns(OptimizeWarning, match="Unknown solver options: maxcorr, factr"):
        minimize(bowl, [0.0], jac=bowl_gradient, method=hpcpdf.lbfgsb, options={"maxcorr": 3, "factr": 1})
    with pytest.warns(DeprecationWarning, match="disp"):
        minimize(bowl, [0.0], jac=bowl_gradient, method=hpcpdf.lbfgsb, options={"disp": True})
    with (
        pytest.warns(RuntimeWarning, match="does not support the return_all"),
        pytest.warns(OptimizeWarning, match="return_all"),
    ):
        minimize(bowl, [0.0], jac=bowl_gradient, method=hpcpdf.lbfgsb, options={"return_all": True})


def test_constraints_given_empty_do_not_warn():
    for constraints in ((), [], None):
        assert minimize(bowl, [0.0], method=hpcpdf.lbfgsb, constraints=constraints).success


@pytest.mark.parametrize("workers", [1, 2, map])
@pytest.mark.parametrize("scheme", ["2-point", "3-point"])
def test_workers_change_nothing(workers, scheme):
    options = {"workers": workers, "finite_diff_method": scheme, "maxiter": 4}
    parallel = minimize(rosen, [1.3, 0.7, 2.0], method=hpcpdf.lbfgsb, options=options)
    serial = minimize(rosen, [1.3, 0.7, 2.0], method=hpcpdf.lbfgsb, options={**options, "workers": None})
    np.testing.assert_array_equal(parallel.x, serial.x)
    assert parallel.nfev == serial.nfev


def test_impossible_workers_are_refused():
    with pytest.raises(ValueError, match="workers"):
        minimize(rosen, [1.3, 0.7], method=hpcpdf.lbfgsb, options={"workers": -3})
