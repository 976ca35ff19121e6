"""What the networks see of a PDF: free of scale, true to the curve."""

from __future__ import annotations

import numpy as np
import pytest
from small_model import clusters, pdf_batch

from hpcpdf import DataError, PdfParams, simulate_pdf
from hpcpdf.config import FAMILIES
from hpcpdf.model.features import (
    R_POINTS,
    R_STEP,
    X_GRID,
    PdfBatch,
    nearest_neighbour,
    normalised,
    reduced,
    to_network_grid,
)


@pytest.mark.parametrize("qmax", [16.0, 21.0, 28.0])
def test_first_peak_is_the_nearest_neighbour_distance(qmax):
    # Bcc's second shell, 15 % further out, leans on its first peak.
    items = clusters(18, min_atoms=20, max_atoms=60, families=[f for f in FAMILIES if f != "bcc"])
    batch = pdf_batch(items, PdfParams(qmax=qmax))
    found = nearest_neighbour(normalised(batch.pdf), batch.expected_nn)
    ratio = found / np.array([item.nn for item in items])
    # An icosahedron's bonds within a shell are 5.1 % longer than those between shells.
    twinned = np.array([item.family == "icosahedron" for item in items])
    assert np.abs(ratio[~twinned] - 1.0).max() < 0.007
    assert (ratio[twinned] > 1.0).all()
    assert (ratio[twinned] < 1.055).all()


def test_first_peak_does_not_depend_on_the_guess():
    batch = pdf_batch(clusters(7, min_atoms=20))
    pdf = normalised(batch.pdf)
    found = [nearest_neighbour(pdf, factor * batch.expected_nn) for factor in (0.97, 1.0, 1.04)]
    assert np.ptp(found, axis=0).max() < 2e-3


def test_strength_of_the_signal_is_taken_out():
    batch = pdf_batch(clusters(5))
    stronger = PdfBatch(37.0 * batch.pdf, batch.qmin, batch.qmax, batch.expected_nn)
    for one, other in zip(reduced(batch), reduced(stronger), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-10, atol=1e-12)


def test_size_of_the_atoms_is_taken_out():
    """Everything 6 % larger, the instrument's wavelength and the vibrations too: the same features."""
    items = clusters(7, max_atoms=25)
    factor = 1.06
    params = PdfParams(qmin=1.0, qmax=22.0, qdamp=0.02, biso=0.5)
    larger = PdfParams(qmin=1.0 / factor, qmax=22.0 / factor, qdamp=0.02 / factor, biso=0.5 * factor**2)
    batch = pdf_batch(items, params)
    pdfs = simulate_pdf([factor * item.positions for item in items], larger, n_threads=1)[1]
    scaled = PdfBatch(pdfs, batch.qmin / factor, batch.qmax / factor, factor * batch.expected_nn)
    (one, nn), (other, larger_nn) = reduced(batch), reduced(scaled)
    np.testing.assert_allclose(larger_nn, factor * nn, rtol=2e-3)
    assert np.abs(one - other).max() < 0.03


@pytest.mark.parametrize("qmax", [20.0, 28.0])
def test_resampling_follows_the_curve_between_grid_points(qmax):
    items = clusters(7, max_atoms=40)
    batch = pdf_batch(items, PdfParams(qmax=qmax))
    features, nn = reduced(batch)
    for item, row, bond in zip(items, features, nn, strict=True):
        r, fine = simulate_pdf(item.positions, PdfParams(qmax=qmax, rstep=0.004), n_threads=1)
        truth = np.interp(bond * X_GRID, r, fine)
        assert np.abs(row - truth / truth.max()).max() < 0.02


def test_features_end_with_the_grid():
    """Where the largest multiples of a long bond lie beyond 30 Å there is nothing."""
    batch = pdf_batch(clusters(3))
    _, nn = reduced(batch)
    wide = PdfBatch(np.roll(batch.pdf, 10, axis=1), batch.qmin, batch.qmax, batch.expected_nn + 1.0)
    features, wide_nn = reduced(wide)
    np.testing.assert_allclose(wide_nn, nn + 1.0, atol=0.02)
    beyond = wide_nn[:, None] * X_GRID > R_STEP * (R_POINTS + 3)
    assert beyond.any()
    assert not features[beyond].any()


def test_interpolation_onto_the_grid():
    r = np.arange(0.5, 12.0, 0.01)
    g = np.sin(3.0 * r)
    grid = R_STEP * np.arange(R_POINTS)
    inside = (grid >= r[0]) & (grid <= r[-1])
    row = to_network_grid(r, g)
    np.testing.assert_allclose(row[inside], np.sin(3.0 * grid[inside]), atol=1e-4)
    assert not row[~inside].any()


def test_normalised():
    pdf = pdf_batch(clusters(4)).pdf
    out = normalised(pdf)
    assert not out[:, :10].any()
    np.testing.assert_allclose(out.max(axis=1), 1.0)
    assert pdf[:, :10].any(), "the input is left alone"


@pytest.mark.parametrize("bad", [np.zeros(R_POINTS), -np.ones(R_POINTS)])
def test_a_curve_without_peaks_is_refused(bad):
    pdfs = np.vstack([pdf_batch(clusters(1)).pdf, bad])
    with pytest.raises(DataError, match="PDF 1 has no positive value"):
        normalised(pdfs)


def test_wrong_shapes_are_refused():
    one = np.ones(1)
    with pytest.raises(DataError, match=r"shape \(1, 300\)"):
        PdfBatch(np.ones((1, 300)), one, one, one)
    with pytest.raises(DataError, match="qmax has shape"):
        PdfBatch(np.ones((1, R_POINTS)), one, np.ones(2), one)
