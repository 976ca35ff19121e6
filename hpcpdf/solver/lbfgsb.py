"""L-BFGS-B 3.0 as a method of ``scipy.optimize.minimize``.

The algorithm is the C++ core's; this module evaluates the user's Python functions for it and speaks SciPy's dialect of
arguments, options, warnings, statuses and messages, so that ``method=hpcpdf.lbfgsb`` can stand for
``method="L-BFGS-B"``.
"""

from __future__ import annotations

import inspect
import multiprocessing
import operator
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import LbfgsInvHessProduct, OptimizeResult, OptimizeWarning

from hpcpdf import _core
from hpcpdf.solver.finite_difference import METHODS, FiniteDifference, MapLike
from hpcpdf.solver.objective import Objective, ScalarObjective, Vector, joint, with_gradient

_FTOL = 1e7 * float(np.finfo(float).eps)
_GTOL = 1e-5
_UNSET = object()
_STOPPED = "`callback` raised `StopIteration`."
_MESSAGES = {
    _core.LbfgsbTask.gradient_small: "CONVERGENCE: NORM OF PROJECTED GRADIENT <= PGTOL",
    _core.LbfgsbTask.reduction_small: "CONVERGENCE: RELATIVE REDUCTION OF F <= FACTR*EPSMCH",
    _core.LbfgsbTask.abnormal: "ABNORMAL: ",
}


def lbfgsb(
    fun: Callable[..., Any],
    x0: ArrayLike,
    args: Any = (),
    *,
    jac: Callable[..., Any] | str | bool | None = None,
    hess: Any = None,
    hessp: Any = None,
    bounds: Any = None,
    constraints: Any = (),
    callback: Callable[..., Any] | None = None,
    tol: float | None = None,
    maxcor: int = 10,
    ftol: float | None = None,
    gtol: float | None = None,
    eps: ArrayLike | None = 1e-8,
    maxfun: float = 15000,
    maxiter: float = 15000,
    maxls: int = 20,
    finite_diff_rel_step: ArrayLike | None = None,
    finite_diff_method: str | None = None,
    workers: int | MapLike | None = None,
    disp: Any = _UNSET,
    iprint: Any = _UNSET,
    **unknown_options: Any,
) -> OptimizeResult:
    """Minimise a smooth function of bounded variables by L-BFGS-B 3.0.

    Meant as ``scipy.optimize.minimize(fun, x0, method=hpcpdf.lbfgsb, ...)``, where it takes the arguments and options
    of SciPy's own L-BFGS-B and gives its results; it can also be called directly.

    Parameters
    ----------
    fun : callable
        Objective ``fun(x, *args) -> float``; with ``jac=True`` it returns value and gradient.
    x0 : (n,) array
        Starting point; moved into the bounds if outside.
    args : tuple
        Further arguments of ``fun`` and ``jac``.
    jac : callable, True, '2-point', '3-point', 'cs' or None
        Gradient ``jac(x, *args) -> (n,)``, or the finite differences to take; None takes forward differences with
        absolute step ``eps``. ``scipy.optimize.minimize`` replaces the three names by None on the way to any custom
        method: there, name the scheme in the option ``finite_diff_method``.
    hess, hessp, constraints
        Ignored with a RuntimeWarning, as SciPy does.
    bounds : scipy.optimize.Bounds or sequence of (min, max), optional
        None or an infinity where there is no bound; min = max fixes a variable.
    callback : callable, optional
        After each iteration ``callback(x)``, or ``callback(intermediate_result=OptimizeResult(x, fun))`` when that is
        its only parameter. StopIteration raised in it ends the run with status 99.
    tol : float, optional
        Sets ``ftol`` and ``gtol`` where these are not given.
    maxcor : int
        Number of correction pairs kept.
    ftol : float
        Stop when (f_k - f_k+1) / max(|f_k|, |f_k+1|, 1) <= ftol. Default 2.22e-9.
    gtol : float
        Stop when the largest component of the projected gradient <= gtol. Default 1e-5.
    eps : float or (n,) array
        Absolute step of the forward differences for ``jac=None``.
    maxfun, maxiter : int
        Limits on function evaluations (looked at between iterations; those of finite differences count) and iterations.
    maxls : int
        Evaluations that one line search may take.
    finite_diff_rel_step : float or (n,) array, optional
        Step of the finite differences relative to |x|, for the named schemes; with ``jac=None`` it selects
        '2-point'.
    finite_diff_method : {'2-point', '3-point', 'cs'}, optional
        Scheme for ``jac=None``; see ``jac``.
    workers : int or map-like callable, optional
        Evaluates the points of a finite difference in parallel, as ``workers(fun, points)``; an int starts so many
        processes (-1: one a core).
    disp, iprint
        Without effect; DeprecationWarning, as in SciPy since 1.15.

    Returns
    -------
    scipy.optimize.OptimizeResult
        With ``x, fun, jac, nfev, njev, nit, status, message, success, hess_inv``. ``status`` is 0 converged, 1 a limit
        was reached, 2 no progress (also NaN or infinity at x0) or an unusable option, 99 stopped by the callback.
        ``x, fun, jac`` always belong together, ``hess_inv`` holds the pairs from the oldest to the newest, and a
        point where the function or its gradient is NaN or infinite is never taken: the line search comes back from it.
        As in SciPy, fixed variables are left out when the gradient is by finite differences: their ``jac`` is NaN
        and ``hess_inv`` None.

    Raises
    ------
    ValueError
        Bounds that contradict each other or do not fit ``x0``, a gradient of another length, ``maxls < 1``, or a
        function that does not return a scalar.

    References
    ----------
    R. H. Byrd, P. Lu, J. Nocedal, C. Zhu, SIAM J. Sci. Comput. 16 (1995) 1190.
    C. Zhu, R. H. Byrd, P. Lu, J. Nocedal, ACM Trans. Math. Softw. 23 (1997) 550 (Algorithm 778).
    J. L. Morales, J. Nocedal, ACM Trans. Math. Softw. 38 (2011) 7.

    Examples
    --------
    >>> from scipy.optimize import minimize, rosen, rosen_der
    >>> import hpcpdf
    >>> minimize(rosen, [1.3, 0.7], jac=rosen_der, bounds=[(None, 0.5), (0, 2)], method=hpcpdf.lbfgsb).x.round(3)
    array([0.5 , 0.25])
    """
    _warn_of_ignored(hess, hessp, constraints, unknown_options, disp is not _UNSET or iprint is not _UNSET)
    start = np.atleast_1d(np.asarray(x0))
    if start.ndim != 1:
        raise ValueError("'x0' must only have one dimension.")
    start = start.astype(np.float64)
    lower, upper = _box(bounds, len(start))
    start = np.minimum(np.maximum(start, lower), upper)
    if not maxls > 0:
        raise ValueError("maxls must be positive.")
    settings = _Settings(
        maxcor=operator.index(maxcor),
        ftol=_first_given(ftol, tol, _FTOL),
        gtol=_first_given(gtol, tol, _GTOL),
        maxfun=maxfun,
        maxiter=maxiter,
        maxls=operator.index(maxls),
    )
    scalar = ScalarObjective(fun, args if isinstance(args, tuple) else (args,))

    fixed = lower == upper
    if len(start) and fixed.all():
        return _nothing_to_do(scalar, start, jac is True)
    with _mapper(workers) as mapper:
        if callable(jac):
            objective = Objective(start, with_gradient(scalar, jac))
        elif jac is True:
            objective = Objective(start, joint(scalar))
        else:
            scheme = jac if isinstance(jac, str) and jac in METHODS else finite_diff_method
            if scheme not in (None, *METHODS):
                raise ValueError(f"finite_diff_method: unknown scheme {scheme!r}, expected one of {', '.join(METHODS)}")
            if scheme is None and finite_diff_rel_step is not None:
                scheme = "2-point"
            free = np.flatnonzero(~fixed)
            difference = FiniteDifference(
                objective=scalar,
                method=scheme or "2-point",
                lower=lower,
                upper=upper,
                variables=free,
                relative_step=finite_diff_rel_step,
                absolute_step=eps if scheme is None else None,
                mapper=mapper,
            )
            objective = Objective(start, difference.evaluation(), free)
        return _run(objective, start, lower, upper, settings, _Callback(callback))


@dataclass(frozen=True)
class _Settings:
    maxcor: int
    ftol: float
    gtol: float
    maxfun: float
    maxiter: float
    maxls: int

    def fault(self, n: int) -> str | None:
        """What the algorithm cannot work with, in the words of its authors."""
        if n < 1:
            return "ERROR: N <= 0"
        if self.maxcor < 1:
            return "ERROR: M <= 0"
        if not self.ftol >= 0.0:
            return "ERROR: FACTR < 0"
        return None


def _run(
    objective: Objective, start: Vector, lower: Vector, upper: Vector, settings: _Settings, callback: _Callback
) -> OptimizeResult:
    free = objective.variables
    fault = settings.fault(len(free))
    if fault is not None:
        f, gradient = objective(start[free])
        pairs = np.empty((0, len(free))), np.empty((0, len(free)))
        return _result(objective, start[free], f, gradient, pairs, nit=0, status=2, message=fault)

    solver = _core.Lbfgsb(
        len(free), memory=settings.maxcor, ftol=settings.ftol, gtol=settings.gtol, max_line_search=settings.maxls
    )
    task = solver.start(start[free], lower[free], upper[free])
    stopped = ""
    while not stopped and (task == _core.LbfgsbTask.evaluate or task == _core.LbfgsbTask.new_iterate):
        if task == _core.LbfgsbTask.evaluate:
            task = solver.advance(*objective(solver.x))
        elif callback.asks_to_stop(objective.whole(solver.x), solver.f):
            stopped = _STOPPED
        elif solver.iterations >= settings.maxiter:
            stopped = "STOP: TOTAL NO. OF ITERATIONS REACHED LIMIT"
        elif objective.nfev > settings.maxfun:
            stopped = "STOP: TOTAL NO. OF F,G EVALUATIONS EXCEEDS LIMIT"
        else:
            task = solver.proceed()

    if stopped == _STOPPED:
        status = 99
    elif not stopped and task != _core.LbfgsbTask.abnormal:
        status = 0
    elif objective.nfev > settings.maxfun or solver.iterations >= settings.maxiter:
        status = 1
    else:
        status = 2
    return _result(
        objective,
        solver.x,
        solver.f,
        solver.gradient,
        solver.pairs,
        nit=solver.iterations,
        status=status,
        message=stopped or _MESSAGES[task],
    )


def _result(
    objective: Objective,
    x: Vector,
    f: float,
    gradient: Vector,
    pairs: tuple[Vector, Vector],
    *,
    nit: int,
    status: int,
    message: str,
) -> OptimizeResult:
    whole = objective.whole(x)
    jac = np.full(len(whole), np.nan)
    jac[objective.variables] = gradient
    return _as_result(
        fun=f,
        jac=jac,
        nfev=objective.nfev,
        njev=objective.njev,
        nit=nit,
        status=status,
        message=message,
        x=whole,
        success=status == 0,
        hess_inv=LbfgsInvHessProduct(*pairs) if len(objective.variables) == len(whole) else None,
    )


def _nothing_to_do(scalar: ScalarObjective, x: Vector, joint: bool) -> OptimizeResult:
    value = scalar.fun(x.copy(), *scalar.args)
    return _as_result(
        x=x,
        fun=value[0] if joint else value,
        success=True,
        message="All independent variables were fixed by bounds.",
        nfev=1,
        njev=0,
        nhev=0,
    )


def _as_result(**fields: Any) -> OptimizeResult:
    result = OptimizeResult()
    result.update(fields)
    return result


class _Callback:
    """The user's callback in either of its forms."""

    def __init__(self, callback: Callable[..., Any] | None) -> None:
        self._callback = callback
        self._by_name = callback is not None and _parameters(callback) == {"intermediate_result"}

    def asks_to_stop(self, x: Vector, f: float) -> bool:
        """Call it; True when it raised StopIteration."""
        if self._callback is None:
            return False
        try:
            if self._by_name:
                self._callback(intermediate_result=_as_result(x=x, fun=f))
            else:
                self._callback(x)
        except StopIteration:
            return True
        return False


def _parameters(function: Callable[..., Any]) -> set[str]:
    try:
        if sys.version_info >= (3, 14):  # annotations may name what does not exist at run time
            import annotationlib

            return set(inspect.signature(function, annotation_format=annotationlib.Format.FORWARDREF).parameters)
        return set(inspect.signature(function).parameters)
    except ValueError:  # a compiled function that does not tell
        return set()


def _first_given(*values: float | None) -> float:
    return next(float(value) for value in values if value is not None)


def _box(bounds: Any, n: int) -> tuple[Vector, Vector]:
    """Lower and upper bounds as arrays, from either of SciPy's forms; None and NaN mean no bound."""
    if bounds is None:
        return np.full(n, -np.inf), np.full(n, np.inf)
    if hasattr(bounds, "lb") and hasattr(bounds, "ub"):
        lower, upper = np.asarray(bounds.lb, dtype=float), np.asarray(bounds.ub, dtype=float)
    else:
        pairs = [(low, high) for low, high in bounds]
        lower = np.array([-np.inf if low is None else np.asarray(low, dtype=float).item() for low, _ in pairs])
        upper = np.array([np.inf if high is None else np.asarray(high, dtype=float).item() for _, high in pairs])
    lower = np.where(np.isnan(lower), -np.inf, lower)
    upper = np.where(np.isnan(upper), np.inf, upper)
    if np.any(upper < lower):
        raise ValueError("An upper bound is less than the corresponding lower bound.")
    if np.any(lower == np.inf) or np.any(upper == -np.inf):
        raise ValueError("A lower bound of +inf or an upper bound of -inf leaves no room.")
    try:
        return np.broadcast_to(lower, (n,)).copy(), np.broadcast_to(upper, (n,)).copy()
    except ValueError as error:
        raise ValueError("The number of bounds is not compatible with the length of `x0`.") from error


@contextmanager
def _mapper(workers: int | MapLike | None) -> Iterator[MapLike]:
    """The map to evaluate finite differences by; processes that an int asks for live as long as the context."""
    if workers is None:
        yield map
    elif callable(workers):
        yield workers
    else:
        count = operator.index(workers)
        if count == 1:
            yield map
        elif count > 1 or count == -1:
            method: str | None = multiprocessing.get_start_method(allow_none=True)
            if method is None and os.name == "posix":  # a forked copy of a threaded process can hang
                method = "forkserver"
            with multiprocessing.get_context(method).Pool(None if count == -1 else count) as pool:
                yield pool.map
        else:
            raise ValueError(f"workers: expected -1, an int >= 1 or a map-like callable, got {count}")


def _warn_of_ignored(hess: Any, hessp: Any, constraints: Any, unknown_options: dict[str, Any], prints: bool) -> None:
    """SciPy's warnings about what L-BFGS-B has no use for, shown where the user called minimize()."""
    ignored = [
        (hess is not None, "does not use Hessian information (hess)."),
        (hessp is not None, "does not use Hessian-vector product information (hessp)."),
        (bool(np.any(constraints)), "cannot handle constraints."),
        (bool(unknown_options.get("return_all", False)), "does not support the return_all option."),
    ]
    for applies, text in ignored:
        if applies:
            warnings.warn(f"Method L-BFGS-B {text}", RuntimeWarning, stacklevel=4)
    if unknown_options:
        warnings.warn(f"Unknown solver options: {', '.join(unknown_options)}", OptimizeWarning, stacklevel=4)
    if prints:
        warnings.warn(
            "The `disp` and `iprint` options of L-BFGS-B have no effect; SciPy removes them in 1.18.0.",
            DeprecationWarning,
            stacklevel=4,
        )
