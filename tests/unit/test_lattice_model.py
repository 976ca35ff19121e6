"""Bond length and widths of one structure: found again from afar, and followed to first order by many structures."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from hpcpdf import PdfParams, simulate_pdf
from hpcpdf.lattice.model import profile, refine, start_widths
from hpcpdf.lattice.shells import QDAMP_GUESS, PdfData, Widths
from hpcpdf.lattice.template import lattice_template
from hpcpdf.pdf.params import B_PER_U

TRUE = Widths(bond=2.781, u=0.0062, delta2=1.7, qdamp=0.042)
PARAMS = PdfParams(rmin=1.5, rmax=20.05, rstep=0.01, qmin=0.8, qmax=25.0, precision=1e-12)


def particle(family: str = "fcc", n_atoms: int = 62) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Distances of the shells, counts, and sites of the atoms nearest to a place beside the origin."""
    frame = lattice_template(family, 4.0, 8.0)
    sites = np.argsort(np.linalg.norm(frame.sites - [0.21, 0.12, 0.05], axis=1), kind="stable")[:n_atoms]
    sites = np.sort(sites).astype(np.int32)
    return frame.distance, frame.core.shell_counts(sites), sites


def measured(widths: Widths = TRUE, *, known: bool = False, family: str = "fcc", scale: float = 0.37) -> PdfData:
    """Of `particle`, simulated atom by atom."""
    _, _, sites = particle(family)
    positions = lattice_template(family, 4.0, 8.0).sites[sites] * widths.bond
    params = replace(PARAMS, qdamp=widths.qdamp, biso=widths.u * B_PER_U, delta2=widths.delta2)
    r, g = simulate_pdf(positions, params, transform="exact", accuracy="direct", n_threads=1)
    return PdfData.thinned(r, scale * g, params, widths.qdamp if known else None)


@pytest.mark.parametrize("family", ["fcc", "hcp", "bcc", "sc", "twin"])
def test_widths_are_found_again(family):
    distance, counts, _ = particle(family)
    data = measured(family=family)
    start = Widths(bond=TRUE.bond * 1.006, u=0.009, delta2=0.4, qdamp=0.02)
    fit = refine(data, distance, counts, start, rounds=30)
    assert fit.misfit < 1e-12
    for name in ("bond", "u", "delta2", "qdamp"):
        assert getattr(fit.widths, name) == pytest.approx(getattr(TRUE, name), rel=1e-6), name


def test_a_known_instrument_is_left_alone():
    distance, counts, _ = particle()
    fit = refine(measured(known=True), distance, counts, replace(TRUE, bond=2.79, u=0.005), rounds=30)
    assert fit.widths.qdamp == pytest.approx(TRUE.qdamp, rel=1e-12)
    assert fit.widths.bond == pytest.approx(TRUE.bond, rel=1e-6)
    assert fit.misfit < 1e-12


def test_delta2_is_kept_when_it_is_not_free():
    distance, counts, _ = particle()
    fit = refine(measured(), distance, counts, replace(TRUE, delta2=0.5), free_delta2=False, rounds=30)
    assert fit.widths.delta2 == 0.5
    assert fit.misfit > 1e-6


def test_the_misfit_is_what_is_left_of_the_data():
    """Against a least-squares scale of the curve worked out here."""
    distance, counts, _ = particle()
    data = measured()
    rng = np.random.default_rng(5)
    data = replace(data, g=data.g + 0.05 * np.abs(data.g).max() * rng.normal(size=data.g.size))
    fit = refine(data, distance, counts, start_widths(data, TRUE))
    w = fit.widths
    weights = data.padded(data.envelope(w.qdamp))
    g = (counts @ data.columns(distance * w.bond, w.u, w.delta2, weights))[: len(data.r)]
    metric = data.whitening()
    scale = (metric * g) @ (metric * data.g) / ((metric * g) @ (metric * g))
    left = metric * (data.g - scale * g)
    assert fit.misfit == pytest.approx(left @ left / np.sum((metric * data.g) ** 2), rel=1e-6)
    assert 0.0 < fit.misfit < 0.2


def test_refinement_never_makes_worse_and_keeps_to_its_limits():
    distance, counts, _ = particle()
    data = measured()
    far = Widths(bond=2.7, u=0.03, delta2=5.0, qdamp=0.07)
    before = refine(data, distance, counts, far, rounds=0).misfit
    fit = refine(data, distance, counts, far)
    assert fit.misfit < before <= 1.0
    assert 0.0005 <= fit.widths.u <= 0.06
    assert 0.0 <= fit.widths.delta2 <= 6.0
    assert 0.0 <= fit.widths.qdamp <= 0.08


def test_the_profile_follows_each_structure():
    """Structures near the optimum want other widths; the first order gives what a fit of each finds."""
    frame = lattice_template("fcc", 4.0, 8.0)
    distance, counts, sites = particle()
    data = measured()
    structures = [counts]
    inside = set(sites.tolist())
    bonds = np.array([sum(k in inside for k in row) for row in frame.neighbours.tolist()])
    surface = [k for k in sites.tolist() if bonds[k] <= 7][:3]
    vacant = [k for k in range(len(frame)) if k not in inside and bonds[k] >= 3][:3]
    for atom, vacancy in zip(surface, vacant, strict=True):
        for other in (inside - {atom}, inside | {vacancy}, (inside - {atom}) | {vacancy}):
            structures.append(frame.core.shell_counts(np.array(sorted(other), dtype=np.int32)))
    misfit, rw = profile(data, distance, np.array(structures), TRUE)
    assert misfit[0] < 1e-12
    metric = data.whitening()
    plain = math.sqrt(float(np.sum(data.g**2)))
    for found, share, other in zip(misfit[1:].tolist(), rw[1:].tolist(), structures[1:], strict=True):
        fit = refine(data, distance, other, TRUE, rounds=30)
        fixed = refine(data, distance, other, TRUE, rounds=0)
        assert fit.misfit < fixed.misfit
        # All of what a fit gains is seen but a tenth, and the first order never promises more than it keeps.
        assert fit.misfit * (1.0 - 1e-9) <= found + 0.02 * fit.misfit
        assert found - fit.misfit < 0.1 * (fixed.misfit - fit.misfit) + 0.02 * fit.misfit
        w = fit.widths
        g = (other @ data.columns(distance * w.bond, w.u, w.delta2, data.padded(data.envelope(w.qdamp))))[: len(data.r)]
        scale = (metric * g) @ (metric * data.g) / ((metric * g) @ (metric * g))
        assert share == pytest.approx(np.linalg.norm(data.g - scale * g) / plain, rel=0.03)


def test_profile_of_many_is_that_of_each():
    distance, counts, _ = particle()
    data = measured()
    other = np.maximum(counts - np.eye(len(counts), dtype=counts.dtype)[3], 0)
    together = profile(data, distance, np.array([counts, other]), TRUE)
    alone = profile(data, distance, np.array([other]), TRUE)
    np.testing.assert_allclose(together[0][1], alone[0][0], rtol=1e-9)
    np.testing.assert_allclose(together[1][1], alone[1][0], rtol=1e-9)


def test_start_widths_know_the_instrument():
    assert start_widths(measured(known=True), replace(TRUE, qdamp=0.0)).qdamp == TRUE.qdamp
    assert start_widths(measured(), TRUE).qdamp == QDAMP_GUESS
