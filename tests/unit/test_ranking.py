"""All fits at once against the fits one by one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from small_model import clusters

from hpcpdf import PdfParams, fit_pdf, simulate_pdf
from hpcpdf.pdf.fit import PdfFitter
from hpcpdf.pdf.gr import MeasuredPdf
from hpcpdf.pdf.ranking import rank

PARAMS = PdfParams(rmax=30.1, rstep=0.1, qmin=0.9, qmax=24.0, qdamp=0.03, biso=0.5, delta2=0.0)


def measured(positions, params=PARAMS, noise=0.02):
    r, g = simulate_pdf(positions, params, n_threads=1)
    g = 0.37 * (g + noise * np.abs(g).max() * np.random.default_rng(3).normal(size=g.size))
    return MeasuredPdf(r, g, None, params.qmin, params.qmax)


@pytest.fixture(scope="module")
def items():
    """Particles of every family, on scales of their own."""
    rng = np.random.default_rng(5)
    return [rng.uniform(0.96, 1.04) * item.positions for item in clusters(40, seed=7, min_atoms=12, max_atoms=60)]


def relatives(rng, count):
    """fcc particles of many shapes, like the proposals of a model for one PDF."""
    steps = np.array([x for x in np.ndindex(13, 13, 13) if sum(x) % 2 == 0]) - 6.0
    found = []
    for _ in range(count):
        axes, centre = rng.uniform(0.6, 1.5, 3), rng.uniform(-0.5, 0.5, 3)
        order = np.argsort(np.linalg.norm((steps - centre) / axes, axis=1), kind="stable")
        found.append(2.77 / np.sqrt(2.0) * steps[order[: rng.integers(70, 150)]])
    return found


@pytest.mark.parametrize("delta2", [0.0, 2.5])
def test_the_best_of_a_hundred_is_the_best_by_full_fits(delta2):
    params = replace(PARAMS, delta2=delta2)
    structures = relatives(np.random.default_rng(1), 100)
    pdf = measured(1.013 * structures[0][:-2], params, noise=0.0)
    ranking = rank(PdfFitter(pdf), structures)
    fits = [fit_pdf(x, pdf) for x in structures]
    expected = np.array([fit.rw for fit in fits])
    assert np.ptp(expected) > 0.05
    assert ranking.order()[0] == int(np.argmin(expected))
    np.testing.assert_allclose(ranking.rw, expected, atol=1e-3)
    np.testing.assert_allclose(ranking.zoom, [fit.zoom for fit in fits], atol=1e-4)


@pytest.mark.parametrize(
    ("change", "r_range"),
    [
        ({}, (1.5, 20.0)),
        ({"delta2": 2.0, "biso": 0.9}, (1.5, 20.0)),
        ({"rstep": 0.02, "rmax": 40.0, "qmax": 28.0}, (1.5, 24.0)),
        ({"rmax": 15.1, "biso": 0.2}, (2.0, 12.0)),
    ],
)
def test_every_structure_as_if_alone(items, change, r_range):
    pdf = measured(1.02 * items[0], replace(PARAMS, **change))
    fitter = PdfFitter(pdf, r_range)
    ranking = rank(fitter, items)
    fits = fitter.fit(items)
    expected = np.array([fit.rw for fit in fits])
    likely = expected < 0.5
    assert likely.sum() >= 3
    np.testing.assert_allclose(ranking.rw[likely], expected[likely], atol=1e-3)
    np.testing.assert_allclose(ranking.rw, expected, atol=0.03)
    assert ranking.order()[0] == int(np.argmin(expected))
    top = ranking.order()[0]
    found = [getattr(ranking, name)[top] for name in ("zoom", "biso", "qdamp", "delta2")]
    assert found == pytest.approx([getattr(fits[top], name) for name in ("zoom", "biso", "qdamp", "delta2")], rel=0.01)


@pytest.mark.parametrize("refine", [("biso",), ("zoom", "delta2"), ("zoom", "biso", "qdamp"), ()])
def test_what_is_not_refined_stays(items, refine):
    params = replace(PARAMS, delta2=1.5, qdamp=0.04)
    fitter = PdfFitter(measured(items[0], params), refine=refine, params=params)
    ranking = rank(fitter, items[:8])
    expected = fitter.fit(items[:8])
    np.testing.assert_allclose(ranking.rw[0], expected[0].rw, atol=1e-3)
    for name, value in (("zoom", 1.0), ("biso", 0.5), ("qdamp", 0.04), ("delta2", 1.5)):
        if name not in refine:
            np.testing.assert_allclose(getattr(ranking, name), value, rtol=1e-12)


def test_a_resolution_that_widens_peaks_is_kept(items):
    params = replace(PARAMS, qbroad=0.01)
    fitter = PdfFitter(measured(items[0], params), params=params)
    expected = [fit.rw for fit in fitter.fit(items[:3])]
    np.testing.assert_allclose(rank(fitter, items[:3]).rw, expected, rtol=1e-9)


def test_neither_frame_nor_company_nor_scale_matters(items):
    pdf = measured(items[0])
    whole = rank(PdfFitter(pdf), items[:20])
    turned = [Rotation.random(random_state=k).apply(x)[::-1] + 3.0 for k, x in enumerate(items[:20])]
    likely = whole.rw < 0.5
    np.testing.assert_allclose(rank(PdfFitter(pdf), turned).rw[likely], whole.rw[likely], atol=1e-4)
    alone = [rank(PdfFitter(pdf), [x]).rw[0] for x in items[:20]]
    np.testing.assert_allclose(np.array(alone)[likely], whole.rw[likely], atol=1e-4)
    larger = MeasuredPdf(pdf.r, 50.0 * pdf.g, None, pdf.qmin, pdf.qmax)
    np.testing.assert_allclose(rank(PdfFitter(larger), items[:20]).rw, whole.rw, atol=1e-6)


def test_many_are_taken_in_parts(items):
    pdf = measured(items[0])
    few, many = rank(PdfFitter(pdf), items[:5]), rank(PdfFitter(pdf), items[:5] * 30)
    np.testing.assert_allclose(many.rw, np.tile(few.rw, 30), atol=1e-4)


def test_nothing_and_next_to_nothing():
    fitter = PdfFitter(measured(2.8 * np.eye(3)))
    assert len(rank(fitter, []).rw) == 0
    assert rank(fitter, [np.zeros((1, 3)), 2.8 * np.eye(3)]).order().tolist() == [1, 0]
    assert rank(fitter, [np.zeros((1, 3))]).rw.tolist() == [1.0]
