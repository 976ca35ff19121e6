"""Series of simulated files with known trends: recovered, drawn, and the same whatever does the work."""

from __future__ import annotations

import csv
import json
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from scipy.spatial import cKDTree

import hpcpdf
from hpcpdf.cli.main import main
from hpcpdf.lattice.frame import in_frame
from hpcpdf.lattice.template import lattice_template
from hpcpdf.pdf.fit import PdfFitter
from hpcpdf.pdf.gr import MeasuredPdf, write_gr
from hpcpdf.series.precision import precision
from hpcpdf.series.result import Series

QDAMP = 0.03


def body(size: float, bond: float) -> Atoms:
    """An fcc body without much symmetry, larger with `size`."""
    sites = lattice_template("fcc", 5.0, 8.0).sites
    heights = sites @ np.array([[1, 1, 1], [-1, 1, 0.2], [0, -1, 1], [-0.5, -1, -1], [0, 0.1, -1]]).T / 1.5
    inside = (heights <= size).all(axis=1) & (np.linalg.norm(sites, axis=1) <= 1.3 * size)
    return Atoms(f"Pt{inside.sum()}", positions=bond * sites[inside])


def simulated(atoms: Atoms, biso: float, source: str, noise: float, seed: int, told: bool = True) -> MeasuredPdf:
    params = hpcpdf.PdfParams(rmin=0.0, rmax=20.02, rstep=0.04, qmin=0.8, qmax=20.0, qdamp=QDAMP, biso=biso)
    r, g = hpcpdf.simulate_pdf(atoms, params)
    q = np.arange(0.8, 20.0, 0.08)
    error = np.sin(np.outer(r, q)) @ np.random.default_rng(seed).normal(size=len(q)) * np.exp(-0.5 * (QDAMP * r) ** 2)
    seen = r > 1.5
    g = g + error * noise * np.linalg.norm(g[seen]) / np.linalg.norm(error[seen])
    return MeasuredPdf(r[20:], g[20:], None, 0.8, 20.0, "Pt", {"qdamp": f"{QDAMP}"} if told else {}, source)


def bond_at(k: int) -> float:
    return 2.76 + 0.004 * k


def biso_at(k: int) -> float:
    return 0.25 + 0.05 * k


@cache
def files() -> tuple[MeasuredPdf, ...]:
    return tuple(
        simulated(body(1.5 + 0.08 * k, bond_at(k)), biso_at(k), f"Pt_{100 + 50 * k}K.gr", 0.01, k) for k in range(4)
    )


@cache
def solved(n_threads: int) -> Series:
    return hpcpdf.solve_series(files(), "Pt", effort="quick", n_threads=n_threads, top=2)


def test_trends_are_recovered() -> None:
    table = solved(1).table
    true = [len(body(1.5 + 0.08 * k, 1.0)) for k in range(4)]
    assert len(set(true)) > 2
    assert [row["temperature_K"] for row in table] == [100, 150, 200, 250]
    assert [row["n_atoms"] for row in table] == true
    for k, row in enumerate(table):
        assert row["n_atoms_low"] <= true[k] <= row["n_atoms_high"]
        assert row["bond_A"] == pytest.approx(bond_at(k), abs=4.0 * row["bond_error_A"])
        assert row["biso_A2"] == pytest.approx(biso_at(k), abs=4.0 * row["biso_error_A2"])
        assert row["bond_error_A"] < 0.0005
        assert row["biso_error_A2"] < 0.01
        assert row["p_fcc"] > 0.9
        # The sphere of as many atoms, within what facets do.
        sphere = bond_at(k) * (6.0 * true[k] / (np.pi * np.sqrt(2.0))) ** (1.0 / 3.0)
        assert row["size_A"] == pytest.approx(sphere, rel=0.12)
        assert row["weight_fcc"] == 1.0
        assert not row["spread_preferred"]


def test_threads_change_nothing() -> None:
    assert solved(1).table == solved(3).table
    for one, other in zip(solved(1), solved(3), strict=True):
        assert np.array_equal(one[0].atoms.positions, other[0].atoms.positions)


def test_the_page_has_everything(tmp_path: Path) -> None:
    series = solved(1).without({"torn": "torn.gr: is empty"})
    page = series.save(tmp_path).read_text(encoding="utf-8")
    assert "http://" not in page.replace("http://www.w3.org/2000/svg", "")
    assert "https://" not in page
    assert "torn.gr: is empty" in page
    rows = list(csv.DictReader((tmp_path / "series.csv").read_text(encoding="utf-8").splitlines()))
    assert [float(row["bond_A"]) for row in rows] == pytest.approx([row["bond_A"] for row in series.table])
    record = json.loads((tmp_path / "series.json").read_text(encoding="utf-8"))
    assert record["motifs"] == list(series.motifs)
    assert [row["name"] for row in record["rows"]] == list(series.names)
    assert (tmp_path / "series.png").stat().st_size > 10_000
    assert (tmp_path / "series.pdf").read_bytes().startswith(b"%PDF")
    for name, answer in zip(series.names, series, strict=True):
        report = (tmp_path / name / "report.html").read_text(encoding="utf-8")
        # Each page links to what is there.
        assert "fit.png" not in report
        assert not (tmp_path / name / "fit.png").exists()
        assert (tmp_path / name / "fit.csv").exists()
        assert hpcpdf.read_solution(tmp_path / name)[0].rw == answer[0].rw


@pytest.mark.parametrize("told", [True, False])
def test_standard_errors_are_those_of_many_measurements(told: bool) -> None:
    atoms = body(1.6, 2.77)
    bonds, bisos, errors = [], [], []
    for seed in range(30):
        pdf = simulated(atoms, 0.4, "x.gr", 0.05, seed, told)
        fitter = PdfFitter(pdf)
        fit = fitter.fit_exactly(Atoms(atoms.symbols, positions=atoms.positions))
        candidate = hpcpdf.Candidate(
            atoms=Atoms(atoms.symbols, positions=atoms.positions * fit.zoom),
            **{name: getattr(fit, name) for name in ("rw", "pearson", "scale", "zoom", "biso", "qdamp", "delta2")},
            **{name: getattr(fit, name) for name in ("r", "g_obs", "g_calc")},
            family="fcc",
            nn_mean=2.77 * fit.zoom,
            coordination_mean=8.0,
            rw_before_refine=fit.rw,
        )
        error = precision(candidate, fitter, QDAMP if told else None)
        bonds.append(candidate.nn_mean)
        bisos.append(candidate.biso)
        errors.append((error.bond, error.biso))
    for values, error in ((bonds, 0), (bisos, 1)):
        ratio = np.std(values, ddof=1) / np.mean([each[error] for each in errors])
        # 30 values give their standard deviation to 13 %.
        assert 0.65 < ratio < 1.4


@pytest.mark.parametrize("family", ["fcc", "hcp", "bcc", "decahedron", "icosahedron", "twin"])
def test_structures_from_elsewhere_find_their_sites(family: str) -> None:
    template = lattice_template(family, 5.0, 8.0)
    sites, tree = template.sites, cKDTree(template.sites)
    rng = np.random.default_rng(3)
    chosen = sites[np.linalg.norm(sites - [0.4, 0.3, 0.6], axis=1) < 2.4]
    moved = chosen + rng.normal(size=3) + 0.02 * rng.normal(size=chosen.shape)
    found = in_frame(sites, tree, moved)
    assert found is not None
    gap, index = tree.query(found)
    assert gap.max() < 0.1
    assert len(np.unique(index)) == len(chosen)
    # The same distances: the same structure.
    assert np.allclose(found - found.mean(axis=0), moved - moved.mean(axis=0))
    assert in_frame(sites, tree, 1.2 * moved) is None


def test_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = tmp_path / "data"
    data.mkdir()
    for pdf in files()[:2]:
        write_gr(data / pdf.source, pdf)
    (data / "torn_5K.gr").write_text("", encoding="utf-8")
    command = ["solve", str(data), "--series", "-e", "Pt", "-o", str(tmp_path / "out"), "--effort", "quick"]
    assert main([*command, "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert "temperature 100 K" in said
    assert not (tmp_path / "out").exists()
    assert main(command) == 0
    said = capsys.readouterr().out
    assert f"left out: {data / 'torn_5K.gr'}: is empty" in said
    assert "2 of 3 files solved" in said
    assert said.splitlines()[-1] == f"-> {tmp_path / 'out' / 'series.html'}"
    assert "torn_5K" in (tmp_path / "out" / "series.html").read_text(encoding="utf-8")
    (tmp_path / "empty").mkdir()
    assert main(["solve", str(tmp_path / "empty"), "--series", "-e", "Pt", "-o", str(tmp_path / "b")]) == 2
