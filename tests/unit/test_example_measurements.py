"""The simulated measurements in examples/ are what their script makes, and a fit finds what went into them."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from hpcpdf import fit_pdf, read_gr

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("simulate_gr", EXAMPLES / "simulate_gr.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", ["pt79", "au100"])
def test_example(script, name, tmp_path):
    script.main(tmp_path)
    made, shipped = read_gr(tmp_path / f"{name}.gr"), read_gr(EXAMPLES / f"{name}.gr")
    np.testing.assert_array_equal(shipped.r, made.r)
    np.testing.assert_allclose(shipped.g, made.g, atol=1e-5)
    assert (shipped.composition, shipped.qmin, shipped.qmax) == (made.composition, made.qmin, made.qmax)
    atoms, params, _ = script.samples()[name]
    fit = fit_pdf(atoms, shipped)
    assert fit.rw < 0.02
    assert fit.zoom == pytest.approx(1.0, abs=5e-4)
    assert fit.biso == pytest.approx(params.biso, rel=0.02)
    assert fit.qdamp == pytest.approx(params.qdamp, rel=0.1)
