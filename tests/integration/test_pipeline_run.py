"""The whole pipeline, small, and the verbs that use the model it trains."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import h5py
import numpy as np
import pytest
from ase.io import read

from hpcpdf.cli.main import main
from hpcpdf.clusters.template import template
from hpcpdf.pdf.gr import MeasuredPdf, write_gr
from hpcpdf.pdf.params import PdfParams
from hpcpdf.pdf.simulate import simulate_pdf
from hpcpdf.reconstruct.batch import read_results

CONFIG = """
[clusters]
n = 60
max_atoms = 20
families = ["fcc"]
elements = ["Pt"]
[model]
latent = 4
hidden = 32
[training]
max_epochs = 3
device = "cpu"
[reconstruct]
limit = 3
n_samples = 6
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    (folder / "tiny.toml").write_text(CONFIG)
    assert main(["run", str(folder / "tiny.toml"), "--set", f"run.out={folder / 'run'}"]) == 0
    for name, n in (("small", 13), ("large", 19)):
        positions = template("fcc").sites[:n] * 2.77
        r, g = simulate_pdf(positions, PdfParams(), n_threads=1)
        write_gr(folder / f"{name}.gr", MeasuredPdf(r[1:], g[1:], qmin=0.8, qmax=25.0, composition="Pt"))
    return folder


def _modified(folder: Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


def test_every_stage_left_its_artefact(folder):
    run = folder / "run"
    for path in (
        "config.json",
        "dataset/dataset.h5",
        "model/model.safetensors",
        "reconstruct/results.h5",
        "evaluate/table.csv",
        "report/report.html",
    ):
        assert (run / path).stat().st_size > 0, path
    assert "<html" in (run / "report" / "report.html").read_text()


def test_a_second_run_does_nothing(folder, capfd):
    arguments = ["run", str(folder / "tiny.toml"), "--set", f"run.out={folder / 'run'}"]
    before = {name: time for name, time in _modified(folder / "run").items() if not name.endswith("config.json")}
    assert main(arguments) == 0
    after = _modified(folder / "run")
    assert {name: after[name] for name in before} == before
    assert capfd.readouterr().out.count("finished already") == 5


def test_evaluate_prints_the_table_of_a_run_folder(folder, capfd):
    assert main(["evaluate", str(folder / "run")]) == 0
    out = capfd.readouterr().out
    assert "site-cvae" in out
    assert "look-up" in out
    assert "R_w best" in out


def test_other_settings_are_refused_in_a_finished_folder(folder, capfd):
    before = _modified(folder / "run")
    options = ["--set", f"run.out={folder / 'run'}", "--set", "training.batch=9"]
    assert main(["run", str(folder / "tiny.toml"), *options]) == 2
    assert "training.batch" in capfd.readouterr().err
    assert _modified(folder / "run") == before


def test_solve_writes_ranked_candidates(folder, tmp_path, capfd):
    model, out = folder / "run" / "model", tmp_path / "solved"
    options = ["--model", str(model), "--samples", "20", "--top", "2", "--no-refine"]
    assert main(["solve", str(folder / "small.gr"), "--element", "Pt", "--out", str(out), *options]) == 0
    with (out / "candidates.csv").open(newline="") as handle:
        rows = list(csv.DictReader(handle))
    assert 1 <= len(rows) <= 2
    assert float(rows[0]["rw"]) <= float(rows[-1]["rw"])
    atoms = read(out / "candidate-01.xyz")
    assert set(atoms.get_chemical_symbols()) == {"Pt"}
    printed = capfd.readouterr().out
    assert "R_w(1.5-20 A)" in printed
    assert str(out / "report.html") in printed
    settings = json.loads((out / "provenance.json").read_text())["settings"]
    assert settings["n_samples"] == 20


def test_solve_again_replaces_its_own_result_only(folder, tmp_path, capfd):
    options = ["-e", "Pt", "-o", str(tmp_path / "out"), "-m", str(folder / "run" / "model"), "-n", "5", "--top", "1"]
    assert main(["solve", str(folder / "small.gr"), "--no-refine", *options]) == 0
    assert main(["solve", str(folder / "small.gr"), "--dry-run", *options]) == 0
    assert main(["solve", str(folder / "large.gr"), *options]) == 2
    assert "other data" in capfd.readouterr().err
    assert main(["solve", str(folder / "large.gr"), "--overwrite", "--dry-run", *options]) == 0


def test_solve_of_several_files_has_a_folder_each(folder, tmp_path):
    files = [str(folder / "small.gr"), str(folder / "large.gr")]
    options = ["-e", "Pt", "-o", str(tmp_path), "-m", str(folder / "run" / "model"), "-n", "5", "--top", "1"]
    assert main(["solve", *files, "--no-refine", *options]) == 0
    assert {path.parent.name for path in tmp_path.glob("*/report.html")} == {"small", "large"}


@pytest.mark.parametrize(
    ("element", "says"), [("Au", "not in its composition"), ("Xx", "Xx"), ("pt", "pt"), ("Na", "Na")]
)
def test_wrong_elements(folder, tmp_path, capfd, element, says):
    arguments = ["solve", str(folder / "small.gr"), "--element", element, "--out", str(tmp_path / "out")]
    assert main([*arguments, "--model", str(folder / "run" / "model")]) == 2
    error = capfd.readouterr().err
    assert error.startswith("hpcpdf: error: ")
    assert error.count("\n") == 1
    assert says in error
    assert not (tmp_path / "out").exists()


def _edit(path: Path, **metadata: str) -> None:
    """Rewrite the header of a model file."""
    from safetensors.numpy import load, save_file

    save_file(load(path.read_bytes()), path, metadata)


WRONG_MODELS = {
    "missing": (lambda path: path.unlink(), "no such model"),
    "truncated": (lambda path: path.write_bytes(path.read_bytes()[:1000]), "not a readable model"),
    "text": (lambda path: path.write_text("weights"), "not a readable model"),
    "foreign": (lambda path: _edit(path, format="another"), "not an hpcpdf model"),
    "version": (lambda path: _edit(path, format="hpcpdf-model", format_version="99"), "version 99"),
}


@pytest.mark.parametrize(
    ("verb", "wrong"),
    [
        *[("reconstruct", name) for name in WRONG_MODELS],
        *[("solve", name) for name in WRONG_MODELS],
    ],
)
def test_wrong_models(folder, tmp_path, capfd, verb, wrong):
    change, says = WRONG_MODELS[wrong]
    model, out = tmp_path / "model.safetensors", tmp_path / "out.h5"
    model.write_bytes((folder / "run" / "model" / "model.safetensors").read_bytes())
    change(model)
    source = folder / "small.gr"
    if verb == "reconstruct":
        r, g = simulate_pdf([template("fcc").sites[:13] * 2.77], PdfParams(), n_threads=1)
        source = _pdfs(tmp_path / "pdfs.h5", r=r, pdf=g)
    arguments = [verb, str(source), "--element", "Pt", "--out", str(out), "--model", str(model)]
    assert main(arguments if verb == "solve" else [*arguments, "--qmin", "0.8", "--qmax", "25"]) == 1
    error = capfd.readouterr().err
    assert error.startswith(f"hpcpdf: error: {model}: ")
    assert error.count("\n") == 1
    assert says in error
    assert not out.exists()


def _pdfs(path: Path, **columns: np.ndarray) -> Path:
    with h5py.File(path, "w") as file:
        for name, values in columns.items():
            file[name] = values
    return path


def test_reconstruct_writes_a_row_for_each_pdf(folder, tmp_path):
    clusters = [template("fcc").sites[:n] * 2.77 for n in (13, 15, 19)]
    r, g = simulate_pdf(clusters, PdfParams(), n_threads=1)
    source = _pdfs(tmp_path / "pdfs.h5", r=r, pdf=g)
    options = ["--model", str(folder / "run" / "model"), "--element", "Pt", "--qmin", "0.8", "--qmax", "25"]
    out = tmp_path / "structures.h5"
    assert main(["reconstruct", str(source), "--out", str(out), "--samples", "4", *options]) == 0
    results = read_results(out)
    assert results["row"].tolist() == [0, 1, 2]
    assert np.isfinite(results["rw"]).all()


@pytest.mark.parametrize(
    ("columns", "options", "code", "says"),
    [
        ({}, ["--element", "Pt"], 1, "pdf"),
        ({"r": np.arange(4.0)}, ["--element", "Pt"], 1, "pdf"),
        ({"r": np.arange(4.0), "pdf": np.zeros((2, 5))}, ["--element", "Pt"], 1, "shape"),
        ({"r": -np.arange(301.0), "pdf": np.zeros((2, 301))}, ["--element", "Pt"], 1, "ascend"),
        ({"r": np.arange(301) * 0.1, "pdf": np.ones((2, 301))}, [], 2, "--element"),
        ({"r": np.arange(301) * 0.1, "pdf": np.ones((2, 301))}, ["--element", "Pt"], 2, "--qmin"),
        ({"r": np.arange(301) * 0.1, "pdf": np.ones((2, 301))}, ["--element", "Pt", "--qmin", "1"], 2, "both or none"),
    ],
    ids=["nothing", "no-pdf", "shapes", "unsorted", "no-element", "no-range", "half-a-range"],
)
def test_wrong_sets_of_pdfs(folder, tmp_path, capfd, columns, options, code, says):
    source, out = _pdfs(tmp_path / "pdfs.h5", **columns), tmp_path / "out.h5"
    options = [*options, "--model", str(folder / "run" / "model")]
    assert main(["reconstruct", str(source), "--out", str(out), *options]) == code
    error = capfd.readouterr().err
    assert error.startswith("hpcpdf: error: ")
    assert error.count("\n") == 1
    assert says in error
    assert [path.name for path in tmp_path.iterdir()] == ["pdfs.h5"]


def test_interpolate_walks_from_one_to_the_other(folder, tmp_path, capfd):
    files = [str(folder / "small.gr"), str(folder / "large.gr")]
    options = [
        "--element",
        "Pt",
        "--model",
        str(folder / "run" / "model"),
        "--steps",
        "4",
        "--out",
        str(tmp_path / "w"),
    ]
    assert main(["interpolate", *files, *options]) == 0
    with (tmp_path / "w" / "way.csv").open(newline="") as handle:
        fractions = [float(row["fraction"]) for row in csv.DictReader(handle)]
    assert fractions == pytest.approx([0, 1 / 3, 2 / 3, 1], abs=1e-4)
    assert len(list((tmp_path / "w").glob("step-*.xyz"))) == 4
    assert (tmp_path / "w" / "way.png").stat().st_size > 10_000
    assert main(["interpolate", *files, *options]) == 0
    assert main(["interpolate", *reversed(files), *options]) == 2
    assert "other data" in capfd.readouterr().err
