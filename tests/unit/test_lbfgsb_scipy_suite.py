"""SciPy's own tests of L-BFGS-B, as installed beside SciPy, run against hpcpdf.lbfgsb."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import scipy

MODULES = (
    "test_optimize",
    "test_lbfgsb_hessinv",
    "test_lbfgsb_setulb",
    "test_minimize_constrained",
    "test__basinhopping",
    "test__dual_annealing",
)
# Each must have run and minimised here; names that have been in SciPy since 1.14 at the latest.
ESSENTIAL = (
    *("test_l_bfgs_b", "test_l_bfgs_b_numjac", "test_l_bfgs_b_funjac", "test_l_bfgs_b_maxiter"),
    *("test_minimize_l_bfgs_b", "test_minimize_l_bfgs_b_ftol", "test_minimize_l_bfgs_maxls"),
    *("test_minimize_l_bfgs_b_maxfun_interruption", "test_l_bfgs_b_bounds", "test_minimize_l_bfgs_b_bounds"),
    *("test_minimize_l_bfgs_b_incorrect_bounds", "test_minimize_l_bfgs_b_bounds_FD", "test_minimize_tol_parameter"),
    *("test_minimize_callback_copies_array", "test_initial_step_scaling", "test_nan_values", "test_equal_bounds"),
    *("test_duplicate_evaluations", "test_callback_stopiteration", "test_all_bounds_equal", "test_gh_issue18730"),
    *("test_1", "test_2", "test_no_increase", "test_respect_maxiter", "test_minimize_with_scalar"),
)
# Before 1.15 SciPy worded its messages differently, and one test compares them.
OTHER_WORDING = ("test_l_bfgs_b_maxiter",) if tuple(map(int, scipy.__version__.split(".")[:2])) < (1, 15) else ()


@pytest.mark.slow
def test_scipys_own_suite_passes(tmp_path):
    package = "scipy.optimize.tests"
    assert importlib.util.find_spec(package) is not None, (
        f"{package} is not installed: this SciPy comes without its tests; the wheel from PyPI has them"
    )
    report = tmp_path / "report.json"
    configuration = tmp_path / "pytest.ini"
    configuration.write_text("[pytest]\n")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    environment.update(
        PYTHONPATH=os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep),
        HPCPDF_ROUTING_REPORT=str(report),
        OMP_NUM_THREADS="1",
        OPENBLAS_NUM_THREADS="1",
    )
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-c",
        str(configuration),
        f"--rootdir={Path(scipy.__file__).parent}",
    ]
    command += [
        f"--rootdir={Path(scipy.__file__).parent}",
        "-p",
        "scipy_suite_routing",
        "-p",
        "no:cacheprovider",
        "--pyargs",
    ]
    run = subprocess.run(
        [*command, *(f"{package}.{module}" for module in MODULES)],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )
    assert report.exists(), run.stdout[-3000:] + run.stderr[-3000:]
    tests = json.loads(report.read_text())
    routed = {name: test for name, test in tests.items() if test["calls"]}
    failed = [
        name
        for name, test in tests.items()
        if test["outcome"] == "failed" and name.split("::")[-1] not in OTHER_WORDING
    ]
    assert not failed, "\n\n".join(f"{name}\n{tests[name]['text']}" for name in failed)
    assert run.returncode in (0, 1), run.stdout[-3000:]

    plain = {name.split("::")[-1].split("[")[0] for name in routed}
    assert set(ESSENTIAL) <= plain, sorted(set(ESSENTIAL) - plain)
    print(f"{len(routed)} tests sent {sum(test['calls'] for test in routed.values())} minimisations here")
    assert len(routed) >= 80
