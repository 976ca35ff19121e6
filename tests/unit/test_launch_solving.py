"""Files in, folders and lines out; the search itself is stood in for by an answer made by hand."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from math import nan
from pathlib import Path

import numpy as np
import pytest
from solutions import solution

from hpcpdf import read_solution
from hpcpdf.cli.main import main
from hpcpdf.errors import ConfigError, DataError
from hpcpdf.launch.solving import SolveSettings, solve_files
from hpcpdf.pdf.gr import write_gr
from hpcpdf.reconstruct.solution import Posterior
from hpcpdf.report.lines import ranking, summary


@pytest.fixture
def sample(tmp_path: Path) -> Path:
    write_gr(tmp_path / "sample.gr", solution()[1])
    return tmp_path / "sample.gr"


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[dict]:
    """Arguments of every call of `solve`."""
    calls: list[dict] = []

    def solve(pdf, **options):
        calls.append(options)
        options.pop("progress")("searching")
        return solution()[0]

    monkeypatch.setattr("hpcpdf.reconstruct.solve.solve", solve)
    return calls


def test_a_file_becomes_a_folder_and_lines(sample: Path, asked: list[dict], tmp_path: Path) -> None:
    said: list[str] = []
    settings = SolveSettings(element="Pt", effort="thorough", seed=3)
    assert solve_files([sample], settings, tmp_path / "out", say=said.append) == [tmp_path / "out"]
    answer = solution()[0]
    assert asked == [
        {
            **{"element": "Pt", "model": None, "n_samples": 1000, "top": 10, "refine": True},
            **{"r_range": (1.5, 20.0), "effort": "thorough", "seed": 3},
        }
    ]
    assert [c.rw for c in read_solution(tmp_path / "out")] == [c.rw for c in answer]
    text = "\n".join(said)
    assert "searching" in text
    assert f"verdict: {answer.verdict} (R_w 0.181)." in text
    assert said[-1] == f"-> {tmp_path / 'out' / 'report.html'}"
    html = (tmp_path / "out" / "report.html").read_text()
    assert f'"word {answer.verdict}"' in html
    assert "&#34;effort&#34;: &#34;thorough&#34;" in html


def test_several_files_have_an_overview(sample: Path, asked: list[dict], tmp_path: Path) -> None:
    write_gr(tmp_path / "other.gr", solution()[1])
    said: list[str] = []
    files = [sample, tmp_path / "other.gr"]
    solve_files(files, SolveSettings(element="Pt"), tmp_path / "out", say=said.append)
    assert len(asked) == 2
    assert (tmp_path / "out" / "overview.html").exists()
    assert read_solution(tmp_path / "out" / "other").verdict == "fair"


def test_the_command_line_says_how_long_to_search(sample: Path, asked: list[dict], tmp_path: Path, capsys) -> None:
    base = ["solve", str(sample), "--element", "Pt", "--out"]
    assert main([*base, str(tmp_path / "a"), "--effort", "quick"]) == 0
    assert main([*base, str(tmp_path / "b")]) == 0
    assert [options["effort"] for options in asked] == ["quick", "normal"]
    assert main([*base, str(tmp_path / "c"), "--effort", "great"]) == 2
    assert "'quick', 'normal', 'thorough'" in capsys.readouterr().err.replace("\n", " ")


def test_a_structure_factor_is_transformed_as_asked(tmp_path: Path, asked: list[dict], monkeypatch, capsys) -> None:
    """And what was asked for stands in the record."""
    seen = []
    answer = solution()[0]
    monkeypatch.setattr("hpcpdf.reconstruct.solve.solve", lambda pdf, **options: seen.append(pdf) or answer)
    q = np.arange(0.5, 24.0, 0.02)
    rows = [f"{a:.4f} {1.0 + np.sin(2.77 * a) * np.exp(-0.004 * a * a) / (2.77 * a):.8f}" for a in q]
    (tmp_path / "a.sq").write_text("\n".join(rows))
    base = ["solve", str(tmp_path / "a.sq"), "-e", "Pt", "--radiation", "neutron", "--lorch", "--qmin", "1"]
    assert main([*base, "--qmax", "20", "--dry-run", "--out", str(tmp_path / "out")]) == 0
    assert "Lorch" in capsys.readouterr().out
    assert main([*base, "--qmax", "20", "--out", str(tmp_path / "out")]) == 0
    assert (seen[0].qmin, seen[0].qmax, seen[0].radiation) == (1.0, 20.0, "neutron")
    peak = seen[0].r[np.argmax(seen[0].g)]
    assert abs(peak - 2.77) < 0.05
    html = (tmp_path / "out" / "report.html").read_text()
    for name, value in (("qmax", "20.0"), ("lorch", "true"), ("radiation", "&#34;neutron&#34;")):
        assert f"&#34;{name}&#34;: {value}" in html
    assert main([*base, "--qmax", "30", "--out", str(tmp_path / "out2")]) == 1
    assert "outside of the data" in capsys.readouterr().err


def test_a_model_that_is_not_there_is_found_before_the_search(sample: Path, asked: list[dict], tmp_path: Path) -> None:
    for model in (tmp_path / "none.safetensors", tmp_path):
        with pytest.raises(DataError, match="no such model file"):
            solve_files([sample], SolveSettings(element="Pt", model=model), tmp_path / "out", say=print)
    assert asked == []
    with pytest.raises(ConfigError):
        solve_files([sample], SolveSettings(element="Xx"), tmp_path / "out", say=print)


def test_the_table() -> None:
    answer, _ = solution()
    lines = ranking(answer, (1.5, 20.0))
    assert lines[0].split() == [
        *("rank", "probability", "R_w(1.5-20", "A)", "Pearson", "atoms", "family", "nn", "(A)", "coordination"),
    ]
    assert lines[1].split()[:3] == ["1", "70", "%"]
    assert f"{answer[0].rw:.4f}" in lines[1]
    assert len({len(line) for line in lines}) == 1
    bare = ranking([replace(answer[0], probability=nan)], (1.5, 20.0))
    assert bare[1].split()[1] == "-"


def test_the_summary() -> None:
    answer, pdf = solution()
    text = summary(answer, pdf)
    assert text[0].startswith("verdict: fair (R_w 0.181). Structures that differ in number of atoms")
    assert text[1] == (
        "lowest R_w of any rigid particle: fcc 0.118, decahedron 0.131, icosahedron 0.304 (excluded), "
        "bcc 0.482 (excluded)"
    )
    assert text[2].startswith("posterior: atoms 75-85 (90 %), diameter 11.1-11.8 A, fcc 98 %")
    assert "no PDF tells from 1: mirror image" in text
    assert f"note: {answer.notes[0]}" in text
    twins = replace(answer, candidates=(answer[0], replace(answer[1], rw=1.01 * answer[0].rw)))
    assert "no worse than the best within the noise: 2 (Pt116 octahedron)" in summary(twins, pdf)


def test_a_summary_without_bounds_and_posterior_is_short_and_plain() -> None:
    answer, pdf = solution()
    lean = replace(answer, family_bounds=(), posterior=Posterior(), notes=("peak at 2.7 Å⁻¹ × 2 – δ2 in Å²",))
    text = summary(lean, replace(pdf, qmax=None))
    assert not any(line.startswith(("lowest", "posterior")) for line in text)
    assert "note: peak at 2.7 A^-1 x 2 - delta2 in A^2" in text
    assert all(line.isascii() for line in text)


def test_the_word_is_the_same_everywhere(sample: Path, asked: list[dict], tmp_path: Path) -> None:
    said: list[str] = []
    solve_files([sample], SolveSettings(element="Pt"), tmp_path / "out", say=said.append)
    word = solution()[0].verdict
    assert sum(line.startswith(f"verdict: {word} ") for line in said) == 1
    assert f">{word}: R" in (tmp_path / "out" / "report.html").read_text()
    assert read_solution(tmp_path / "out").verdict == word


def test_neither_command_line_nor_launch_load_torch() -> None:
    code = "import sys, hpcpdf.cli.main, hpcpdf.launch.solving; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], timeout=120, capture_output=True, text=True, check=True)
    assert not {"torch", "matplotlib", "scipy.stats"} & set(done.stdout.split())


def test_the_data_are_those_of_the_file(sample: Path) -> None:
    """The stand-in must not hide that files are read: what was written is the PDF of the answer."""
    from hpcpdf import read_gr

    np.testing.assert_allclose(read_gr(sample).g, solution()[1].g, atol=1e-5)
