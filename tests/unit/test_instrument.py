"""Instrument files, and fits and searches that know the instrument."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from ase.cluster import Octahedron

from hpcpdf import ConfigError, Instrument, PdfParams, fit_pdf, read_solution, simulate_pdf, solve
from hpcpdf.cli.main import main
from hpcpdf.pdf.gr import MeasuredPdf, write_gr
from hpcpdf.report.judge import judge

PARAMS = PdfParams(rmax=30.0, rstep=0.05, qmin=0.8, qmax=25.0, qdamp=0.05, qbroad=0.04, biso=0.5)
INSTRUMENT = Instrument(qdamp=0.05, qbroad=0.04)


@pytest.fixture(scope="module")
def atoms():
    return Octahedron("Pt", 5, 1)


@pytest.fixture(scope="module")
def pdf(atoms):
    r, g = simulate_pdf(atoms.positions, PARAMS, n_threads=1)
    return MeasuredPdf(r, g, None, PARAMS.qmin, PARAMS.qmax, "Pt", {"qdamp": "0.02"}, "made.gr")


def test_a_file_brings_everything_back(tmp_path):
    path = tmp_path / "instrument.toml"
    full = Instrument(
        **{"qdamp": 0.1 + 0.2, "qdamp_error": 1e-5, "qbroad": 0.0, "qbroad_error": 0.01, "element": "Ni"},
        **{"lattice_constant": 3.5246, "lattice_constant_error": 1e-4, "tabulated": 3.524, "biso": 0.4, "rw": 0.06},
        **{"biso_error": 0.01, "delta2": 2.0, "delta2_error": 0.1, "r_range": (1.5, 60.0), "qmax": 24.0},
        **{"source": 'a "b" \\ Ångström.gr', "notes": ("first = 1", "second")},
    )
    full.save(path)
    assert Instrument.load(path) == full
    before = path.read_bytes()
    full.save(path)
    assert path.read_bytes() == before
    INSTRUMENT.save(path)
    assert Instrument.load(str(path)) == INSTRUMENT


HEAD = 'format = "hpcpdf instrument"\nformat_version = 1\n'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("qdamp = 0.1\n", "not an instrument file"),
        (HEAD.replace("1", "9") + "qdamp = 0.1", "format_version = 9; this hpcpdf reads 1"),
        (HEAD, "qdamp is missing"),
        (HEAD + "qdamp = 'x'", "qdamp = 'x': expected a number >= 0"),
        (HEAD + "qdamp = true", "qdamp = True: expected a number >= 0"),
        (HEAD + "qdamp = nan", "qdamp = nan: expected a number >= 0"),
        (HEAD + "qdamp = 0.1\nqbroad = -1", "qbroad = -1: expected a number >= 0"),
        (HEAD + "qdamp = 0.1\nqdamb = 1", "unknown key 'qdamb'; known: qdamp"),
        (HEAD + "qdamp = 0.1\nr_range = 3", "r_range = 3: expected two numbers"),
        (HEAD + "qdamp = 0.1\nnotes = [1]", "notes = .1.: expected a list of texts"),
        (HEAD + "qdamp = 0.1\nelement = 1", "element = 1: expected a text"),
        ("# start data\n0 1\n", "not valid TOML"),
    ],
)
def test_other_files_are_refused_by_name(tmp_path, text, message):
    path = tmp_path / "some.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message) as caught:
        Instrument.load(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_wrong_values_and_missing_files():
    with pytest.raises(ConfigError, match="qdamp = -1: expected a number >= 0"):
        Instrument(qdamp=-1)
    with pytest.raises(ConfigError, match="no such"):
        Instrument.load("nowhere.toml")


def test_a_fit_takes_the_instrument_for_known(atoms, pdf):
    fit = fit_pdf(atoms, pdf, instrument=INSTRUMENT)
    assert fit.rw < 1e-4
    assert (fit.qdamp, fit.params.qbroad, fit.delta2) == (0.05, 0.04, 0.0)
    assert (fit.zoom, fit.biso, fit.scale) == pytest.approx((1.0, 0.5, 1.0), rel=1e-3)
    assert fit.n_parameters == 3
    assert "qdamp = 0.05 1/Å from the instrument, not 0.02" in fit.notes
    assert "qbroad = 0.04 1/Å from the instrument" in fit.notes
    # Without, Qdamp and delta2 have to make up for the broadening.
    assert fit_pdf(atoms, pdf).rw > 0.005


def test_solve_knows_the_instrument_in_search_bound_and_fit(atoms, pdf, tmp_path):
    path = tmp_path / "instrument.toml"
    INSTRUMENT.save(path)
    solution = solve(pdf, "Pt", effort="quick", instrument=path, n_threads=1)
    best = solution[0]
    assert (best.n_atoms, best.family, best.qdamp) == (len(atoms), "fcc", 0.05)
    assert best.rw < 2e-3
    assert best.biso == pytest.approx(0.5, rel=0.01)
    assert solution.bounds["fcc"] < 2e-3
    assert solution.settings["instrument"] == {"qdamp": 0.05, "qbroad": 0.04}
    assert solve(pdf, "Pt", effort="quick", instrument=INSTRUMENT, n_threads=1)[0].rw == best.rw
    without = solve(replace(pdf, metadata={}), "Pt", effort="quick", n_threads=1)
    assert without.bounds["fcc"] > 2.0 * solution.bounds["fcc"]
    assert "instrument" not in without.settings


def test_the_verb_takes_an_instrument(pdf, tmp_path, capsys):
    write_gr(tmp_path / "sample.gr", pdf)
    INSTRUMENT.save(tmp_path / "instrument.toml")
    call = [
        "solve",
        str(tmp_path / "sample.gr"),
        "--element",
        "Pt",
        "--effort",
        "quick",
        "--out",
        str(tmp_path / "out"),
    ]
    assert main([*call, "--instrument", str(tmp_path / "nowhere.toml")]) == 2
    assert "nowhere.toml" in capsys.readouterr().err
    assert main([*call, "--instrument", str(tmp_path / "instrument.toml")]) == 0
    assert "from the instrument" in capsys.readouterr().out
    saved = read_solution(tmp_path / "out")
    assert np.all([candidate.qdamp == 0.05 for candidate in saved])
    assert saved.settings["instrument"] == {"qdamp": 0.05, "qbroad": 0.04}
    html = (tmp_path / "out" / "report.html").read_text()
    assert "instrument resolution, of a calibration" in html
    assert "Qdamp (0.01 – 0.08 Å⁻¹)" not in html


def test_a_known_qdamp_sits_on_no_limit(pdf):
    sharp = replace(pdf, g=pdf.g * np.exp(0.5 * (0.05**2 - 0.002**2) * pdf.r**2))
    known = solve(
        sharp, "Pt", effort="quick", refine=False, n_threads=1, instrument=Instrument(qdamp=0.002, qbroad=0.04)
    )
    assert known[0].qdamp == 0.002
    assert known[0].rw < 2e-3
    assert not any("qdamp" in text for text in judge(known, sharp).warnings)
    # Of the candidates alone nobody knows that it was not fitted.
    assert any("qdamp" in text for text in judge(tuple(known), sharp).warnings)
