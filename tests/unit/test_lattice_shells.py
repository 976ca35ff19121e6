"""PDFs made of shells against the Debye sum over all pairs of atoms."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from hpcpdf import PdfParams, simulate_pdf
from hpcpdf.lattice.shells import PdfData
from hpcpdf.lattice.template import LATTICES, lattice_template
from hpcpdf.pdf.params import B_PER_U

PARAMS = PdfParams(rmin=1.5, rmax=24.0, rstep=0.1, qmin=0.8, qmax=22.0, qdamp=0.035, biso=0.45)
BOND = 2.77


def structure(family: str, n_atoms: int, seed: int = 2) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Sites of a ragged particle, their positions in Å and their shell counts."""
    frame = lattice_template(family, 4.0, 9.0)
    random = np.random.default_rng(seed)
    near = np.linalg.norm(frame.sites + random.normal(0.0, 0.3, frame.sites.shape), axis=1)
    sites = np.sort(np.argsort(near)[:n_atoms]).astype(np.int32)
    return frame.sites[sites] * BOND, frame.distance, frame.core.shell_counts(sites)


def columns(params: PdfParams, r: np.ndarray, distance: np.ndarray) -> np.ndarray:
    data = PdfData(r, np.zeros_like(r), params, params.qdamp)
    weights = data.padded(data.envelope(params.qdamp))
    found = data.columns(distance * BOND, params.biso / B_PER_U, params.delta2, weights)
    assert found.shape == (len(distance), 16 * -(-len(r) // 16))
    assert not found[:, len(r) :].any()
    return found[:, : len(r)]


@pytest.mark.parametrize("family", LATTICES)
@pytest.mark.parametrize(
    "change",
    [{}, {"delta2": 2.5}, {"delta1": 0.6}, {"qbroad": 0.01}, {"delta1": 0.3, "delta2": 1.5, "qbroad": 0.02}],
    ids=lambda change: "-".join(change) or "plain",
)
def test_shells_add_up_to_the_pdf(family, change):
    params = replace(PARAMS, **change)
    positions, distance, counts = structure(family, 70)
    r, expected = simulate_pdf(positions, params, transform="exact", accuracy="direct", n_threads=1)
    found = 2.0 / len(positions) * counts @ columns(params, r, distance)
    # Shells of twinned particles stand for distances that differ by 1e-4; lattices have each distance once.
    tolerance = 1e-3 if family in ("decahedron", "icosahedron") else 1e-8
    assert np.abs(found - expected).max() < tolerance * np.abs(expected).max()


@pytest.mark.parametrize("change", [{"qmin": 0.0}, {"rstep": 0.05}, {"rmin": 0.0, "rmax": 30.1}, {"biso": 2.4}])
def test_grids_of_other_pdfs(change):
    params = replace(PARAMS, delta2=1.5, **change)
    positions, distance, counts = structure("fcc", 55)
    r, expected = simulate_pdf(positions, params, transform="exact", accuracy="direct", n_threads=1)
    found = 2.0 / len(positions) * counts @ columns(params, r, distance)
    assert np.abs(found - expected).max() < 1e-8 * np.abs(expected).max()


def test_points_that_are_not_even():
    positions, distance, counts = structure("hcp", 40)
    r, expected = simulate_pdf(positions, PARAMS, transform="exact", accuracy="direct", n_threads=1)
    some = np.sort(np.random.default_rng(4).choice(len(r), 50, replace=False))
    found = 2.0 / len(positions) * counts @ columns(PARAMS, np.ascontiguousarray(r[some]), distance)
    assert np.abs(found - expected[some]).max() < 1e-8 * np.abs(expected).max()


def test_slopes_are_those_of_the_curve():
    params = replace(PARAMS, delta1=0.2, delta2=1.5, qbroad=0.01)
    _, distance, counts = structure("fcc", 60)
    r = np.arange(1.5, 20.0, 0.1)
    data = PdfData(r, np.zeros_like(r), params, None)
    u, delta2 = 0.0055, 1.5
    weights = data.padded(data.envelope(0.03))
    m = counts.astype(float)

    def curve(log_bond: float, log_u: float, more_delta2: float) -> np.ndarray:
        at = distance * BOND * np.exp(log_bond)
        return m @ data.columns(at, u * np.exp(log_u), delta2 + more_delta2, weights)

    found = data.slopes(distance * BOND, m, u, delta2, weights)
    for row, step in zip(found, np.diag([1e-5, 1e-4, 1e-3]), strict=True):
        expected = (curve(*step) - curve(*-step)) / (2.0 * step.sum())
        assert np.abs(row - expected).max() < 2e-6 * np.abs(expected).max()


def test_as_few_points_as_hold_the_data():
    r = np.arange(1.5, 20.0, 0.01)
    data = PdfData.thinned(r, np.sin(r), PARAMS, 0.03)
    step = float(np.diff(data.r)[0])
    assert 0.5 * np.pi / PARAMS.qmax < step < np.pi / PARAMS.qmax
    np.testing.assert_array_equal(data.g, np.sin(data.r))
    assert data.independent == pytest.approx((data.r[-1] - data.r[0]) * (22.0 - 0.8) / np.pi)
    coarse = PdfData.thinned(r[::20], r[::20], PARAMS, None)
    np.testing.assert_array_equal(coarse.r, r[::20])


def test_noise_of_f_is_even_after_whitening():
    """White noise in F(Q) at high r is as large as at low r, once the envelope is taken out."""
    r = np.arange(1.5, 20.0, 0.1)
    data = PdfData(r, np.zeros_like(r), PARAMS, 0.04)
    np.testing.assert_allclose(data.whitening() * data.envelope(0.04), 1.0)
    unknown = PdfData(r, np.zeros_like(r), PARAMS, None)
    assert np.all(np.diff(unknown.whitening()) > 0.0)
