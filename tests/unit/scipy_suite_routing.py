"""A pytest plugin that sends every use of SciPy's L-BFGS-B to ours while SciPy's own tests run.

``minimize(method="L-BFGS-B")`` becomes ``minimize(method=hpcpdf.lbfgsb)``, so that SciPy calls it as a custom method;
``fmin_l_bfgs_b`` and SciPy's internal callers, which do not pass through the public ``minimize``, are met at the
function they share. Tests of other methods are left out. The file named by HPCPDF_ROUTING_REPORT receives, for each
test, its outcome and how many minimisations it sent here.
"""

import inspect
import json
import os
from pathlib import Path

import scipy.optimize
from scipy.optimize import _lbfgsb_py, _minimize

import hpcpdf

OTHER_METHODS = {
    *("nelder-mead", "powell", "cg", "bfgs", "newton-cg", "tnc", "cobyla", "cobyqa", "slsqp", "trust-constr", "dogleg"),
    *("trust-ncg", "trust-exact", "trust-krylov", "fmin", "fmin_powell", "fmin_cg", "fmin_bfgs", "fmin_ncg"),
    *("fmin_tnc", "fmin_slsqp", "fmin_cobyla"),
}

_scipy_minimize = scipy.optimize.minimize
_calls = 0
_tests: dict[str, dict] = {}


def counted_lbfgsb(*args, **kwargs):
    global _calls
    _calls += 1
    return hpcpdf.lbfgsb(*args, **kwargs)


def routed_minimize(fun, x0, args=(), method=None, jac=None, hess=None, hessp=None, bounds=None, **rest):
    by_default = method is None and bounds is not None and not rest.get("constraints")
    if by_default or (isinstance(method, str) and method.lower() == "l-bfgs-b"):
        method = counted_lbfgsb
        if isinstance(jac, str):  # minimize() does not hand the names of schemes to custom methods
            rest["options"] = {**(rest.get("options") or {}), "finite_diff_method": jac}
    return _scipy_minimize(fun, x0, args, method, jac, hess, hessp, bounds, **rest)


def routed_internal(fun, x0, args=(), jac=None, bounds=None, callback=None, **options):
    """In place of SciPy's private solver function, whose callback takes the intermediate result by position."""

    def by_name(*, intermediate_result):
        try:
            callback(intermediate_result)
        except StopIteration:
            callback.stop_iteration = True
            raise

    unset = getattr(_lbfgsb_py, "_NoValue", None)
    given = {name: value for name, value in options.items() if name not in ("disp", "iprint") or value is not unset}
    form = None if callback is None else by_name
    return counted_lbfgsb(fun, x0, args, jac=jac, bounds=bounds, callback=form, **given)


def pytest_configure(config):
    for module in (_lbfgsb_py, _minimize):
        assert hasattr(module, "_minimize_lbfgsb"), f"{module.__name__} has no _minimize_lbfgsb to stand in for"
        module._minimize_lbfgsb = routed_internal
    scipy.optimize.minimize = routed_minimize
    for marker in ("fail_slow", "xfail_on_32bit", "slow", "xslow", "thread_unsafe", "parallel_threads"):
        config.addinivalue_line("markers", f"{marker}: SciPy's")


def pytest_collection_modifyitems(config, items):
    def concerns_another_method(item):
        parameters = list(item.callspec.params.values()) if hasattr(item, "callspec") else []
        if any(isinstance(value, str) and value.lower() in OTHER_METHODS for value in parameters):
            return True
        if item.module.__name__.endswith(("basinhopping", "dual_annealing")):
            return False
        source = inspect.getsource(item.function)
        named = any(isinstance(value, str) and value.lower() == "l-bfgs-b" for value in parameters)
        return not (named or "bfgs" in source.lower() or "method" in source or "minimize" in source)

    left_out = [item for item in items if concerns_another_method(item)]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in left_out]


def pytest_runtest_setup(item):
    global _calls
    _calls = 0


def pytest_runtest_logreport(report):
    entry = _tests.setdefault(report.nodeid, {"outcome": "passed", "calls": 0, "text": ""})
    if report.when == "call":
        entry["calls"] = _calls
    if report.outcome != "passed":
        entry["outcome"] = "xfailed" if hasattr(report, "wasxfail") else report.outcome
        entry["text"] = str(report.longrepr)[-2000:]


def pytest_sessionfinish():
    Path(os.environ["HPCPDF_ROUTING_REPORT"]).write_text(json.dumps(_tests))
