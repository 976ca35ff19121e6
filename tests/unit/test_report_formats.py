"""Candidates for other programs: every file read back by a reader that is not ours."""

from __future__ import annotations

import ast
import sys
from dataclasses import replace
from math import pi
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import solutions
from ase import Atoms
from ase.io import read

from hpcpdf import PdfParams, simulate_pdf
from hpcpdf.cli.main import main
from hpcpdf.errors import ConfigError
from hpcpdf.pdf.gr import write_gr
from hpcpdf.pdf.metrics import rw
from hpcpdf.reconstruct.solution import Candidate
from hpcpdf.report.formats import FORMATS, chosen_formats, write_pdb, write_rmc6f, write_stru
from hpcpdf.report.recipe import recipe
from hpcpdf.report.solve_report import write_solution


@pytest.fixture
def candidate() -> Candidate:
    """A candidate with numbers that are all different, and of two elements."""
    one = solutions.solution()[0][1]
    atoms = one.atoms.copy()
    atoms.symbols[::3] = "Au"
    return replace(one, atoms=atoms, scale=0.83, biso=0.47, delta2=2.5, qdamp=0.031)


def centred(positions: np.ndarray) -> np.ndarray:
    return positions - 0.5 * (positions.min(axis=0) + positions.max(axis=0))


def read_stru(path: Path) -> tuple[dict[str, list[str]], list[str], np.ndarray, np.ndarray]:
    """Header, elements, positions (Å) and U of a PDFfit file, by its published layout."""
    head, _, body = path.read_text().partition("\natoms\n")
    header = {line.split()[0]: line.replace(",", " ").split()[1:] for line in head.splitlines()}
    rows = [line.split() for line in body.splitlines()]
    atoms, widths = rows[::6], rows[2::6]
    lengths = np.array(header["cell"][:3], dtype=float)
    fractional = np.array([row[1:4] for row in atoms], dtype=float)
    return header, [row[0].capitalize() for row in atoms], fractional * lengths, np.array(widths, dtype=float)


def test_stru(candidate: Candidate, tmp_path: Path) -> None:
    write_stru(tmp_path / "a.stru", candidate)
    header, symbols, positions, u = read_stru(tmp_path / "a.stru")
    assert header["format"] == ["pdffit"]
    assert [float(v) for v in header["sharp"]] == [2.5, 0.0, 1.0, 0.0]
    assert float(header["scale"][0]) == pytest.approx(0.83)
    assert [int(v) for v in header["ncell"]] == [1, 1, 1, candidate.n_atoms]
    assert symbols == list(candidate.atoms.symbols)
    np.testing.assert_allclose(centred(positions), centred(candidate.atoms.positions), atol=1e-6)
    np.testing.assert_allclose(u, 0.47 / (8.0 * pi**2), atol=1e-8)


def test_pdb(candidate: Candidate, tmp_path: Path) -> None:
    write_pdb(tmp_path / "a.pdb", candidate)
    atoms = read(tmp_path / "a.pdb")
    assert list(atoms.symbols) == list(candidate.atoms.symbols)
    np.testing.assert_allclose(atoms.positions, candidate.atoms.positions, atol=5.1e-4)
    np.testing.assert_allclose(atoms.arrays["bfactor"], 0.47)
    np.testing.assert_allclose(atoms.arrays["occupancy"], 1.0)
    assert {len(line) for line in (tmp_path / "a.pdb").read_text().splitlines() if line.startswith("HETATM")} == {78}


def test_pdb_has_columns_for_large_particles_but_not_for_all(candidate: Candidate, tmp_path: Path) -> None:
    n = 100_003
    many = replace(candidate, atoms=Atoms(["Au"] * n, positions=np.arange(3.0 * n).reshape(n, 3) % 1900.0 - 950.0))
    write_pdb(tmp_path / "a.pdb", many)
    rows = [line for line in (tmp_path / "a.pdb").read_text().splitlines() if line.startswith("HETATM")]
    assert {len(row) for row in rows} == {78}
    read_back = np.array([[row[30:38], row[38:46], row[46:54]] for row in rows], dtype=float)
    np.testing.assert_allclose(read_back, many.atoms.positions)
    far = replace(candidate, atoms=Atoms("Au2", positions=[[0, 0, 0], [0, 0, 1200]]))
    with pytest.raises(ConfigError, match="at most 999 Å"):
        write_pdb(tmp_path / "b.pdb", far)


def test_rmc6f(candidate: Candidate, tmp_path: Path) -> None:
    write_rmc6f(tmp_path / "a.rmc6f", candidate)
    atoms = read(tmp_path / "a.rmc6f", format="rmc6f")
    order = sorted(range(candidate.n_atoms), key=lambda i: candidate.atoms.symbols[i])
    assert list(atoms.symbols) == sorted(candidate.atoms.symbols)
    np.testing.assert_allclose(centred(atoms.positions), centred(candidate.atoms.positions)[order], atol=1e-6)
    text = (tmp_path / "a.rmc6f").read_text()
    counts = candidate.atoms.symbols.formula.count()
    assert "Atom types present:         Au Pt\n" in text
    assert f"Number of each atom type:   {counts['Au']} {counts['Pt']}\n" in text
    density = float(next(line for line in text.splitlines() if "density" in line).split()[-1])
    assert density == pytest.approx(len(atoms) / atoms.get_volume(), rel=1e-6)


@pytest.mark.parametrize("reach", [8.0, 20.0, 60.0])
def test_no_image_is_within_the_fitted_range(candidate: Candidate, reach: float, tmp_path: Path) -> None:
    r = np.linspace(1.5, reach, 100)
    write_rmc6f(tmp_path / "a.rmc6f", replace(candidate, r=r, g_obs=r, g_calc=r))
    atoms = read(tmp_path / "a.rmc6f", format="rmc6f")
    own = np.sort(atoms.get_all_distances()[np.triu_indices(len(atoms), 1)])
    images = np.concatenate(
        [
            np.linalg.norm(atoms.positions[:, None] - atoms.positions + shift, axis=2).ravel()
            for shift in np.eye(3) * atoms.cell.lengths()
        ]
    )
    assert images.min() > reach
    assert 0.5 * atoms.cell.lengths().min() > reach
    nearest = np.sort(atoms.get_all_distances(mic=True)[np.triu_indices(len(atoms), 1)])
    np.testing.assert_allclose(nearest[nearest < reach], own[own < reach], atol=1e-9)


def test_formats_are_named_in_text_or_a_list() -> None:
    assert chosen_formats("stru, .PDB,stru") == ("stru", "pdb")
    assert chosen_formats(["rmc6f"]) == ("rmc6f",)
    assert chosen_formats("") == chosen_formats(()) == ()
    with pytest.raises(ConfigError, match="--formats cml: expected any of stru, pdb, rmc6f"):
        chosen_formats("pdb,cml")


def test_a_folder_with_all_of_them(tmp_path: Path) -> None:
    answer, pdf = solutions.solution()
    write_solution(answer, pdf, tmp_path / "few", {"element": "Pt"})
    write_solution(answer, pdf, tmp_path / "all", {"element": "Pt"}, formats=tuple(FORMATS), script=True)
    few, every = ({entry.name for entry in (tmp_path / name).iterdir()} for name in ("few", "all"))
    more = {f"candidate-{rank:02d}.{ending}" for rank in range(1, len(answer) + 1) for ending in FORMATS}
    assert every - few == more | {"refine.py"}
    html = (tmp_path / "all" / "report.html").read_text()
    assert 'href="candidate-02.rmc6f"' in html
    # A result with fewer files takes the place of one with more.
    write_solution(answer, pdf, tmp_path / "all", {"element": "Pt"})
    assert {entry.name for entry in (tmp_path / "all").iterdir()} == few


def test_the_recipe_knows_the_instrument(tmp_path: Path) -> None:
    answer, pdf = solutions.solution()
    write_solution(answer, pdf, tmp_path / "free", {"element": "Pt"}, script=True)
    known = replace(answer, settings={**answer.settings, "instrument": {"qdamp": 0.031, "qbroad": 0.012}})
    write_solution(known, pdf, tmp_path / "known", {"element": "Pt"}, script=True)
    free, held = ((tmp_path / name / "refine.py").read_text() for name in ("free", "known"))
    assert "calculator.qbroad = qdamp, 0.012" in held
    assert f"contribution.qdamp, {answer[0].qdamp!r}, fixed=True" in held
    assert f"contribution.qdamp, {answer[0].qdamp!r})" in free


def test_the_command_line_refuses_a_format_before_the_search(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    write_gr(tmp_path / "a.gr", solutions.solution()[1])
    asked = ["solve", str(tmp_path / "a.gr"), "-e", "Pt", "-o", str(tmp_path / "out"), "--formats", "stru,doc"]
    assert main(asked) == 2
    assert "--formats doc: expected any of stru, pdb, rmc6f" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_the_recipe_computes_the_pdf_that_was_fitted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its function, run with a calculator that keeps DiffPy's interface and computes by the native engine."""
    answer, pdf = solutions.solution()
    best = replace(answer[0], delta2=1.7)
    step = float(best.r[1] - best.r[0])
    params = PdfParams(qmin=0.8, qmax=22.0, rmax=float(best.r[-1]) + 0.5 * step, rstep=step)
    text = recipe(best, params, 'odd " \\ \n name.gr', "candidate-01.xyz")
    tree = ast.parse(text)
    assert "odd _ _ _ name.gr" in (ast.get_docstring(tree) or "")
    write_solution([best], pdf, tmp_path / "out", {"element": "Pt"})
    for name in ("diffpy", "diffpy.srfit", "diffpy.srreal"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    _stand_in(monkeypatch, "diffpy.srfit.fitbase", FitContribution=None, FitRecipe=None, FitResults=None, Profile=None)
    _stand_in(monkeypatch, "diffpy.srreal.pdfcalculator", DebyePDFCalculator=Calculator)
    _stand_in(monkeypatch, "diffpy.structure", Atom=AtomStandIn, Structure=list)
    # All before the recipe itself is put together, which needs DiffPy.
    last = next(i for i, node in enumerate(tree.body) if isinstance(node, ast.FunctionDef)) + 1
    scope = {"__file__": str(tmp_path / "out" / "refine.py")}
    exec(compile(ast.Module(tree.body[:last], []), "refine.py", "exec"), scope)
    r = scope["r_obs"]
    np.testing.assert_allclose(r, best.r, rtol=1e-6)
    assert "".join(scope["symbols"]) == "Pt" * best.n_atoms
    g = scope["pdf"](r, best.scale, 1.01, best.biso, best.qdamp, best.delta2)
    same = replace(params, biso=best.biso, qdamp=best.qdamp, delta2=best.delta2, scale=best.scale)
    x, want = simulate_pdf(best.atoms.positions * 1.01, same)
    np.testing.assert_allclose(g, np.interp(r, x, want), atol=1e-5 * np.abs(want).max())


def _stand_in(monkeypatch: pytest.MonkeyPatch, name: str, **names: object) -> None:
    module = ModuleType(name)
    vars(module).update(names)
    monkeypatch.setitem(sys.modules, name, module)


class AtomStandIn:
    def __init__(self, symbol: str, *, xyz: np.ndarray, Uisoequiv: float) -> None:
        self.symbol, self.xyz, self.u = symbol, xyz, Uisoequiv


class Calculator:
    """The attributes of DiffPy's calculator that the recipe sets."""

    def setScatteringFactorTableByType(self, kind: str) -> None:
        self.radiation = {"X": "xray", "N": "neutron"}[kind]

    def __call__(self, cluster: list[AtomStandIn]) -> tuple[np.ndarray, np.ndarray]:
        own = vars(self).copy()
        low = own.pop("rmin")
        params = PdfParams(biso=8.0 * pi**2 * cluster[0].u, **own)
        r, g = simulate_pdf(np.array([atom.xyz for atom in cluster]), params)
        return r[r >= low], g[r >= low]


def test_diffpy_reads_the_stru(candidate: Candidate, tmp_path: Path) -> None:
    structure = pytest.importorskip("diffpy.structure", reason="diffpy.structure is not installed")
    write_stru(tmp_path / "a.stru", candidate)
    found = structure.loadStructure(str(tmp_path / "a.stru"), "pdffit")
    assert [atom.element for atom in found] == list(candidate.atoms.symbols)
    np.testing.assert_allclose(centred(found.xyz_cartn), centred(candidate.atoms.positions), atol=1e-6)
    np.testing.assert_allclose(found.Bisoequiv, 0.47, atol=1e-6)
    assert found.pdffit["delta2"] == 2.5
    assert found.pdffit["scale"] == pytest.approx(0.83)


def test_pdffit2_computes_our_pdf_from_the_stru(tmp_path: Path) -> None:
    """PDFfit2 subtracts the density of the cube, and divides a peak by r where the Debye sum divides it by d."""
    pdffit2 = pytest.importorskip("diffpy.pdffit2", reason="diffpy.pdffit2 is not installed")
    one = replace(solutions.solution()[0][0], scale=0.83, biso=0.47, delta2=2.5)
    write_stru(tmp_path / "a.stru", one)
    header, _, _, _ = read_stru(tmp_path / "a.stru")
    engine = pdffit2.PdfFit()
    engine.read_struct(str(tmp_path / "a.stru"))
    engine.alloc("X", 0.0, 0.04, 0.01, 15.0, 1500)
    engine.calc()
    r, g = np.array(engine.getR()), np.array(engine.getpdf_fit())
    envelope = np.exp(-0.5 * (0.04 * r) ** 2)
    g += 0.83 * envelope * 4.0 * pi * r * one.n_atoms / float(header["cell"][0]) ** 3
    params = PdfParams(
        qmin=0.0, qmax=45.0, qdamp=0.04, biso=0.47, delta2=2.5, scale=0.83, rstep=0.01, rmax=15.005
    )  # fmt: skip
    x, ours = simulate_pdf(one.atoms.positions, params)
    ours = np.interp(r, x, ours)
    assert g.max() == pytest.approx(ours.max(), rel=0.005)
    assert rw(ours[r > 1.5], g[r > 1.5]) < 0.025
