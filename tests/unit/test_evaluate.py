"""The evaluation stage on a data set of its own and on results that are known to be right or wrong."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import h5py
import numpy as np
import pytest

from hpcpdf.config import load_config
from hpcpdf.dataset import generate
from hpcpdf.dataset.reader import open_dataset
from hpcpdf.errors import DataError
from hpcpdf.evaluate import evaluate
from hpcpdf.reconstruct.batch import FORMAT, FORMAT_VERSION
from hpcpdf.stage import Context

OPTIONS = ("clusters.n=60", "clusters.max_atoms=40", "clusters.families=['fcc']", "clusters.elements=['Pt','Au']")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    out = tmp_path_factory.mktemp("evaluate")
    config = load_config(None, [f"run.out={out}", *OPTIONS, "dataset.split=shape"])
    generate.run(config, Context())
    return config


def _results(config, *, atoms_off: int = 0, noise: float = 0.0) -> None:
    """Pretend that the test clusters were found: exactly, with `atoms_off` atoms missing, or moved by `noise` Å."""
    dataset = open_dataset(config.run.out / "dataset")
    rows = dataset.rows("test")
    truth = dataset.take(rows, ("pdf", "positions", "n_atoms"))
    n, keep = len(rows), (dataset.r >= 1.5 - 1e-9) & (dataset.r <= 20.0 + 1e-9)
    positions = truth["positions"] + np.random.default_rng(0).normal(0.0, noise, truth["positions"].shape)
    for one, count in zip(positions, truth["n_atoms"], strict=True):
        one[count - atoms_off :] = np.nan
    observed = truth["pdf"][:, keep].astype(np.float64)
    folder = config.run.out / "reconstruct"
    folder.mkdir(exist_ok=True)
    with h5py.File(folder / "results.h5", "w") as file:
        file.attrs.update({"format": FORMAT, "format_version": FORMAT_VERSION})
        file["row"], file["rw"], file["positions"] = rows, np.full(n, 0.01), positions
        file["g_obs"], file["g_calc"] = observed, 2.0 * observed
        file["rw_samples"] = np.tile([0.1, 0.3, 0.5], (n, 1))


def _evaluate(config, tmp_path: Path):
    folder = config.run.out / "evaluate"
    if folder.exists():
        folder.rename(tmp_path / "earlier")
    assert evaluate.run(config, Context()) == folder
    data = json.loads((folder / "table.json").read_text())
    return {row["method"]: row["columns"] for row in data["rows"]}, data


def test_right_structures_get_full_marks(made, tmp_path):
    _results(made)
    rows, _ = _evaluate(made, tmp_path)
    ours = rows["site-cvae"]
    assert ours["atoms_exact"]["mean"] == 1.0
    assert ours["rmsd"]["median"] < 1e-5
    assert ours["pearson"]["mean"] == pytest.approx(1.0)
    assert ours["epsilon2_unit"]["mean"] == pytest.approx(0.0, abs=1e-12)
    assert ours["rw"]["median"] == pytest.approx(0.01)


def test_missing_atoms_and_moved_atoms_are_seen(made, tmp_path):
    _results(made, atoms_off=2)
    rows, _ = _evaluate(made, tmp_path)
    assert rows["site-cvae"]["atoms_error"]["mean"] == -2.0
    assert rows["site-cvae"]["atoms_exact"]["mean"] == 0.0
    (tmp_path / "second").mkdir()
    _results(made, noise=0.05)
    rows, _ = _evaluate(made, tmp_path / "second")
    # Root mean square of three coordinates, less what the alignment takes out.
    assert 0.06 < rows["site-cvae"]["rmsd"]["mean"] < 0.05 * np.sqrt(3) * 1.1


def test_the_look_up_is_fitted_and_never_finds_a_test_shape_in_a_disjoint_split(made, tmp_path):
    _results(made)
    rows, data = _evaluate(made, tmp_path)
    baseline = rows[evaluate.LOOK_UP]
    assert 0.0 < baseline["rw"]["mean"] < 0.6
    assert baseline["pearson"]["mean"] > 0.8
    assert not baseline["rmsd"]["n"] or baseline["rmsd"]["mean"] > 0.01
    assert {test["column"] for test in data["tests"]} == {"pearson", "rw"}


def test_the_look_up_solves_its_own_training_shapes(tmp_path_factory, tmp_path):
    out = tmp_path_factory.mktemp("paper")
    config = load_config(None, [f"run.out={out}", "clusters.recipe=paper", "clusters.n=120", "dataset.split=paper"])
    generate.run(config, Context())
    _results(config)
    rows, data = _evaluate(config, tmp_path)
    assert rows[evaluate.LOOK_UP]["pearson"]["median"] > 0.99
    assert rows[evaluate.LOOK_UP]["atoms_exact"]["mean"] == 1.0
    assert any("published" in name for name in rows)
    assert "paper protocol" in data["title"]


def test_scores_of_every_pdf_are_kept(made, tmp_path):
    _results(made)
    _evaluate(made, tmp_path)
    with (made.run.out / "evaluate" / "scores.csv").open(newline="") as handle:
        lines = list(csv.DictReader(handle))
    rows = open_dataset(made.run.out / "dataset").rows("test")
    assert [int(line["row"]) for line in lines if line["method"] == "site-cvae"] == rows.tolist()
    assert {line["method"] for line in lines} == {"site-cvae", evaluate.LOOK_UP}


def test_a_finished_evaluation_is_kept(made, tmp_path):
    _results(made)
    _evaluate(made, tmp_path)
    before = (made.run.out / "evaluate" / "table.txt").stat().st_mtime_ns
    evaluate.run(made, Context())
    assert (made.run.out / "evaluate" / "table.txt").stat().st_mtime_ns == before
    assert "standard deviation 0.1633" in evaluate.table_text(made.run.out / "evaluate")


def test_spread_ignores_lost_samples():
    rw = np.array([[0.1, np.nan, 0.3], [np.nan, np.nan, np.nan], [0.2, 0.2, 0.2]])
    spread = evaluate.sample_spread(rw)
    assert spread["samples"] == 3
    assert spread["best"] == pytest.approx(0.15)
    assert spread["std"] == pytest.approx(0.05)
    assert np.isnan(evaluate.sample_spread(rw[1:2])["best"])


def test_missing_results_are_named(tmp_path):
    with pytest.raises(DataError, match=r"table\.txt: no such file; run evaluate first"):
        evaluate.table_text(tmp_path)
