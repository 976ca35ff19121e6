"""Calibration against peaks of bulk crystals written down by hand, and against measured nickel."""

from __future__ import annotations

import math
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk
from ase.neighborlist import neighbor_list

import hpcpdf
from hpcpdf import ConfigError, DataError, Instrument, PdfParams, calibrate, read_gr, simulate_pdf
from hpcpdf.cli.main import main
from hpcpdf.lattice.crystal import bulk_shells
from hpcpdf.pdf.gr import MeasuredPdf, write_gr
from hpcpdf.pdf.params import B_PER_U
from hpcpdf.report.lines import plain
from hpcpdf.sample.calibrate import table

QMIN, QMAX = 0.8, 30.0
TRUTH = {"qdamp": 0.04, "qbroad": 0.03, "delta2": 2.0, "biso": 0.9}


def standard(element="Ni", a=3.53, end=32.0, **changed):
    """G(r) of Gaussian peaks on a slope, straight from the definition of the PDF, without what lies below qmin.

    There F(Q) = Q (S(Q) − 1) is −Q, as no Bragg peak lies so low.
    """
    value = {**TRUTH, **changed}
    atoms = bulk(element, a=a)
    around = neighbor_list("d", atoms, end + 3.0) if end < 20.0 else _neighbours(atoms, end + 3.0)
    d, number = np.unique(np.round(around, 7), return_counts=True)
    number = number / len(atoms)
    r = np.arange(0.0, end, 0.02)
    u = value["biso"] / B_PER_U * (1.0 - value["delta2"] / d**2 + (value["qbroad"] * d) ** 2)
    at = np.maximum(r, 1e-9)[:, None]
    density = np.exp(-((at - d) ** 2) / (4.0 * u)) / np.sqrt(4.0 * np.pi * u)
    g = density @ (number / d) - 4.0 * np.pi * r * len(atoms) / atoms.get_volume()
    x = QMIN * at[:, 0]
    g += 2.0 / np.pi * (np.sin(x) - x * np.cos(x)) / at[:, 0] ** 2
    return MeasuredPdf(r, 0.5 * g * np.exp(-0.5 * (value["qdamp"] * r) ** 2), None, QMIN, QMAX, element)


def _neighbours(atoms, cutoff):
    """Distances from the atoms of a cell to all others."""
    top = math.ceil(cutoff / np.linalg.norm(atoms.cell[0]) * 2.0) + 1
    steps = np.stack(np.meshgrid(*[np.arange(-top, top + 1)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    found = []
    for here in atoms.positions:
        for other in atoms.positions:
            d = np.linalg.norm(steps @ np.asarray(atoms.cell) + (other - here), axis=1)
            found.append(d[(d > 1e-6) & (d <= cutoff)])
    return np.concatenate(found)


def noisy(pdf, share, seed):
    """With noise that is white between qmin and qmax."""
    rng, q = np.random.default_rng(seed), np.arange(QMIN, QMAX, np.pi / (2.0 * pdf.r[-1]))
    waves = np.sin(np.outer(pdf.r, q)) @ rng.normal(size=q.size) + np.cos(np.outer(pdf.r, q)) @ rng.normal(size=q.size)
    return replace(pdf, g=pdf.g + share * waves * np.linalg.norm(pdf.g) / np.linalg.norm(waves))


def test_neighbours_in_diamond_are_those_of_ase():
    crystal = bulk("C", "diamond", a=4.0 / np.sqrt(3.0))
    squares, number = np.unique(np.rint(3.0 * neighbor_list("d", crystal, 6.001) ** 2).astype(int), return_counts=True)
    distance, expected = bulk_shells("diamond", 6.0)
    np.testing.assert_allclose(3.0 * distance**2, squares, atol=1e-9)
    np.testing.assert_array_equal(expected, number / len(crystal))


@pytest.mark.parametrize(("element", "a"), [("Ni", 3.53), ("W", 3.16), ("Si", 5.44)])
def test_what_went_in_comes_out(element, a):
    found = calibrate(standard(element, a), element)
    assert found.rw < 0.003
    assert found.lattice_constant == pytest.approx(a, rel=1e-5)
    assert found.qdamp == pytest.approx(0.04, rel=1e-3)
    assert found.qbroad == pytest.approx(0.03, rel=2e-3)
    assert found.biso == pytest.approx(0.9, rel=1e-3)
    assert found.delta2 == pytest.approx(2.0, rel=3e-3)
    assert found.r_range == pytest.approx((1.5, 31.98))
    assert found.tabulated == pytest.approx(a, rel=3e-3)
    assert not any("check" in note or "not bulk" in note for note in found.notes)


def test_an_instrument_without_broadening():
    found = calibrate(standard(qbroad=0.0), "Ni")
    assert found.qbroad < 5e-3
    assert 0.0 < found.qbroad_error < 0.02
    assert found.qdamp == pytest.approx(0.04, rel=0.01)


def test_errors_are_those_of_noise():
    pdf = standard()
    names = ("qdamp", "qbroad", "lattice_constant", "biso", "delta2")
    truth = np.array([TRUTH.get(name, 3.53) for name in names])
    pulls = []
    for seed in range(12):
        found = calibrate(noisy(pdf, 0.05, seed), "Ni")
        assert found.rw == pytest.approx(0.05, rel=0.2)
        value = np.array([getattr(found, name) for name in names])
        pulls.append((value - truth) / [getattr(found, f"{name}_error") for name in names])
    assert 0.7 < np.sqrt(np.mean(np.square(pulls))) < 1.3
    assert np.mean(np.abs(pulls) < 2.0) >= 0.88


def test_what_the_file_says_of_the_instrument_does_not_matter():
    pdf = standard()
    told = replace(pdf, metadata={"qdamp": "0.1", "qbroad": "0.2"})
    assert calibrate(told, "Ni") == calibrate(pdf, "Ni")


def test_what_is_no_standard_is_refused_or_told():
    pdf = standard()
    with pytest.raises(ConfigError, match="composition is 'Ni', expected Cu alone"):
        calibrate(pdf, "Cu")
    with pytest.raises(ConfigError, match="'Ti': not fcc, bcc, sc, diamond; calibrate on a cubic standard such as Al"):
        calibrate(pdf, "Ti")
    with pytest.raises(ConfigError, match="'Nickel': no element"):
        calibrate(pdf, "Nickel")
    with pytest.raises(DataError, match=r"R_w .* of fcc Au .* not the PDF of that bulk standard"):
        calibrate(replace(pdf, composition=None), "Au")
    assert any("0.5% above" in note for note in calibrate(standard(a=3.5416), "Ni").notes)


def test_small_crystals_are_no_standard():
    params = PdfParams(rmax=32.0, rstep=0.05, qmin=QMIN, qmax=QMAX, qdamp=0.03, biso=0.5)
    block = bulk("Ni", cubic=True, a=3.524).repeat(12).positions
    ball = block[np.linalg.norm(block - block.mean(axis=0), axis=1) < 17.0]
    r, g = simulate_pdf(ball, params, n_threads=1)
    notes = calibrate(MeasuredPdf(r, g, None, QMIN, QMAX), "Ni").notes
    assert any(note.startswith("crystals of 3") and "not bulk" in note for note in notes)


def test_the_verb(tmp_path, capsys):
    source, out, figure = tmp_path / "Ni.gr", tmp_path / "instrument.toml", tmp_path / "fit.svg"
    write_gr(source, standard())
    call = ["calibrate", str(source), "--element", "Ni", "--out", str(out), "--figure", str(figure)]
    assert main([*call, "--dry-run"]) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["Ni.gr"]
    assert main(call) == 0
    found = Instrument.load(out)
    told = capsys.readouterr().out
    assert told.isascii()
    assert all(plain(line) in told for line in table(found))
    assert "lattice constant  3.5300 +- 0.000" in told
    assert "tabulated 3.524 A" in told
    assert "<svg" in figure.read_text()
    before = out.read_bytes()
    assert main(call) == 0
    assert out.read_bytes() == before
    other = tmp_path / "other.gr"
    write_gr(other, standard())
    assert main(["calibrate", str(other), "--element", "Ni", "--out", str(out)]) == 2
    assert "holds the result of" in capsys.readouterr().err
    assert main(["calibrate", str(other), "--element", "Ni", "--out", str(source)]) == 2
    assert source.read_text().startswith("[DEFAULT]")
    assert main(["calibrate", str(other), "--element", "Ni", "--out", str(out), "--overwrite"]) == 0
    assert Instrument.load(out).source == str(other)
    assert main([*call[:-1], str(tmp_path / "fit.txt")]) == 2


@pytest.mark.skipif("HPCPDF_MEASURED" not in os.environ, reason="HPCPDF_MEASURED names no folder of measured PDFs")
def test_measured_nickel():
    found = hpcpdf.calibrate(read_gr(Path(os.environ["HPCPDF_MEASURED"]) / "Ni-bulk.gr"), "Ni", (1.5, 30.0))
    assert found.rw < 0.055
    assert found.lattice_constant == pytest.approx(3.5246, abs=3e-4)
    assert found.delta2 == pytest.approx(1.95, abs=0.15)
    assert (found.qdamp, found.qbroad) == pytest.approx((0.0433, 0.0372), abs=1e-3)
    assert max(found.qdamp_error, found.qbroad_error) < 2e-3
    assert not any("not bulk" in note for note in found.notes)
