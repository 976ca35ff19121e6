"""The folder of ``hpcpdf solve``: what it holds, that it is whole, and that the page needs nothing else."""

from __future__ import annotations

import csv
import json
import re
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import solutions
from ase import Atoms
from ase.cluster import Octahedron
from ase.io import read
from report_cases import solved

from hpcpdf.errors import ConfigError, SolverError
from hpcpdf.pdf.gr import MeasuredPdf
from hpcpdf.reconstruct.shape import geometry
from hpcpdf.reconstruct.solution import Candidate, read_solution
from hpcpdf.report.judge import judge
from hpcpdf.report.overview import write_overview
from hpcpdf.report.solve_report import check_solution_dir, write_solution


@pytest.fixture(scope="module")
def solution() -> tuple[list[Candidate], MeasuredPdf]:
    return solved()


@pytest.fixture(scope="module")
def folder(solution: tuple[list[Candidate], MeasuredPdf], tmp_path_factory: pytest.TempPathFactory) -> Path:
    candidates, pdf = solution
    out = tmp_path_factory.mktemp("report") / "deep" / "out"
    report = write_solution(candidates, pdf, out, {"element": "Pt", "n_samples": 1000, "model": Path("m.safetensors")})
    assert report == out / "report.html"
    return out


def embedded(html: str) -> dict:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', html, re.S)
    assert found
    return json.loads(found[1])


def test_every_promised_file_is_there(folder: Path, solution: tuple[list[Candidate], MeasuredPdf]) -> None:
    candidates, _ = solution
    ranked = {f"candidate-{i:02d}.{kind}" for i in range(1, len(candidates) + 1) for kind in ("xyz", "cif")}
    tables = {"candidates.csv", "candidates.json", "fit.csv", "fit.png", "fit.pdf", "report.html", "provenance.json"}
    tables |= {"solution.json", "solution.npz"}
    assert {entry.name for entry in folder.iterdir()} == ranked | tables
    assert set(json.loads((folder / "provenance.json").read_text())["files"]) == ranked | tables
    assert not [entry for entry in folder.parent.iterdir() if entry != folder]


def test_structures_read_back(folder: Path, solution: tuple[list[Candidate], MeasuredPdf]) -> None:
    for rank, candidate in enumerate(solution[0], start=1):
        xyz = read(folder / f"candidate-{rank:02d}.xyz")
        cif = read(folder / f"candidate-{rank:02d}.cif")
        want = candidate.atoms.get_all_distances()
        assert xyz.get_chemical_symbols() == cif.get_chemical_symbols() == candidate.atoms.get_chemical_symbols()
        np.testing.assert_allclose(xyz.positions, candidate.atoms.positions, atol=1e-7)
        # In the periodic box the nearest image is the cluster itself: the vacuum is wide enough.
        np.testing.assert_allclose(cif.get_all_distances(), want, atol=1e-5)
        assert cif.get_distances(0, range(len(cif)), mic=True).max() <= want.max() + 1e-5
        assert xyz.info["rw"] == pytest.approx(candidate.rw, abs=1e-7)
        assert xyz.info["biso"] == pytest.approx(candidate.biso)


def test_cif_states_the_fitted_biso(folder: Path, solution: tuple[list[Candidate], MeasuredPdf]) -> None:
    rows = [line.split() for line in (folder / "candidate-01.cif").read_text().splitlines() if line.startswith("Pt")]
    assert {float(row[-1]) for row in rows} == {solution[0][0].biso}
    assert {row[-2] for row in rows} == {"1"}


def test_tables_agree_with_the_candidates(folder: Path, solution: tuple[list[Candidate], MeasuredPdf]) -> None:
    candidates, pdf = solution
    rows = list(csv.DictReader((folder / "candidates.csv").read_text().splitlines()))
    document = json.loads((folder / "candidates.json").read_text())
    assert [float(row["rw"]) for row in rows] == pytest.approx([c.rw for c in candidates], rel=1e-7)
    assert [row["n_atoms"] for row in document["candidates"]] == [len(c.atoms) for c in candidates]
    assert document["settings"] == {"element": "Pt", "n_samples": 1000, "model": "m.safetensors"}
    assert document["qmax_1_per_A"] == pdf.qmax
    r, observed, calculated, difference = np.loadtxt(folder / "fit.csv", delimiter=",", skiprows=1, unpack=True)
    assert np.sqrt(np.sum(difference**2) / np.sum(observed**2)) == pytest.approx(candidates[0].rw, abs=1e-6)
    np.testing.assert_allclose(observed - calculated, difference, atol=1e-6)
    assert r[0] >= 1.5
    assert r[-1] <= 20.0


def test_page_needs_no_network_and_no_other_file(folder: Path) -> None:
    html = (folder / "report.html").read_text(encoding="utf-8")
    assert len(html) < 1_000_000
    assert not re.search(r"https?:|//[a-z]+\.|@import|url\(", html)
    linked = set()

    class Links(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            for name, value in attrs:
                assert name not in ("src", "srcset", "action"), f"<{tag} {name}={value}>"
                if name == "href":
                    linked.add(value)

    Links().feed(html)
    assert linked <= {entry.name for entry in folder.iterdir()}


def test_page_holds_the_numbers(folder: Path, solution: tuple[list[Candidate], MeasuredPdf]) -> None:
    candidates, pdf = solution
    data = embedded((folder / "report.html").read_text(encoding="utf-8"))
    np.testing.assert_allclose(data["obs"], candidates[0].g_obs, rtol=1e-3)
    assert len(data["fullR"]) == len(pdf.r)
    for shown, candidate in zip(data["candidates"], candidates, strict=True):
        np.testing.assert_allclose(shown["pos"], candidate.atoms.positions, atol=1e-4)
        misfit = np.asarray(data["obs"]) - np.asarray(shown["calc"])
        assert np.sqrt(np.sum(misfit**2) / np.sum(np.square(data["obs"]))) == pytest.approx(candidate.rw, abs=1e-3)
        assert np.bincount(np.ravel(shown["bonds"]), minlength=len(shown["pos"])).tolist() == shown["cn"]


def large() -> tuple[Candidate, MeasuredPdf]:
    """A truncated octahedron of 4033 atoms, a third of them on its surface; of its PDF only the scale matters here."""
    candidate, pdf = solved()[0][0], solved()[1]
    atoms = Octahedron("Pt", 19, 6, latticeconstant=3.92)
    return replace(candidate, atoms=Atoms(atoms.symbols, positions=atoms.positions), family="fcc"), pdf


def test_of_a_large_particle_the_surface_is_drawn(tmp_path: Path) -> None:
    candidate, pdf = large()
    report = write_solution([candidate], pdf, tmp_path / "out", {"element": "Pt"})
    shown = embedded(report.read_text())["candidates"][0]
    coordination = geometry(candidate.atoms.positions).coordination
    assert candidate.n_atoms == len(coordination) > 3000
    ids = np.array(shown["ids"]) - 1
    np.testing.assert_array_equal(ids, np.flatnonzero(coordination < 12))
    np.testing.assert_allclose(shown["pos"], candidate.atoms.positions[ids], atol=1e-4)
    assert shown["cn"] == coordination[ids].tolist()
    lengths = [np.linalg.norm(np.subtract(shown["pos"][i], shown["pos"][j])) for i, j in shown["bonds"]]
    np.testing.assert_allclose(lengths, 3.92 / np.sqrt(2.0), atol=1e-3)
    assert sum(number for _, number in shown["counts"]) == candidate.n_atoms
    assert shown["file"] == "candidate-01.xyz"
    assert len(read(report.parent / shown["file"])) == candidate.n_atoms
    assert report.stat().st_size < 600_000


def test_names_from_the_file_cannot_break_the_page(
    solution: tuple[list[Candidate], MeasuredPdf], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["/usr/bin/hpcpdf", "solve", "<tt>.gr"])
    candidates, pdf = solution
    hostile = "</script><script>alert(1)</script>&<b>.gr"
    named = replace(pdf, source=hostile, composition="<i>Pt</i>", notes=("<u>note</u>",))
    first = replace(candidates[0], family="</script><x>", notes=("<s>late</s>",))
    report = write_solution([first], named, tmp_path / "out", {"x": "</pre>"})
    html = report.read_text(encoding="utf-8")
    assert html.count("<script") == html.count("</script>") == 4
    for tag in ("<i>Pt", "<u>", "<s>", "<tt>", "<x>", "<b>."):
        assert tag not in html
    assert "hpcpdf solve &#39;&lt;tt&gt;.gr&#39;" in html
    assert embedded(html)["candidates"][0]["title"].endswith("</script><x>")


def test_a_whole_answer_is_shown(tmp_path: Path) -> None:
    answer, pdf = solutions.solution()
    html = write_solution(answer, pdf, tmp_path / "out", answer.settings).read_text(encoding="utf-8")
    text = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", "", html))
    assert f"verdict{answer.verdict} R" in text
    assert "probability 70 %" in text
    assert "or mirror image" in text
    assert "No icosahedral particle of any shape or size can fit better than 0.30" in text
    assert "200 structures that the search met, weighed by their probability" in text
    assert "fcc98 %" in text
    assert answer.notes[0] in text
    for value in (0.118, answer[0].rw_before_refine, answer[0].rw_relaxed, answer[0].rw):
        assert f"{value:.4f}" in text
    assert "over fcc, decahedral, icosahedral, bcc ones;" in text
    data = embedded(html)
    np.testing.assert_allclose(data["candidates"][0]["certainty"], answer[0].site_certainty, atol=1e-3)
    steps = data["candidates"][0]["steps"]
    assert [name for name, _ in steps] == ["bound of the family", "rigid", "surface relaxed", "all atoms free"]
    assert 'data-colour="certainty"' in html
    mirrored = read(tmp_path / "out" / "candidate-01-e1.xyz")
    np.testing.assert_allclose(mirrored.positions * [-1, 1, 1], answer[0].atoms.positions, atol=1e-7)
    certain = read(tmp_path / "out" / "candidate-01.xyz")
    np.testing.assert_allclose(certain.arrays["site_certainty"], answer[0].site_certainty, atol=1e-7)
    assert 'href="candidate-01-e1.xyz"' in html


def test_the_folder_reads_back_as_the_answer(tmp_path: Path) -> None:
    answer, pdf = solutions.solution()
    write_solution(answer, pdf, tmp_path / "out", answer.settings)
    again = read_solution(tmp_path / "out")
    assert again.bounds == answer.bounds
    assert [c.probability for c in again] == [c.probability for c in answer]
    document = json.loads((tmp_path / "out" / "candidates.json").read_text())
    assert document["verdict"] == answer.verdict
    assert document["bounds"] == answer.bounds
    assert document["families"] == answer.posterior.families
    assert [row["family_bound"] for row in document["candidates"]] == [0.118, 0.118, 0.131, 0.131, 0.304]


def test_candidates_alone_are_an_answer_too(folder: Path, solution: tuple[list[Candidate], MeasuredPdf]) -> None:
    html = (folder / "report.html").read_text(encoding="utf-8")
    for absent in ("What a family", "What the data leave open", "by certainty", ">probability<", "surface<br>relaxed"):
        assert absent not in html
    again = read_solution(folder)
    assert [c.rw for c in again] == [c.rw for c in solution[0]]
    assert again.verdict == judge(*solution).verdict
    assert f">{again.verdict}<" in html


def test_the_report_needs_no_torch() -> None:
    code = "import sys, hpcpdf.report.solve_report, hpcpdf.report.overview; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], timeout=120, capture_output=True, text=True, check=True)
    assert not {"torch", "matplotlib", "scipy.stats"} & set(done.stdout.split())


def test_same_data_again_replaces_the_result(solution: tuple[list[Candidate], MeasuredPdf], tmp_path: Path) -> None:
    candidates, pdf = solution
    write_solution(candidates, pdf, tmp_path / "out", {})
    write_solution(candidates[:2], pdf, tmp_path / "out", {})
    assert len(list((tmp_path / "out").glob("*.xyz"))) == 2
    assert [entry.name for entry in tmp_path.iterdir()] == ["out"]


def test_other_data_or_files_are_kept(solution: tuple[list[Candidate], MeasuredPdf], tmp_path: Path) -> None:
    candidates, pdf = solution
    out = tmp_path / "out"
    write_solution(candidates[:1], pdf, out, {})
    before = (out / "report.html").read_bytes()
    other = replace(pdf, g=pdf.g * 1.01)
    with pytest.raises(ConfigError, match="other data"):
        write_solution(candidates, other, out, {})
    assert (out / "report.html").read_bytes() == before
    write_solution(candidates[:1], other, out, {}, overwrite=True)
    (out / "my-notes.txt").write_text("keep")
    with pytest.raises(ConfigError, match=r"my-notes\.txt"):
        check_solution_dir(out, other, overwrite=True)
    with pytest.raises(ConfigError, match="is a file"):
        check_solution_dir(out / "my-notes.txt", pdf)


def test_nothing_half_written(
    solution: tuple[list[Candidate], MeasuredPdf], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full_disk(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("hpcpdf.report.figures.save", full_disk)
    with pytest.raises(OSError, match="No space"):
        write_solution(*solution, tmp_path / "out", {})
    assert list(tmp_path.iterdir()) == []


def test_overview_of_several_files(solution: tuple[list[Candidate], MeasuredPdf], tmp_path: Path) -> None:
    candidates, pdf = solution
    second = [replace(candidates[1], rw=0.3), replace(candidates[0], rw=0.301)]
    folders = [tmp_path / "a b", tmp_path / "c"]
    write_solution(candidates, pdf, folders[0], {})
    write_solution(second, replace(pdf, source="x/<i>.gr"), folders[1], {})
    page = write_overview(tmp_path, folders)
    html = page.read_text(encoding="utf-8")
    assert not re.search(r"https?:|<script|<i>\.gr", html)
    assert 'href="a%20b/report.html"' in html
    rows = list(csv.DictReader((tmp_path / "overview.csv").read_text().splitlines()))
    assert [row["formula"] for row in rows] == ["Pt79", "Pt116"]
    assert [row["fit_equally_well"] for row in rows] == ["1", "2"]
    assert [row["verdict"] for row in rows] == ["fair", "fair"]
    assert all((tmp_path / row["report"]).exists() for row in rows)


def test_no_candidates(solution: tuple[list[Candidate], MeasuredPdf], tmp_path: Path) -> None:
    with pytest.raises(SolverError, match="no candidate"):
        write_solution([], solution[1], tmp_path / "out", {})
