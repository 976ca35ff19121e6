"""Fits with a slowly varying background, against PDFs to which one was added."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from ase.cluster import Octahedron

from hpcpdf import ConfigError, PdfParams, fit_pdf, simulate_pdf
from hpcpdf.pdf.background import Background, terms_below
from hpcpdf.pdf.gr import MeasuredPdf

PARAMS = PdfParams(rmax=25.0, rstep=0.05, qmin=1.0, qmax=24.0, qdamp=0.03, biso=0.6)
PT = Octahedron("Pt", 5, 1)
END = 20.0


def measured(added=None, noise=0.0, seed=0):
    """G(r) of a cluster, added(r) times the largest |G|, and noise that is white from qmin to qmax."""
    r, g = simulate_pdf(PT.positions, PARAMS, n_threads=1)
    size = np.abs(g).max()
    if noise:
        rng, q = np.random.default_rng(seed), np.arange(PARAMS.qmin, PARAMS.qmax, 0.1)
        waves = np.sin(np.outer(r, q)) @ rng.normal(size=q.size) + np.cos(np.outer(r, q)) @ rng.normal(size=q.size)
        g = g + noise * np.std(g) * waves / np.std(waves)
    if added is not None:
        g = g + size * added(r)
    return MeasuredPdf(r, g, None, PARAMS.qmin, PARAMS.qmax, "Pt")


def sines(r):
    return 0.15 * np.sin(np.pi * r / END) - 0.08 * np.sin(3.0 * np.pi * r / END)


def hump(r):
    """As a solvent shell leaves it; none of the fitted waves."""
    return 0.05 * r * np.exp(-((r / 7.0) ** 2))


def test_terms_are_orthonormal_and_hold_no_wave_above_qmin():
    r = np.arange(1.5, 20.01, 0.05)
    terms = terms_below(r, 1.0)
    assert terms == int(20.0 / np.pi)
    background = Background(r, terms)
    np.testing.assert_allclose(background.rows @ background.rows.T, np.eye(terms), atol=1e-12)
    slow, fast = np.sin(3.0 * np.pi * r / r[-1]), np.sin(8.0 * r)
    np.testing.assert_allclose(background.of(slow), slow, atol=1e-12)
    assert np.linalg.norm(background.of(fast)) < 0.1 * np.linalg.norm(fast)
    np.testing.assert_allclose(background.of(background.without(fast)), 0.0, atol=1e-12)


def test_a_background_of_these_terms_is_taken_out_exactly():
    plain, pdf = fit_pdf(PT, measured()), measured(sines)
    spoilt, fit = fit_pdf(PT, pdf), fit_pdf(PT, pdf, background=3)
    assert spoilt.rw > 0.1
    assert fit.rw < 1e-5
    for name in ("scale", "zoom", "biso", "qdamp"):
        assert getattr(fit, name) == pytest.approx(getattr(plain, name), rel=1e-4)
    assert fit.n_parameters == plain.n_parameters + 3
    assert fit.background_terms == 3
    added = pdf.between(1.5, END).g - measured().between(1.5, END).g
    np.testing.assert_allclose(fit.background, added, atol=1e-4 * np.abs(added).max())
    r, own = simulate_pdf(PT.positions * fit.zoom, fit.params, n_threads=1)
    np.testing.assert_allclose(np.interp(fit.r, r, own) + fit.background, fit.g_calc, atol=1e-4 * own.max())


def test_what_pays_is_taken_and_mends_the_parameters():
    clean = fit_pdf(PT, measured(noise=0.05))
    pdf = measured(hump, noise=0.05)
    spoilt, fit = fit_pdf(PT, pdf), fit_pdf(PT, pdf, background="auto")
    assert 2 <= fit.background_terms <= 6
    assert any("background" in note for note in fit.notes)
    assert fit.rw < 0.06 < 0.2 < spoilt.rw
    for name, small in (("scale", 0.02), ("biso", 0.03), ("qdamp", 0.03)):
        assert abs(getattr(fit, name) / getattr(clean, name) - 1.0) < small
    assert abs(spoilt.scale / clean.scale - 1.0) + abs(spoilt.biso / clean.biso - 1.0) > 0.03


def test_none_is_taken_where_there_is_none():
    taken = 0
    for seed in range(8):
        pdf = measured(noise=0.05, seed=seed)
        fit = fit_pdf(PT, pdf, background="auto")
        taken += fit.background_terms
        if not fit.background_terms:
            same = fit_pdf(PT, pdf)
            assert (fit.rw, fit.biso, fit.n_parameters) == (same.rw, same.biso, same.n_parameters)
            assert fit.background is None
    assert taken <= 1


def test_other_requests_are_refused():
    pdf = measured()
    for wrong in (7, -1, True, "many", 1.0):
        with pytest.raises(ConfigError, match=r'expected None, "auto", or 0 to 6 sine terms'):
            fit_pdf(PT, pdf, background=wrong)
    low = replace(pdf, qmin=0.4)
    with pytest.raises(ConfigError, match=r"0 to 2 sine terms, as many as lie below qmin = 0\.4 1/Å up to 20 Å"):
        fit_pdf(PT, low, background=3)
