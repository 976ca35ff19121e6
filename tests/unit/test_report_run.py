"""The report of a run, from artefact folders as the stages leave them."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest

from hpcpdf.config import RunConfig, load_config
from hpcpdf.dataset import generate
from hpcpdf.dataset.reader import open_dataset
from hpcpdf.errors import DataError, HpcPdfError
from hpcpdf.evaluate.table import compare
from hpcpdf.reconstruct.batch import FORMAT, FORMAT_VERSION
from hpcpdf.report import run_report
from hpcpdf.stage import Context, mark_finished, relevant

STAGES = ("dataset", "model", "reconstruct", "evaluate")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders of a run whose network found every structure, but a tenth of an ångström off."""
    out = tmp_path_factory.mktemp("run") / "quick"
    config = configured(out)
    generate.run(config, Context())
    train(out / "model")
    rw = reconstruct(out)
    scores = {"rw": rw, "pearson": 1 - rw**2, "atoms_exact": np.ones(len(rw)), "atoms_error": np.zeros(len(rw))}
    look_up = {name: values * 1.5 for name, values in scores.items()}
    compare({"network": scores, "look-up <in> training": look_up}, published=True).write(out / "evaluate")
    lines = [f"{name},{value}" for name in ("network", "look-up <in> training") for value in rw]
    (out / "evaluate" / "scores.csv").write_text("\n".join(["method,rw", *lines]) + "\n")
    mark_finished(out / "evaluate", {})
    return out


def configured(out: Path) -> RunConfig:
    return load_config(None, [f"run.out={out}", "clusters.n=60", "clusters.max_atoms=40", "reconstruct.n_samples=8"])


def train(folder: Path) -> None:
    lines = [{"epoch": i, "train": {"loss": 3.0 / i}, "validation": {"loss": 3.5 / i}} for i in range(1, 8)]
    folder.mkdir()
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    mark_finished(folder, {}, summary={"best_epoch": 7, "seconds": 4000.0}, parameters=1_234_567)


def reconstruct(out: Path) -> np.ndarray:
    dataset = open_dataset(out / "dataset")
    rows = dataset.rows("test")
    rng = np.random.default_rng(0)
    truth = dataset.take(rows, ["positions", "n_atoms", "pdf", "family"])
    inside = (dataset.r >= 1.5) & (dataset.r <= 20.0)
    g = truth["pdf"][:, inside].astype(float)
    shift = rng.uniform(0.01, 0.5, len(rows))
    calculated = g + shift[:, None] * np.roll(g, 3, axis=1)
    rw = np.sqrt(np.sum((g - calculated) ** 2, axis=1) / np.sum(g**2, axis=1))
    columns = {
        "row": rows,
        "rw": rw,
        "rw_samples": rw[:, None] * rng.uniform(1, 4, (len(rows), 8)),
        "n_atoms": truth["n_atoms"],
        "positions": truth["positions"] + 0.1,
        "g_obs": g,
        "g_calc": calculated,
        "r": dataset.r[inside],
        "family": np.array([dataset.families[k] for k in truth["family"]], dtype="S16"),
    }
    (out / "reconstruct").mkdir()
    with h5py.File(out / "reconstruct" / "results.h5", "w") as file:
        file.attrs.update({"format": FORMAT, "format_version": FORMAT_VERSION})
        for name, values in columns.items():
            file[name] = values
    mark_finished(out / "reconstruct", {})
    return rw


def test_report_shows_the_run(finished: Path) -> None:
    report = run_report.run(configured(finished), Context())
    html = report.read_text(encoding="utf-8")
    assert len(html) < 3_000_000
    assert not re.search(r"https?:|//[a-z]+\.|@import|url\(", html)
    assert all(source.startswith("data:image/png;base64,") for source in re.findall(r'src="([^"]*)"', html))
    assert "1.23 million parameters, 7 epochs" in html
    assert "look-up &lt;in&gt; training" in html
    assert "100.0 %" in html
    assert {path.suffix for path in report.parent.iterdir()} == {".html", ".json", ".png", ".pdf"}


def test_examples_run_from_best_to_worst(finished: Path) -> None:
    html = run_report.run(configured(finished), Context()).read_text(encoding="utf-8")
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', html, re.S)
    assert found
    examples = json.loads(found[1])["examples"]
    with h5py.File(finished / "reconstruct" / "results.h5") as file:
        rw = np.sort(file["rw"][()])
    shown = []
    for example in examples:
        g, calculated = np.array(example["obs"]), np.array(example["calc"])
        shown.append(np.sqrt(np.sum((g - calculated) ** 2) / np.sum(g**2)))
        np.testing.assert_allclose(np.array(example["found"]["pos"]) - example["true"]["pos"], 0.1, atol=0.002)
        assert example["true"]["cn"] == example["found"]["cn"]
    assert shown == sorted(shown)
    assert shown[0] == pytest.approx(rw[0], abs=2e-3)
    assert shown[-1] == pytest.approx(rw[-1], abs=2e-3)


def test_finished_report_is_kept_and_others_do_not_write(finished: Path, tmp_path: Path) -> None:
    out = shutil.copytree(finished, tmp_path / "copy")
    shutil.rmtree(out / "report", ignore_errors=True)
    run_report.run(configured(out), Context(rank=1, world=2))
    assert not (out / "report").exists()
    report = run_report.run(configured(out), Context())
    before = report.stat().st_mtime_ns
    run_report.run(configured(out), Context())
    assert report.stat().st_mtime_ns == before
    settings = json.loads((report.parent / "provenance.json").read_text())["settings"]
    wanted = relevant(configured(out), "clusters", "pdf", "dataset", "model", "training", "reconstruct")
    assert settings == json.loads(json.dumps(wanted))


@pytest.mark.parametrize("stage", STAGES)
def test_unfinished_stage_is_named(finished: Path, tmp_path: Path, stage: str) -> None:
    out = shutil.copytree(finished, tmp_path / "copy", ignore=shutil.ignore_patterns("report"))
    (out / stage / "provenance.json").unlink()
    with pytest.raises(DataError, match=rf"{stage}.*not finished; run hpcpdf"):
        run_report.run(configured(out), Context())
    assert sorted(path.name for path in out.iterdir()) == sorted(STAGES)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("model/metrics.jsonl", '{"epoch": 1}\n'),
        ("model/metrics.jsonl", "not json\n"),
        ("model/provenance.json", "{}"),
        ("evaluate/table.json", "[]"),
        ("evaluate/table.json", '{"rows": 3}'),
        ("evaluate/provenance.json", "{"),
        ("evaluate/scores.csv", "method,rw\nnetwork,low\n"),
        ("reconstruct/results.h5", "text"),
    ],
)
def test_damaged_files_are_named(finished: Path, tmp_path: Path, name: str, content: str) -> None:
    out = shutil.copytree(finished, tmp_path / "copy", ignore=shutil.ignore_patterns("report"))
    (out / name).write_text(content)
    with pytest.raises(HpcPdfError) as caught:
        run_report.run(configured(out), Context())
    assert Path(name).parent.name in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (out / "report").exists()


@pytest.mark.parametrize(
    "name", ["model/metrics.jsonl", "evaluate/table.json", "evaluate/scores.csv", "reconstruct/results.h5"]
)
def test_missing_files_are_named(finished: Path, tmp_path: Path, name: str) -> None:
    out = shutil.copytree(finished, tmp_path / "copy", ignore=shutil.ignore_patterns("report"))
    (out / name).unlink()
    with pytest.raises(DataError, match=name):
        run_report.run(configured(out), Context())


def test_results_of_another_data_set_are_refused(finished: Path, tmp_path: Path) -> None:
    out = shutil.copytree(finished, tmp_path / "copy", ignore=shutil.ignore_patterns("report"))
    with h5py.File(out / "reconstruct" / "results.h5", "a") as file:
        file["row"][-1] = 10_000
    with pytest.raises(DataError, match="rows are not those of"):
        run_report.run(configured(out), Context())
