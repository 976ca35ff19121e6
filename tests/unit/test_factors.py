"""Each correction mends what it is for, leaves an exact prediction alone, and uses nothing that it must not know."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from small_model import clusters

from hpcpdf import DataError, PdfParams, simulate_pdf
from hpcpdf.evaluate.factors import mend_disorder, mend_ordering, mend_scale, pdf_of_distances
from hpcpdf.evaluate.nearest import RealClusters
from hpcpdf.model.distances import AssignedDistances, assigned_distances
from hpcpdf.pdf.metrics import pearson
from hpcpdf.solver.satellites import satellites
from hpcpdf.solver.trilaterate import trilaterate

PARAMS = PdfParams()
LENGTH = 30.0
TRUTH = [item.positions for item in clusters(5, seed=3, min_atoms=30, max_atoms=80, families=("fcc",))]
G_TRUE = simulate_pdf(TRUTH, PARAMS)[1]
REAL = RealClusters(TRUTH[::-1], PARAMS)


def _predicted(positions: np.ndarray) -> AssignedDistances:
    return assigned_distances(positions, satellites(11), LENGTH)


@pytest.mark.parametrize(
    "params",
    [
        PARAMS,
        PdfParams(biso=0.8, qdamp=0.02, qmin=1.1, qmax=21.0, rmax=20.0, rstep=0.05, scale=2.0),
        PdfParams(delta1=0.3, delta2=1.5, qbroad=0.03),
    ],
)
def test_the_pdf_of_a_distance_list_is_that_of_its_structure(params):
    _, expected = simulate_pdf(TRUTH, params, accuracy="direct")
    lists = [np.linalg.norm(x[:, None] - x[None], axis=-1)[np.triu_indices(len(x), 1)] for x in TRUTH]
    found = pdf_of_distances(lists, [len(x) for x in TRUTH], params)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-9)
    shuffled = [np.random.default_rng(0).permutation(item) for item in lists]
    np.testing.assert_allclose(pdf_of_distances(shuffled, [len(x) for x in TRUTH], params), expected, rtol=0, atol=1e-9)


def test_an_exact_prediction_is_perfect_after_every_correction():
    scale, disorder = mend_scale(TRUTH, G_TRUE, PARAMS), mend_disorder(TRUTH, REAL)
    for g in (scale.g_calc, disorder.g_calc, mend_ordering([_predicted(x) for x in TRUTH], PARAMS)):
        np.testing.assert_allclose(pearson(G_TRUE, g), 1.0, atol=1e-6)
    for mended in (scale, disorder):
        _, again = simulate_pdf(mended.positions, PARAMS)
        np.testing.assert_allclose(mended.g_calc, again, atol=1e-5 * np.abs(again).max())


def test_scale_mends_a_wrong_zoom_and_nothing_else():
    noise = [np.random.default_rng(i).normal(0.0, 0.15, x.shape) for i, x in enumerate(TRUTH)]
    blurred = [x + dx for x, dx in zip(TRUTH, noise, strict=True)]
    stretched = [x * 1.05 for x in blurred]
    mended = mend_scale(stretched, G_TRUE, PARAMS)
    before, after = (pearson(G_TRUE, simulate_pdf(x, PARAMS)[1]) for x in (stretched, mended.positions))
    ceiling = mend_scale(blurred, G_TRUE, PARAMS)
    assert np.all(after > before)
    assert after.mean() > before.mean() + 0.2
    np.testing.assert_allclose(mended.g_calc, ceiling.g_calc, atol=1e-3 * np.abs(ceiling.g_calc).max())


def test_disorder_mends_noise_but_not_the_scale():
    noise = [np.random.default_rng(i).normal(0.0, 0.12, x.shape) for i, x in enumerate(TRUTH)]
    blurred = [x + dx for x, dx in zip(TRUTH, noise, strict=True)]
    mended = mend_disorder(blurred, REAL)
    assert [len(x) for x in mended.positions] == [len(x) for x in TRUTH]
    assert np.all(pearson(G_TRUE, mended.g_calc) > pearson(G_TRUE, simulate_pdf(blurred, PARAMS)[1]) + 0.02)
    # The truth is not looked at: a reconstruction that is too large stays too large.
    large = mend_disorder([1.05 * x for x in blurred], REAL)
    size, expected = (np.array([np.ptp(x, axis=0).max() for x in items]) for items in (large.positions, TRUTH))
    np.testing.assert_allclose(size / expected, 1.05, atol=0.015)


def test_ordering_mends_contradictory_distances():
    rng = np.random.default_rng(5)
    for truth, g in zip(TRUTH, G_TRUE, strict=True):
        right = _predicted(truth)
        # Every distance occurs, but between other atoms: no structure has them, the PDF is right all the same.
        pairs = np.triu_indices(len(truth), 1)
        mixed = np.zeros_like(right.distances)
        mixed[pairs] = rng.permutation(right.distances[pairs])
        wrong = replace(right, distances=mixed + mixed.T)
        solved = trilaterate([wrong.distances], [wrong.satellite_distances], satellites(11)).positions[0] * LENGTH
        assert pearson(g, simulate_pdf(solved.astype(float), PARAMS)[1]) < 0.9
        assert pearson(g, mend_ordering([wrong], PARAMS)[0]) == pytest.approx(1.0, abs=1e-6)


def test_what_is_no_structure_stays_none():
    nothing = np.full((4, 3), np.nan)
    scale = mend_scale([nothing, TRUTH[0]], G_TRUE[[1, 0]], PARAMS)
    disorder = mend_disorder([nothing, TRUTH[0]], REAL)
    for mended in (scale, disorder):
        assert np.isnan(mended.positions[0]).all()
        np.testing.assert_array_equal(mended.g_calc[0], 0.0)
        assert pearson(G_TRUE[0], mended.g_calc[1]) > 0.999


def test_distances_of_zero_scatter_nothing_and_no_distances_give_no_pdf():
    lists = [np.array([2.7, 0.0, 3.1]), np.array([2.7, 3.1]), np.zeros(0)]
    g = pdf_of_distances(lists, [3, 3, 1], PARAMS)
    np.testing.assert_allclose(g[0], g[1], atol=1e-12)
    np.testing.assert_array_equal(g[2], 0.0)
    assert mend_ordering([], PARAMS).shape == (0, 301)


def test_wrong_use():
    with pytest.raises(DataError, match="list 1 holds"):
        pdf_of_distances([[1.0], [-1.0]], [2, 2], PARAMS)
    with pytest.raises(DataError, match="list 0 holds"):
        pdf_of_distances([[np.nan]], [2], PARAMS)
    with pytest.raises(DataError, match="expected as many"):
        pdf_of_distances([[1.0]], [2, 2], PARAMS)
