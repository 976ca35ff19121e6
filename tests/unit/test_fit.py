"""Fits of clusters to PDFs: against an independent Debye sum, finite differences, and known answers."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.cluster import Decahedron, Icosahedron, Octahedron
from scipy.spatial.distance import pdist

from hpcpdf import ConfigError, DataError, PdfParams, fit_pdf, read_gr, simulate_pdf
from hpcpdf.pdf.fit import BOUNDS, PdfFitter, fit_many
from hpcpdf.pdf.fit_model import CorrelatedModel, SmoothModel, Values, histogram
from hpcpdf.pdf.gr import MeasuredPdf, write_gr
from hpcpdf.pdf.metrics import bic, independent_points, pearson, rw

PT = Atoms("Pt79", Octahedron("Pt", 5, 1).positions)
FINE = PdfParams(rmax=25.0, rstep=0.01, qmin=1.0, qmax=24.0, qdamp=0.03, biso=0.6, scale=0.5)


def measured(atoms, params, noise=0.0, **more):
    r, g = simulate_pdf(atoms, params)
    g = g + np.random.default_rng(0).normal(size=g.size) * noise * np.abs(g).max()
    return MeasuredPdf(r, g, None, params.qmin, params.qmax, **more)


def stretched(atoms, zoom):
    return Atoms(atoms.get_chemical_symbols(), atoms.positions * zoom)


def debye_f(positions, q, zoom=1.0, uiso=0.0, delta1=0.0, delta2=0.0, qbroad=0.0):
    """F(Q) of one element pair by pair, straight from the equation."""
    d = zoom * pdist(positions)
    ratio = np.maximum(1.0 - delta1 / d - delta2 / d**2 + (qbroad * d) ** 2, 0.0)
    damping = np.exp(-uiso * np.outer(ratio, q**2))
    return 2.0 / len(positions) * np.sum(damping * np.sin(np.outer(d, q)) / d[:, None], axis=0)


@pytest.mark.parametrize(
    "positions",
    [
        PT.positions,
        Icosahedron("Au", 4).positions,
        Decahedron("Pt", 3, 3, 1).positions,
        2.8 * np.stack(np.meshgrid(*[np.arange(4.0)] * 3), axis=-1).reshape(-1, 3)
        + np.random.default_rng(1).uniform(-0.4, 0.4, (64, 3)),
        np.array([[0.0, 0.0, 0.0], [2.7, 0.0, 0.0]]),
    ],
)
def test_models_are_the_debye_equation(positions):
    q = np.arange(1, 201) * 0.15
    item = histogram(positions, ["Pt"] * len(positions))
    ones = np.ones((1, q.size))
    zoom, u = np.array([0.93, 1.07]), np.array([0.004, 0.03])
    members = np.zeros(2, dtype=np.int64)
    f = SmoothModel([item], [ones], q, 1.1).evaluate(Values(zoom, u, zoom, 0.0 * u), members)[0]
    delta2 = np.array([0.0, 2.5])
    values = Values(zoom, u, zoom, delta2)
    correlated = CorrelatedModel([item], [ones], q, 0.15, 0.1, 0.02).evaluate(values, members)[0]
    for b in range(2):
        expected = debye_f(positions, q, zoom[b], u[b])
        np.testing.assert_allclose(f[b], expected, atol=3e-7 * np.abs(expected).max())
        expected = debye_f(positions, q, zoom[b], u[b], 0.1, delta2[b], 0.02)
        # Beyond the smooth wave, the width is interpolated too.
        np.testing.assert_allclose(correlated[b], expected, atol=3e-6 * np.abs(expected).max())


ALLOY = ["Pt", "Au"] * 30 + ["Pt"] * 19


@pytest.mark.parametrize("symbols", [["Pt"] * 79, ALLOY])
@pytest.mark.parametrize("moved", [False, True])
def test_distances_counted_in_blocks_are_the_same(symbols, moved, monkeypatch):
    positions = PT.positions + (0.1 * np.random.default_rng(2).normal(size=(79, 3)) if moved else 0.0)
    at_once = histogram(positions, symbols)
    monkeypatch.setattr("hpcpdf.pdf.fit_model.MANY", 10)
    monkeypatch.setattr("hpcpdf.pdf.fit_model._AT_ONCE", 500)
    in_blocks = histogram(positions, symbols)
    assert in_blocks.pairs == at_once.pairs
    assert in_blocks.amounts_at.sum() == pytest.approx(79 * 78 / 79)
    np.testing.assert_allclose(in_blocks.distances, at_once.distances, rtol=1e-12)
    np.testing.assert_allclose(in_blocks.amounts_at, at_once.amounts_at, rtol=1e-12)


def test_a_cluster_known_by_its_distances():
    pdf = measured(PT, FINE, noise=0.01)
    distance, number = np.unique(np.round(pdist(PT.positions), 9), return_counts=True)
    distance, number = np.append(distance, 9.99), np.append(number, 0)
    fitter = PdfFitter(pdf)
    want, got = fitter.fit_exactly(PT), fitter.fit_shells(distance, number, 79, "Pt")
    for name in ("rw", "pearson", "scale", "zoom", "biso", "qdamp", "delta2"):
        assert getattr(got, name) == pytest.approx(getattr(want, name), rel=1e-6, abs=1e-9)
    assert got.params.rmax == want.params.rmax
    np.testing.assert_allclose(got.g_calc, want.g_calc, atol=1e-7 * np.abs(want.g_calc).max())


@pytest.mark.parametrize("kind", ["smooth", "correlated", "all"])
def test_derivatives_are_those_of_finite_differences(kind):
    q = np.arange(3, 153) * 0.17
    item = histogram(PT.positions, ["Pt"] * len(PT))
    ones = np.ones((1, q.size))
    smooth = SmoothModel([item], [ones], q, 1.1)
    model = smooth if kind == "smooth" else CorrelatedModel([item], [ones], q, 0.17, 0.0, 0.01)
    member = np.zeros(1, dtype=np.int64)
    x = {"zoom": 1.013, "uiso": 0.008, "qdamp": 0.03, "delta2": 2.0}
    x |= {"delta1": 0.4, "qbroad": 0.03} if kind == "all" else {}

    def f(**changed):
        return model.evaluate(Values(**{k: np.array([v]) for k, v in {**x, **changed}.items()}), member)

    names = ["zoom", "uiso", "delta2", "delta1", "qbroad"]
    for order, name in enumerate(names[: {"smooth": 2, "correlated": 3, "all": 5}[kind]], start=1):
        h = 1e-5 * x[name]
        numeric = (f(**{name: x[name] + h})[0] - f(**{name: x[name] - h})[0]) / (2.0 * h)
        np.testing.assert_allclose(f()[order], numeric, atol=2e-5 * np.abs(numeric).max())


@pytest.mark.parametrize("zoom", [0.92, 0.95, 1.0, 1.013, 1.05, 1.09])
def test_known_answer_from_a_wrong_scale(zoom):
    fit = fit_pdf(stretched(PT, 1.0 / zoom), measured(PT, FINE))
    assert fit.rw < 1e-5
    assert fit.pearson == pytest.approx(1.0, abs=1e-9)
    assert fit.zoom == pytest.approx(zoom, abs=1e-6)
    assert (fit.biso, fit.qdamp, fit.scale) == pytest.approx((0.6, 0.03, 0.5), rel=1e-4)
    assert fit.notes == ()


@pytest.mark.parametrize("biso", [0.06, 0.3, 1.5, 4.0])
@pytest.mark.parametrize("shape", [Icosahedron("Pt", 3), Decahedron("Pt", 4, 2, 0), bulk("Pt", cubic=True).repeat(2)])
def test_known_answer_over_the_range_of_biso(shape, biso):
    atoms = Atoms(shape.get_chemical_symbols(), shape.positions)
    params = replace(FINE, biso=biso, qdamp=0.05, rstep=0.02)
    fit = fit_pdf(stretched(atoms, 0.97), measured(atoms, params))
    assert fit.rw < 1e-4
    assert fit.biso == pytest.approx(biso, rel=1e-3)
    assert fit.zoom == pytest.approx(1.0 / 0.97, abs=1e-5)


def test_network_grid_is_exact_too():
    params = PdfParams()
    fit = fit_pdf(stretched(PT, 1.04), measured(PT, params))
    assert fit.rw < 1e-6
    assert fit.r[0] == pytest.approx(1.5)
    assert fit.r[-1] == pytest.approx(20.0)


def test_simulate_pdf_gives_the_fitted_curve():
    wrong = Atoms("Pt55", Icosahedron("Pt", 3).positions * 1.02)
    fit = fit_pdf(wrong, measured(PT, FINE, noise=0.01))
    assert 0.1 < fit.rw < 0.9
    r, g = simulate_pdf(stretched(wrong, fit.zoom), fit.params)
    part = (r > fit.r[0] - 1e-6) & (r < fit.r[-1] + 1e-6)
    np.testing.assert_allclose(r[part], fit.r)
    np.testing.assert_allclose(g[part], fit.g_calc, atol=1e-6 * np.abs(g).max())
    assert fit.rw == pytest.approx(float(rw(fit.g_obs, g[part])), abs=1e-6)
    assert fit.pearson == pytest.approx(float(pearson(fit.g_obs, g[part])), abs=1e-6)


def test_the_fit_is_a_minimum():
    wrong = Atoms("Pt79", PT.positions + np.random.default_rng(5).normal(size=PT.positions.shape) * 0.05)
    # So short an extension keeps the Q grid the same for every Biso.
    fit = fit_pdf(wrong, measured(PT, replace(FINE, qdamp=0.045)), params=PdfParams(maxextension=1.0))
    assert fit.rw > 0.01
    assert fit.notes == ()
    for name, step in (("zoom", 1e-3), ("biso", 0.02), ("qdamp", 2e-3)):
        for sign in (-1.0, 1.0):
            zoom, params = fit.zoom, fit.params
            if name == "zoom":
                zoom += sign * step
            else:
                params = replace(params, **{name: getattr(fit, name) + sign * step})
            r, g = simulate_pdf(stretched(wrong, zoom), params)
            part = (r > fit.r[0] - 1e-6) & (r < fit.r[-1] + 1e-6)
            assert rw(fit.g_obs, g[part], fit_scale=True) > fit.rw


def test_noise_moves_the_answer_little():
    fit = fit_pdf(stretched(PT, 1.03), measured(PT, FINE, noise=0.03))
    assert fit.zoom == pytest.approx(1.0 / 1.03, abs=2e-4)
    assert fit.biso == pytest.approx(0.6, rel=0.05)
    assert 0.02 < fit.rw < 0.2


def test_fixed_parameters_stay():
    pdf = measured(PT, FINE)
    assert fit_pdf(PT, pdf, refine=()).zoom == 1.0
    fit = fit_pdf(stretched(PT, 1.02), pdf, refine="zoom", params=PdfParams(biso=0.6, qdamp=0.03))
    assert (fit.biso, fit.qdamp) == (0.6, 0.03)
    assert fit.rw < 1e-5
    assert fit_pdf(PT, pdf, refine=("biso", "qdamp", "scale")).rw < 1e-5


@pytest.mark.parametrize("delta2", [0.05, 0.5, 2.5, 5.0])
@pytest.mark.parametrize("shape", [PT, Icosahedron("Pt", 3), Decahedron("Pt", 4, 2, 0)])
def test_correlated_motion_is_found(shape, delta2):
    params = replace(FINE, delta2=delta2, rstep=0.05)
    pdf = measured(shape.positions, params)
    fit = fit_pdf(shape.positions / 1.01, pdf)
    assert fit.rw < 1e-5
    assert fit.delta2 == pytest.approx(delta2, abs=1e-4)
    assert fit.zoom == pytest.approx(1.01, abs=1e-5)
    without = fit_pdf(shape.positions, pdf, refine=("zoom", "biso", "qdamp"))
    assert without.delta2 == 0.0
    assert without.rw > 100.0 * fit.rw
    assert fit_pdf(shape.positions, pdf, refine="zoom", params=replace(params, rmax=30.0)).rw < 1e-5


@pytest.mark.parametrize("noise", [0.0, 0.003, 0.03])
@pytest.mark.parametrize("biso", [0.1, 0.6, 3.0])
@pytest.mark.parametrize("shape", [PT, Icosahedron("Pt", 3), Octahedron("Ni", 4, 0), Octahedron("Pt", 9, 3)])
def test_no_correlated_motion_is_none_exactly(shape, biso, noise):
    pdf = measured(shape.positions, replace(FINE, biso=biso, rstep=0.05), noise=noise)
    fit = fit_pdf(shape.positions / 1.01, pdf)
    assert fit.delta2 == 0.0
    assert fit.notes == ()
    assert fit_many([shape.positions], pdf)[0].delta2 == 0.0


def test_delta2_is_kept_where_it_is_worth_a_parameter():
    kept = []
    for delta2 in np.linspace(0.0, 3.0, 13):
        pdf = measured(PT, replace(FINE, rstep=0.05, delta2=float(delta2)), noise=0.05)
        (fit,) = fit_many([PT], pdf)
        (without,) = fit_many([PT], pdf, refine=("zoom", "biso", "qdamp"))
        n = independent_points(fit.r, 1.0, 24.0)
        assert n == pytest.approx(18.5 * 23.0 / np.pi)
        kept.append(fit.delta2 > 0.0)
        if kept[-1]:
            assert bic(fit.rw**2, n, 4) < bic(without.rw**2, n, 3)
        else:
            assert fit.rw == without.rw
    # One line between the two, where the noise drowns what delta2 does.
    assert kept == sorted(kept)
    assert 2 <= sum(kept) <= 11


def test_distances_of_a_lattice_are_few():
    lattice = histogram(PT.positions, ["Pt"] * len(PT))
    moved = PT.positions + np.random.default_rng(0).normal(size=PT.positions.shape) * 0.1
    other = histogram(moved, ["Pt"] * len(PT))
    assert lattice.distances.size < 40 < other.distances.size < 30.0 * 64.0
    for item in (lattice, other):
        assert item.amounts_at.sum() == pytest.approx(len(PT) - 1)
        assert item.counts.sum() == pytest.approx(len(PT) - 1)
        assert item.distances.min() > 0.0


def test_alloys():
    inner = np.linalg.norm(PT.positions - PT.positions.mean(axis=0), axis=1) < 4.5
    alloy = Atoms(np.where(inner, "Au", "Cu").tolist(), PT.positions)
    pdf = measured(alloy, FINE)
    fit = fit_pdf(stretched(alloy, 1.03), pdf)
    assert fit.rw < 1e-5
    assert fit_pdf(PT, pdf).rw > 0.02
    neutron = replace(FINE, radiation="neutron")
    seen = measured(alloy, neutron, metadata={"mode": "neutron"})
    assert fit_pdf(alloy, seen).rw < 1e-5


def test_many_at_once_are_the_same_fits():
    structures = [PT, Icosahedron("Pt", 3).positions, stretched(PT, 1.04), Decahedron("Pt", 9, 2, 0).positions]
    pdf = measured(PT, FINE, noise=0.01)
    together = fit_many(structures, pdf)
    for structure, fit in zip(structures, together, strict=True):
        alone = fit_pdf(structure, pdf)
        assert fit.rw == pytest.approx(alone.rw, abs=3e-3)
        assert fit.zoom == pytest.approx(alone.zoom, abs=1e-3)
        single = PdfFitter(pdf).fit([structure])[0]
        assert fit.rw == pytest.approx(single.rw, rel=1e-9)
        np.testing.assert_allclose(fit.g_calc, single.g_calc, atol=1e-7)
    assert fit_many([], pdf) == []


def test_a_cluster_wider_than_the_data():
    rod = Atoms("Pt40", np.arange(40)[:, None] * np.array([2.77, 0.0, 0.0]))
    params = replace(FINE, rmax=100.0, rstep=0.02)
    r, g = simulate_pdf(rod, params)
    keep = r <= 12.0
    fit = fit_pdf(rod, MeasuredPdf(r[keep], g[keep], None, 1.0, 24.0), r_range=(1.5, 12.0))
    # Only the rounding of qmin to the Q grid differs.
    assert fit.rw < 0.02


def test_limits_are_kept_and_said():
    fit = fit_pdf(stretched(PT, 1.2), measured(PT, FINE))
    for name, (low, high) in BOUNDS.items():
        assert low <= getattr(fit, name) <= high
    pdf = measured(PT, replace(FINE, qdamp=0.12))
    assert any("qdamp is at its limit 0.08" in note for note in fit_pdf(PT, pdf).notes)


def test_what_is_assumed_is_said():
    r, g = simulate_pdf(PT, FINE)
    part = r < 15.0
    fit = fit_pdf(PT, MeasuredPdf(r[part], g[part]))
    text = "; ".join(fit.notes)
    assert "does not say qmin" in text
    assert "0.8 1/Å is taken" in text
    assert "does not say qmax: 25" in text
    assert "up to 14.99 Å" in text
    assert fit.r[-1] == pytest.approx(14.99)
    stated = MeasuredPdf(r, g, None, 1.0, 24.0, metadata={"qdamp": "0.03"})
    assert fit_pdf(PT, stated, refine=("zoom", "biso")).rw < 1e-5


@pytest.mark.parametrize("shape", [Icosahedron("Pt", 2), PT, Icosahedron("Pt", 4)])
def test_a_header_without_true_qmin(shape):
    positions = shape.positions
    for qmin in (0.0, 0.1, 1.0):
        r, g = simulate_pdf(positions, replace(FINE, qmin=qmin))
        for stated in (0.0, None):
            fit = fit_pdf(positions, MeasuredPdf(r, g, None, stated, 24.0))
            if qmin == 0.0:
                # Small-angle scattering is in the data: the header may be right.
                assert fit.params.qmin == 0.0
                assert fit.rw < 1e-4
            elif qmin == 1.0:
                assert fit.params.qmin == 0.8
                assert "no small-angle scattering" in fit.notes[0]
                assert fit.rw < 0.05
        assert fit_pdf(positions, MeasuredPdf(r, g, None, max(qmin, 1e-3), 24.0)).rw < 0.05


def test_biso_of_single_atoms_is_not_used_and_that_is_said():
    own = PT.copy()
    own.set_array("biso", np.full(len(own), 2.0))
    fit = fit_pdf(own, measured(PT, FINE))
    assert fit.biso == pytest.approx(0.6, rel=1e-3)
    assert "own Biso" in fit.notes[0]


def test_no_pairs_no_curve():
    fit = fit_pdf(np.zeros((1, 3)), measured(PT, FINE))
    assert (fit.rw, fit.scale) == (1.0, 0.0)
    assert np.isnan(fit.pearson)


@pytest.mark.parametrize(
    ("atoms", "more", "error", "cause"),
    [
        (PT, {"refine": ("zom",)}, ConfigError, "unknown parameter 'zom'"),
        (PT, {"r_range": (20.0, 1.5)}, ConfigError, "expected 0 <= low < high"),
        (PT, {"r_range": (50.0, 60.0)}, DataError, "choose another r range"),
        (np.zeros((4, 2)), {}, ConfigError, r"\(n, 3\)"),
        (np.full((4, 3), np.nan), {}, ConfigError, "NaN"),
        (Atoms(), {}, ConfigError, "no atoms"),
    ],
)
def test_wrong_use(atoms, more, error, cause):
    with pytest.raises(error, match=cause):
        fit_pdf(atoms, measured(PT, FINE), **more)


# A guess for each measured file: R_w it stays below, for a simple shape, and the range.
SIMPLE = {
    "JQ_S1.gr": ("Pt", 2.77, 0.5, 20.0),
    "Au144pMBA.gr": ("Au", 2.86, 0.3, 20.0),
    "Ni-bulk.gr": ("Ni", 2.49, 0.2, 8.0),
}


@pytest.mark.parametrize("name", SIMPLE)
def test_measured_or_its_simulated_twin(name, tmp_path):
    element, neighbours, limit, end = SIMPLE[name]
    path = Path(os.environ.get("HPCPDF_MEASURED", tmp_path)) / name
    shape = {"Au": Decahedron("Au", 3, 1, 1), "Pt": Octahedron("Pt", 5, 1), "Ni": Octahedron("Ni", 9, 3)}[element]
    positions = shape.positions * neighbours / pdist(shape.positions).min()
    guess = Atoms([element] * len(positions), positions)
    if not path.exists():
        path = tmp_path / name
        write_gr(path, measured(stretched(guess, 0.98), FINE, noise=0.02, composition=element))
    fit = fit_pdf(guess, read_gr(path), r_range=(1.5, end))
    assert fit.rw < limit
    assert 0.95 < fit.zoom < 1.03


@pytest.mark.skipif("HPCPDF_MEASURED" not in os.environ, reason="HPCPDF_MEASURED names no folder of measured PDFs")
def test_measured_platinum_asks_for_correlated_motion():
    pdf = read_gr(Path(os.environ["HPCPDF_MEASURED"]) / "JQ_S1.gr")
    lattice = bulk("Pt", a=3.92, cubic=True).repeat(11).positions
    sphere = lattice[np.linalg.norm(lattice - lattice.mean(axis=0), axis=1) < 14.0]
    fit, without = fit_pdf(sphere, pdf), fit_pdf(sphere, pdf, refine=("zoom", "biso", "qdamp"))
    assert fit.rw < 0.11 < 0.15 < without.rw
    assert 3.0 < fit.delta2 < 4.5
    assert fit.biso > 1.1 * without.biso


@pytest.mark.parametrize(
    ("truth", "names"),
    [
        ({"qbroad": 0.03}, ("qbroad",)),
        ({"delta1": 0.8}, ("delta1",)),
        ({"qbroad": 0.05, "delta2": 2.0}, ("delta2", "qbroad")),
        ({"delta1": 0.5, "delta2": 1.0, "qbroad": 0.04}, ("delta1", "delta2", "qbroad")),
    ],
)
def test_widths_are_refined_on_request(truth, names):
    params = replace(FINE, **truth)
    fit = fit_pdf(stretched(PT, 0.98), measured(PT, params), refine=("zoom", "biso", "qdamp", *names))
    assert fit.rw < 1e-4
    assert fit.zoom == pytest.approx(1.0 / 0.98, abs=1e-5)
    assert (fit.biso, fit.qdamp) == pytest.approx((params.biso, params.qdamp), rel=2e-2)
    for name in names:
        assert getattr(fit, name) == pytest.approx(truth[name], rel=0.05)
    assert fit.n_parameters == 4 + len(names)
    found = simulate_pdf(stretched(PT, 0.98 * fit.zoom).positions, replace(fit.params, rmin=0.0), n_threads=1)
    np.testing.assert_allclose(np.interp(fit.r, *found), fit.g_calc, atol=1e-4 * np.abs(fit.g_calc).max())


def test_a_width_that_is_not_there_is_found_to_be_none():
    fit = fit_pdf(PT, measured(PT, FINE), refine=("zoom", "biso", "qdamp", "delta1", "qbroad"))
    assert fit.rw < 1e-4
    assert (fit.delta1, fit.qbroad) == pytest.approx((0.0, 0.0), abs=3e-3)
    assert fit.notes == ()


def test_what_is_not_named_stays_as_it_is_given():
    given = PdfParams(delta1=0.7, qbroad=0.02)
    fit = fit_pdf(PT, measured(PT, replace(FINE, delta1=0.7, qbroad=0.02)), params=given)
    assert fit.rw < 1e-4
    assert (fit.delta1, fit.qbroad, fit.delta2) == (0.7, 0.02, 0.0)
