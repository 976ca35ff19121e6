"""A study from its configuration to its report, small: trained in processes of its own, interrupted, gone on."""

from __future__ import annotations

import csv
import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

PAPER = Path(__file__).parents[2] / "examples" / "paper.toml"
SMALL = (
    "study.splits=['paper']",
    "study.seeds=[1]",
    "study.satellites=[0]",
    "study.variants=[]",
    "study.pairs=3",
    "study.steps=3",
    "study.n_samples=3",
    "clusters.n=300",
    "training.max_epochs=2",
)
NAMES = ("paper-cvae-2020-seed1", "paper-dae-2020-seed1", "paper-cvae-2020-seed1-satellites0")


def command(verb: str, out: Path, *more: str) -> list[str]:
    changes = [part for text in (*SMALL, f"run.out='{out}'") for part in ("--set", text)]
    return [str(Path(sys.executable).with_name("hpcpdf")), verb, str(PAPER), *changes, *more]


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("study") / "out"
    subprocess.run(command("run", folder), check=True, timeout=500, capture_output=True)
    return folder


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as handle:
        return list(csv.DictReader(handle))


def test_every_member_is_scored(out: Path) -> None:
    for name in NAMES:
        found = rows(out / "members" / name / "scores" / "scores.csv")
        methods = list(dict.fromkeys(row["method"] for row in found))
        assert methods[:4] == ["one sample", "one sample, zoom", "best of many", "best of many, zoom"]
        assert {"look-up", "look-up, zoom", "scale", "atom count", "disorder", "ordering", "latent"} < set(methods)
        assert len(found) == len(methods) * sum(row["method"] == "one sample" for row in found)


def test_what_is_chosen_or_fitted_does_not_correlate_worse(out: Path) -> None:
    for name in NAMES[:2]:
        found = rows(out / "members" / name / "scores" / "scores.csv")
        pearson = {
            m: np.array([float(r["pearson"]) for r in found if r["method"] == m]) for m in {r["method"] for r in found}
        }
        assert (pearson["look-up, zoom"] > 0.9).all(), "nine shapes, all of them in training"
        assert pearson["look-up, zoom"].mean() > pearson["look-up"].mean() - 1e-6
        exact = np.array([float(r["atoms_exact"]) for r in found if r["method"] == "atom count"])
        assert exact.all()
        if "dae" in name:
            assert pearson["best of many"] == pytest.approx(pearson["one sample"], abs=1e-5), "it has one answer"


def test_tables_are_of_the_members(out: Path) -> None:
    table = json.loads((out / "study" / "table1.json").read_text())["splits"]["paper"]
    row = next(r for r in table["rows"] if r["model"] == "dae-2020" and r["method"] == "one sample")
    own = rows(out / "members" / NAMES[1] / "scores" / "scores.csv")
    mean = np.mean([float(r["pearson"]) for r in own if r["method"] == "one sample"])
    assert row["columns"]["pearson"]["mean"] == pytest.approx(mean, abs=1e-7)
    assert {int(r["satellites"]) for r in rows(out / "study" / "satellites.csv")} == {0, 11}
    interpolation = json.loads((out / "study" / "interpolation.json").read_text())
    assert interpolation["models"]["cvae-2020"]["intermediates"] == 3
    assert (out / "report" / "report.html").stat().st_size > 10_000


def test_a_finished_study_is_kept(out: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*.safetensors")}
    done = subprocess.run(command("run", out), check=True, timeout=200, capture_output=True, text=True)
    assert "3 of 3 members" in done.stdout
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*.safetensors")} == before


def test_an_unfinished_study_has_a_report(out: Path, tmp_path: Path) -> None:
    part = tmp_path / "out"
    shutil.copytree(out, part, ignore=shutil.ignore_patterns("report", "study", NAMES[1]))
    done = subprocess.run(command("report", part), check=True, timeout=200, capture_output=True, text=True)
    assert "2 of 3 members" in done.stdout
    assert NAMES[1] in (part / "report" / "report.html").read_text(encoding="utf-8")


def test_interrupted_and_gone_on_gives_the_same(out: Path, tmp_path: Path) -> None:
    again = tmp_path / "out"
    process = subprocess.Popen(command("run", again), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    metrics = again / "members" / NAMES[0] / "model" / "metrics.jsonl"
    while not metrics.exists() and process.poll() is None:
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=120)
    assert process.returncode != 0
    assert "same command goes on" in said
    assert not (again / "members" / NAMES[0] / "scores").exists()
    subprocess.run(command("run", again), check=True, timeout=500, capture_output=True)
    for name in NAMES:
        for file in ("scores/scores.csv", "scores/intermediates.csv", "scores/latent.csv"):
            assert (again / "members" / name / file).read_bytes() == (out / "members" / name / file).read_bytes()


def test_single_verbs_are_refused(tmp_path: Path) -> None:
    done = subprocess.run(command("train", tmp_path / "out"), timeout=100, capture_output=True, text=True)
    assert done.returncode == 2
    assert "use hpcpdf run" in done.stderr
