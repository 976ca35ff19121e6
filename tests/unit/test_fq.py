"""F(Q) and S(Q): the transform against the Debye sum that it undoes, its limits, window, errors, and refusals."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ase.cluster import Octahedron
from scipy.spatial.distance import pdist

from hpcpdf import ConfigError, DataError, PdfParams, fit_pdf, read_fq, read_gr, read_pdf, simulate_pdf
from hpcpdf.pdf.fq import Reading, transform_fq
from hpcpdf.pdf.gr import write_gr
from hpcpdf.pdf.grids import extended_grid

ATOMS = Octahedron("Pt", 5, 2)
PARAMS = PdfParams(rmax=20.0, rstep=0.05, qmin=1.0, qmax=22.0, qdamp=0.0, biso=0.6)
R, G = simulate_pdf(ATOMS.positions, PARAMS)


def simulated(qmax: float) -> np.ndarray:
    """G at `R` from Q in fine steps: a long range of r makes them so."""
    params = PdfParams(rmax=150.0, rstep=0.05, qmin=1.0, qmax=qmax, qdamp=0.0, biso=0.6)
    return simulate_pdf(ATOMS.positions, params)[1][: R.size]


def debye(q: np.ndarray) -> np.ndarray:
    """F(Q) of the cluster, from the Debye equation as it is printed."""
    d = pdist(ATOMS.positions)
    waves = np.sin(np.outer(q, d)) / d
    return 2.0 / len(ATOMS) * np.exp(-PARAMS.uiso * q**2) * waves.sum(axis=1)


def structure_factor(q: np.ndarray) -> np.ndarray:
    return 1.0 + np.divide(debye(q), q, out=np.zeros_like(q), where=q > 0.0)


def write(path: Path, header: str, *columns: np.ndarray) -> Path:
    path.write_text(header + "".join(" ".join(f"{v:.12g}" for v in row) + "\n" for row in zip(*columns, strict=True)))
    return path


def rw(of: np.ndarray, to: np.ndarray) -> float:
    return float(np.sqrt(np.sum((of - to) ** 2) / np.sum(to**2)))


FINE = np.round(np.arange(0.5, 26.0, 0.02), 4)


def test_on_the_grid_of_a_simulation_the_transform_is_the_simulation():
    grid = extended_grid(PARAMS, PARAMS.uiso)
    more = np.arange(grid.n_q + 20) * grid.qstep
    g, dg = transform_fq(more, debye(more), R, qmin=PARAMS.qmin, qmax=PARAMS.qmax)
    np.testing.assert_allclose(g, G, atol=2e-6 * np.abs(G).max())
    assert dg is None


@pytest.mark.parametrize(
    ("name", "header", "factor", "curve"),
    [
        ("a.fq", "", 1.0, debye),
        ("a.fq", "#L Q($\\AA^{-1}$)  F($\\AA^{-1}$)\n", 1.0, debye),
        ("a.sq", "", 1.0, structure_factor),
        ("a.dat", "#L Q(A^-1)  S(Q)\n", 1.0, structure_factor),
        ("a.csv", "Q S(Q)-1\n", 1.0, lambda q: structure_factor(q) - 1.0),
        ("a.txt", "# Q [1/nm]  Q[S(Q)-1] [1/nm]\n", 10.0, lambda q: 10.0 * debye(q)),
        ("a.fq", "Q(nm^-1) F(A^-1)\n", 10.0, debye),
        ("a.sq", "Q (nm-1)  S(Q)\n", 10.0, structure_factor),
    ],
)
def test_ways_to_write_it(tmp_path, name, header, factor, curve):
    q = np.round(FINE * factor, 4)
    pdf = read_pdf(write(tmp_path / name, header, q, curve(FINE)), qmin=1.0, qmax=22.0)
    assert (pdf.qmin, pdf.qmax) == (1.0, 22.0)
    assert pdf.r[-1] == 50.0
    at = np.rint(R / 0.01).astype(int)
    np.testing.assert_allclose(pdf.r[at], R, atol=1e-9)
    # Both grids of Q stand for the same range, to half a step at its ends.
    assert rw(pdf.g[at], simulated(22.0)) < 5e-3


def test_commas_and_index_as_in_other_files(tmp_path):
    q, f = FINE, debye(FINE)
    plain = read_fq(write(tmp_path / "a.fq", "", q, f), qmin=1.0, qmax=22.0)
    lines = [f"{i};{a:.12g};{b:.12g}".replace(".", ",") for i, (a, b) in enumerate(zip(q, f, strict=True))]
    (tmp_path / "b.fq").write_text("n;Q;F(Q)\n" + "\n".join(lines))
    np.testing.assert_array_equal(read_fq(tmp_path / "b.fq", qmin=1.0, qmax=22.0).g, plain.g)


@pytest.mark.parametrize("qmax", [14.0, 18.0, 25.0])
def test_another_qmax_is_that_of_a_simulation(tmp_path, qmax):
    path = write(tmp_path / "a.fq", "", FINE, debye(FINE))
    pdf = read_fq(path, qmin=1.0, qmax=qmax)
    at = np.rint(R / 0.01).astype(int)
    assert rw(pdf.g[at], simulated(qmax)) < 5e-3
    assert fit_pdf(ATOMS, pdf).rw < 0.01


def test_where_the_limits_are_from(tmp_path):
    q, f = FINE, debye(FINE)
    bare = read_fq(write(tmp_path / "a.fq", "", q, f))
    assert (bare.qmin, bare.qmax) == (0.5, q[-1])
    assert "first Q of the data" in bare.notes[0]
    head = read_fq(write(tmp_path / "b.fq", "qmin = 9 nm^-1\nqmax = 210 nm^-1\n", q, f))
    assert (head.qmin, head.qmax) == (pytest.approx(0.9), pytest.approx(21.0))
    assert "as the header says" in head.notes[0]
    asked = read_fq(tmp_path / "b.fq", qmin=1.5, qmax=20.0)
    assert (asked.qmin, asked.qmax, asked.notes) == (1.5, 20.0, ())


def test_a_lorch_window_is_a_running_mean_and_said(tmp_path):
    """Lorch's window makes of G its mean over r ± π/qmax; and no fit knows it."""
    path = write(tmp_path / "a.fq", "mode = xray\n", FINE, debye(FINE))
    plain, damped = (read_fq(path, qmin=1.0, qmax=22.0, lorch=lorch) for lorch in (False, True))
    half = np.pi / 22.0
    fine = np.linspace(-half, half, 401)
    mean = [np.trapezoid(np.interp(r + fine, plain.r, plain.g), fine) / (2.0 * half) for r in (2.77, 4.0, 5.5)]
    np.testing.assert_allclose(mean, np.interp([2.77, 4.0, 5.5], damped.r, damped.g), atol=0.01 * plain.g.max())
    assert damped.notes[-1].startswith("G(r) was damped by a Lorch window")
    assert not any("Lorch" in note for note in plain.notes)
    excess = fit_pdf(ATOMS, damped).biso - fit_pdf(ATOMS, plain).biso
    assert excess == pytest.approx(8 * np.pi**4 / (6 * 22.0**2), rel=0.3)
    assert fit_pdf(ATOMS, damped).rw > 1.5 * fit_pdf(ATOMS, plain).rw
    write_gr(tmp_path / "damped.gr", damped)
    assert any("Lorch" in note for note in read_gr(tmp_path / "damped.gr").notes)


def test_errors_are_those_of_repeated_measurements(tmp_path):
    rng = np.random.default_rng(1)
    sigma = 0.02 * (1.0 + FINE / 10.0)
    pdf = read_fq(write(tmp_path / "a.fq", "#L Q F(Q) dQ dF(Q)\n", FINE, debye(FINE), 0 * FINE, sigma), rmax=10.0)
    many = [
        transform_fq(FINE, rng.normal(0.0, sigma), pdf.r[100::100], qmin=pdf.qmin, qmax=pdf.qmax)[0] for _ in range(400)
    ]
    np.testing.assert_allclose(np.std(many, axis=0), pdf.dg[100::100], rtol=0.2)


def test_uneven_steps(tmp_path):
    """Bins that grow with Q, as those of times of flight."""
    q = 0.5 * np.exp(np.arange(0.0, np.log(50.0), 0.002))
    pdf = read_fq(write(tmp_path / "a.fq", "", q, debye(q)), qmin=1.0, qmax=22.0)
    at = np.rint(R[R < 15.0] / 0.01).astype(int)
    assert rw(pdf.g[at], simulated(22.0)[R < 15.0]) < 5e-3


def test_coarse_steps_end_g_early_or_are_refused(tmp_path):
    q = FINE[::5]
    pdf = read_fq(write(tmp_path / "a.fq", "", q, debye(q)), qmin=1.0, qmax=22.0)
    assert pdf.r[-1] == pytest.approx(np.pi / 0.1, abs=0.01)
    assert any("G(r) ends at 31.4 Å" in note for note in pdf.notes)
    q = FINE[::25]
    with pytest.raises(DataError, match=r"Q in steps of 0\.5 1/Å gives G\(r\) up to 6\.28 Å only"):
        read_fq(write(tmp_path / "a.fq", "", q, debye(q)), qmin=1.0, qmax=22.0)


REFUSED = {
    "S for F": ("fq", "", FINE, structure_factor(FINE), "above 0 everywhere"),
    "F for S": ("sq", "", FINE, debye(FINE), "tends to 1"),
    "no name": ("dat", "", FINE, debye(FINE), "without a name"),
    "I(Q)": ("fq", "Q I(Q)\n", FINE, structure_factor(FINE), "I(Q)"),
    "2θ": ("fq", "2theta F(Q)\n", FINE, debye(FINE), "2θ"),
    "r": ("fq", "r G(r)\n", FINE, debye(FINE), "read_gr"),
    "nm unsaid": ("fq", "", 10.0 * FINE, debye(FINE), "name its unit"),
    "not ascending": ("fq", "", FINE[::-1], debye(FINE), "does not ascend"),
    "negative": ("fq", "", FINE - 1.0, debye(FINE), "negative Q"),
    "NaN": ("fq", "", FINE, np.where(FINE > 20.0, np.nan, debye(FINE)), "not a finite number"),
    "exploding": ("fq", "", FINE, 1e200 * debye(FINE), "cannot be computed with"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_refused_in_one_line(tmp_path, kind):
    suffix, header, q, f, word = REFUSED[kind]
    path = write(tmp_path / f"a.{suffix}", header, q, f)
    with pytest.raises(DataError) as caught:
        read_fq(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert word in str(caught.value)


@pytest.mark.parametrize(
    ("options", "error", "word"),
    [
        ({"qmax": 40.0}, DataError, "outside of the data, 0.5 to 25.98"),
        ({"qmin": 0.1}, DataError, "outside of the data"),
        ({"qmin": 10.0, "qmax": 5.0}, ConfigError, "is not below"),
        ({"qmin": 10.0, "qmax": 10.1}, DataError, "5 points"),
        ({"rstep": 0.0}, ConfigError, "rstep"),
    ],
)
def test_limits_that_cannot_be(tmp_path, options, error, word):
    with pytest.raises(error, match=word):
        read_fq(write(tmp_path / "a.fq", "", FINE, debye(FINE)), **options)


def test_a_pdf_has_been_transformed_already(tmp_path):
    path = write(tmp_path / "a.gr", "qmax = 22\n", R, G)
    assert read_pdf(path, qmin=1.0).qmin == 1.0
    assert read_pdf(path, qmax=22.0).qmax == 22.0
    with pytest.raises(ConfigError, match=r"header says qmax = 22 1/Å, 18 was asked for"):
        read_pdf(path, qmax=18.0)
    with pytest.raises(ConfigError, match="too late"):
        read_pdf(path, lorch=True)
    with pytest.raises(DataError, match="read_fq"):
        read_gr(write(tmp_path / "a.fq", "", FINE, debye(FINE)))


def test_options_are_recorded_as_far_as_they_were_given():
    assert Reading().stated() == {}
    assert Reading(qmax=20.0, lorch=True, radiation="neutron").stated() == {
        "qmax": 20.0, "lorch": True, "radiation": "neutron",
    }  # fmt: skip
