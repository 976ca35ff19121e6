"""Wrong input of many kinds: one line naming file and cause, exit code 1 or 2, nothing half written."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
import pytest

from hpcpdf.cli.main import main
from hpcpdf.config import load_config
from hpcpdf.launch.pipeline import named, run_pipeline
from hpcpdf.stage import Context

Write = Callable[[Path], object]


@dataclass(frozen=True)
class Case:
    """`arguments` are called in a folder that `prepare` filled; stderr must name every one of `says`."""

    name: str
    arguments: str
    says: tuple[str, ...]
    prepare: Write = lambda folder: None
    code: int = 1


def _gr(name: str = "a.gr", *, header: str = "", rows: str | None = None) -> Write:
    def write(folder: Path) -> None:
        r = np.arange(1, 2500) * 0.01
        text = "\n".join(f"{a:.2f} {b:.5f}" for a, b in zip(r, np.sin(2.5 * r), strict=True)) if rows is None else rows
        (folder / name).write_text(header + text + "\n")

    return write


def _rows(change: Callable[[list[str]], list[str]]) -> Write:
    lines = [f"{0.01 * k:.2f} {np.sin(0.025 * k):.5f}" for k in range(1, 2500)]
    return _gr(rows="\n".join(change(lines)))


def _toml(text: str) -> Write:
    return lambda folder: (folder / "a.toml").write_text(text)


SOLVE = "solve a.gr --element Pt --out solved"

MEASURED = [
    Case("missing file", SOLVE, ("a.gr",)),
    Case("a folder", SOLVE, ("a.gr", "folder"), lambda folder: (folder / "a.gr").mkdir()),
    Case("empty", SOLVE, ("a.gr", "empty"), _gr(rows="")),
    Case("binary", SOLVE, ("a.gr",), lambda folder: (folder / "a.gr").write_bytes(bytes(range(256)) * 40)),
    Case("no numbers", SOLVE, ("a.gr",), _gr(rows="a PDF should have been here\nbut is not")),
    Case("text in columns", SOLVE, ("a.gr", "oops"), _rows(lambda rows: [*rows[:900], "9.01 oops", *rows[901:]])),
    Case("NaN rows", SOLVE, ("a.gr", "not a finite"), _rows(lambda rows: [*rows[:900], "9.01 nan", *rows[901:]])),
    Case("unsorted r", SOLVE, ("a.gr",), _rows(lambda rows: [*rows[:900], *rows[950:], *rows[900:950]])),
    Case("duplicate r", SOLVE, ("a.gr",), _rows(lambda rows: [*rows[:900], *rows[899:]])),
    Case("one column", SOLVE, ("a.gr", "column"), _rows(lambda rows: [row.split()[0] for row in rows])),
    Case("too few points", SOLVE, ("a.gr",), _rows(lambda rows: rows[:5])),
    Case("negative r", SOLVE, ("a.gr",), _rows(lambda rows: ["-0.01 0.0", *rows])),
    Case("one wrong file of two", "solve b.gr a.gr --element Pt --out solved", ("a.gr",), _gr("b.gr")),
    Case("files of one name", "solve a.gr a.gr --element Pt --out solved", ("called a",), _gr(), 2),
    Case("a folder that cannot be written", "solve a.gr --element Pt --out /proc/solved", ("--out /proc",), _gr(), 2),
    Case(
        "a folder with other things",
        SOLVE,
        ("solved", "thesis.txt"),
        lambda folder: (_gr()(folder), (folder / "solved").mkdir(), (folder / "solved" / "thesis.txt").write_text("")),
        2,
    ),
    Case("range upside down", f"{SOLVE} --rmin 9 --rmax 3", ("--rmin 9", "--rmax 3"), _gr(), 2),
    Case(
        "a file where the results go",
        "solve a.gr --element Pt --out a.gr/solved",
        ("a.gr", "expected a folder"),
        _gr(),
        2,
    ),
]

CONFIGURATION = [
    Case("missing configuration", "run a.toml", ("a.toml", "no such"), code=2),
    Case("folder that is no run", "report a.toml", ("a.toml", "config.json"), lambda f: (f / "a.toml").mkdir(), 2),
    Case("not TOML", "run a.toml", ("a.toml", "not valid TOML"), _toml("[run\nseed = 1"), 2),
    Case(
        "binary configuration",
        "run a.toml",
        ("a.toml", "not a text file"),
        lambda folder: (folder / "a.toml").write_bytes(b"\xff\xfe\x00"),
        2,
    ),
    Case("unknown key", "run a.toml", ("a.toml", "training.bach", "batch"), _toml("[training]\nbach = 3"), 2),
    Case("unknown section", "run a.toml", ("a.toml", "trainig", "training"), _toml("[trainig]\nbatch = 3"), 2),
    Case("wrong type", "run a.toml", ("a.toml", "clusters.n", "many"), _toml('[clusters]\nn = "many"'), 2),
    Case("out of range", "run a.toml", ("a.toml", "clusters.n", "-5"), _toml("[clusters]\nn = -5"), 2),
    Case(
        "two mistakes at once",
        "run a.toml",
        ("clusters.n", "training.batch"),
        _toml("[clusters]\nn = -5\n[training]\nbatch = 0"),
        2,
    ),
    Case("limits that cross", "run a.toml", ("min_atoms = 50",), _toml("[clusters]\nmin_atoms=50\nmax_atoms=9"), 2),
    Case("unknown family", "run a.toml", ("a.toml", "families"), _toml('[clusters]\nfamilies = ["fc"]'), 2),
    Case("override without a value", "run a.toml --set run.seed", ("run.seed", "section.key=value"), _toml(""), 2),
    Case("override through a value", "run a.toml --set run.seed.x=1", ("run.seed.x",), _toml("[run]\nseed=1"), 2),
    Case("override of an unknown key", "run a.toml --set run.sed=1", ("run.sed", "seed"), _toml(""), 2),
    Case("a profile", "run a.toml --where slurm --profile x", ("'x'", "cpu-cluster"), _toml(""), 2),
    Case("a file where the run goes", "run a.toml --set run.out=a.toml/x", ("a.toml is a file",), _toml(""), 2),
    Case("a run that cannot be written", "run a.toml --set run.out=/proc/x", ("run.out = /proc",), _toml(""), 2),
    Case("a stage too early", "train a.toml --set run.out=x", ("x/dataset", "generate"), _toml("")),
    Case("damaged run folder", "report old", ("config.json", "damaged"), lambda folder: _old(folder, "config.json"), 2),
    Case(
        "damaged marker",
        "run a.toml --set run.out=old",
        ("provenance.json", "damaged"),
        lambda folder: (_toml("")(folder), _old(folder, "dataset/provenance.json")),
    ),
]

USAGE = [
    Case("unknown verb", "sovle a.gr", ("sovle",), code=2),
    Case("unknown option", "run a.toml --sett run.seed=1", ("--sett",), code=2),
    Case("missing option", "solve a.gr --out solved", ("--element",), code=2),
    Case("text for a number", f"{SOLVE} --samples few", ("--samples", "integer"), code=2),
    Case("number out of range", f"{SOLVE} --top 0", ("--top",), code=2),
]


def _old(folder: Path, name: str) -> None:
    path = folder / "old" / name
    path.parent.mkdir(parents=True)
    path.write_text('{"half": ')


def _name(case: Case) -> str:
    return case.name.replace(" ", "-")


def _contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): b"" if path.is_dir() else path.read_bytes() for path in sorted(folder.rglob("*"))
    }


@pytest.mark.parametrize("case", [*MEASURED, *CONFIGURATION, *USAGE], ids=_name)
def test_one_line_an_exit_code_and_nothing_written(monkeypatch, capfd, tmp_path, case):
    case.prepare(tmp_path)
    before = _contents(tmp_path)
    monkeypatch.chdir(tmp_path)
    code = main(case.arguments.split())
    _check(case, code, capfd.readouterr().err)
    assert _contents(tmp_path) == before


@pytest.mark.parametrize("case", [MEASURED[0], CONFIGURATION[4], USAGE[0]], ids=_name)
def test_the_installed_command_does_the_same(hpcpdf_command, tmp_path, case):
    case.prepare(tmp_path)
    done = hpcpdf_command(*case.arguments.split())
    _check(case, done.returncode, done.stderr)


def _check(case: Case, code: int, errors: str) -> None:
    assert errors.startswith("hpcpdf: error: "), errors
    assert errors.count("\n") == 1, errors
    for word in case.says:
        assert word in errors
    assert code == case.code


CONFIG = '[clusters]\nn = 24\nmax_atoms = 30\nelements = ["Pt"]\n[dataset]\nshard_size = 8\n'


@pytest.fixture(scope="module")
def generated(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("generated")
    (folder / "a.toml").write_text(CONFIG)
    config = load_config(folder / "a.toml", [f"run.out={folder / 'run'}"])
    run_pipeline(config, Context(), named(["generate"]), say=lambda line: None)
    return folder


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _version(path: Path) -> None:
    with h5py.File(path, "a") as file:
        file.attrs["format_version"] = 99


DAMAGED = [
    Case("shard missing", "", ("shard-00001.h5", "missing"), lambda data: (data / "shard-00001.h5").unlink()),
    Case("shard truncated", "", ("shard-00001.h5",), lambda data: _truncate(data / "shard-00001.h5")),
    Case("data set missing", "", ("dataset.h5",), lambda data: (data / "dataset.h5").unlink()),
    Case("data set truncated", "", ("dataset.h5", "truncated"), lambda data: _truncate(data / "dataset.h5")),
    Case("data set empty", "", ("dataset.h5", "empty"), lambda data: (data / "dataset.h5").write_bytes(b"")),
    Case("data set of text", "", ("dataset.h5", "HDF5"), lambda data: (data / "dataset.h5").write_text("r, g")),
    Case("data set of another version", "", ("dataset.h5", "99"), lambda data: _version(data / "dataset.h5")),
]


@pytest.mark.parametrize("case", DAMAGED, ids=_name)
def test_damaged_data_set(monkeypatch, capfd, tmp_path, generated, case):
    shutil.copytree(generated, tmp_path, dirs_exist_ok=True)
    case.prepare(tmp_path / "run" / "dataset")
    before = _contents(tmp_path)
    monkeypatch.chdir(tmp_path)
    code = main(["train", "a.toml", "--set", "run.out=run"])
    _check(case, code, capfd.readouterr().err)
    assert set(_contents(tmp_path)) == set(before)


def test_debug_adds_the_traceback(hpcpdf_command):
    done = hpcpdf_command("--debug", "run", "a.toml")
    assert done.stderr.startswith("Traceback")
    assert done.stderr.splitlines()[-1].startswith("hpcpdf: error: a.toml")
