"""The fitted zoom finds a known stretch, whatever else is known to differ, and never the wrong of several optima."""

from __future__ import annotations

import numpy as np
import pytest
from ase.cluster import Icosahedron, Octahedron

from hpcpdf import DataError, PdfParams, simulate_pdf
from hpcpdf.evaluate.fitted_zoom import fit_zooms
from hpcpdf.pdf.metrics import pearson

PARAMS = PdfParams()
SHAPES = [Octahedron("Pt", 3).positions, Octahedron("Pt", 5, 1).positions, Icosahedron("Au", 3).positions]


@pytest.mark.parametrize("zoom", [0.91, 0.953, 1.0, 1.0271, 1.089])
def test_a_known_zoom_is_found(zoom):
    _, g = simulate_pdf([zoom * item for item in SHAPES], PARAMS)
    fits = fit_zooms(SHAPES, 3.0 * g, PARAMS)
    np.testing.assert_allclose(fits.zoom, zoom, atol=1e-4)
    np.testing.assert_allclose(fits.scale, 3.0, rtol=1e-4)
    np.testing.assert_allclose(fits.pearson, 1.0, atol=1e-6)
    assert np.all(fits.rw < 1e-3)


def test_no_other_zoom_of_a_wrong_structure_agrees_better():
    _, g = simulate_pdf(SHAPES, PARAMS)
    rng = np.random.default_rng(0)
    wrong = [item * 1.04 + rng.normal(0.0, 0.2, item.shape) for item in SHAPES[::-1]]
    fits = fit_zooms(wrong, g, PARAMS)
    zooms = np.linspace(0.9, 1.1, 401)
    for i, structure in enumerate(wrong):
        _, trials = simulate_pdf([zoom * structure for zoom in zooms], PARAMS)
        # Least squares without an offset and correlation differ by the mean of a PDF, which is small.
        assert fits.pearson[i] > pearson(g[i], trials).max() - 1e-4
        assert fits.pearson[i] >= pearson(g[i], simulate_pdf(structure, PARAMS)[1]) - 1e-4


def test_the_curve_is_that_of_the_stretched_structure_with_the_parameters_of_its_pdf():
    settings = [PdfParams(biso=0.6), PdfParams(qdamp=0.02), PdfParams(qmin=1.0, qmax=20.0)]
    g = np.array([simulate_pdf(0.97 * item, one)[1] for item, one in zip(SHAPES, settings, strict=True)])
    fits = fit_zooms(SHAPES, g, settings)
    np.testing.assert_allclose(fits.zoom, 0.97, atol=1e-4)
    for i, one in enumerate(settings):
        _, expected = simulate_pdf(fits.zoom[i] * SHAPES[i], one)
        np.testing.assert_allclose(fits.g_calc[i], expected, atol=1e-6 * np.abs(expected).max())


def test_many_structures_for_one_pdf_are_the_same_as_one_by_one():
    _, g = simulate_pdf([1.03 * SHAPES[0], 0.98 * SHAPES[1]], PARAMS)
    owner = np.array([1, 0, 1, 0])
    structures = [SHAPES[2], SHAPES[1], SHAPES[1], SHAPES[0]]
    together = fit_zooms(structures, g, PARAMS, observed=owner)
    alone = fit_zooms(structures, g[owner], PARAMS)
    np.testing.assert_allclose(together.zoom, alone.zoom, atol=1e-7)
    np.testing.assert_allclose(together.pearson, alone.pearson, atol=1e-9)


def test_what_is_no_structure_has_no_zoom():
    _, g = simulate_pdf(SHAPES, PARAMS)
    fits = fit_zooms([np.full((5, 3), np.nan), np.zeros((1, 3)), SHAPES[2]], g, PARAMS)
    np.testing.assert_array_equal(np.isnan(fits.zoom), [True, True, False])
    np.testing.assert_array_equal(fits.rw[:2], 1.0)
    np.testing.assert_array_equal(fits.g_calc[:2], 0.0)


def test_no_zoom_where_none_correlates():
    _, g = simulate_pdf(SHAPES[0], PARAMS)
    fits = fit_zooms([SHAPES[0]], -g[None], PARAMS)
    # The mirrored PDF has its highest points between the peaks: some zoom may fit them a little, 1 must not.
    assert fits.pearson[0] > pearson(-g, g)
    dimer = np.array([[0.0, 0.0, 0.0], [0.0, 0.0, 5.0]])
    away = np.where(np.abs(np.arange(301) * 0.1 - 5.0) < 0.8, -1.0, 0.0)
    flat = fit_zooms([dimer], away[None], PARAMS)
    assert (flat.zoom[0], flat.scale[0], flat.rw[0]) == (1.0, 0.0, 1.0)
    np.testing.assert_allclose(flat.g_calc[0], simulate_pdf(dimer, PARAMS)[1], rtol=1e-12)


def test_wrong_use():
    _, g = simulate_pdf(SHAPES, PARAMS)
    with pytest.raises(DataError, match="one PDF a structure"):
        fit_zooms(SHAPES[:2], g, PARAMS, observed=[0])
    with pytest.raises(DataError, match="there are 3"):
        fit_zooms(SHAPES, g, PARAMS, observed=[0, 1, 3])
    with pytest.raises(DataError, match="grid of 301"):
        fit_zooms(SHAPES, g[:, :-1], PARAMS)
