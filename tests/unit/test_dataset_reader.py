"""Opening data sets and sets of PDFs: good ones, and every kind of bad one."""

from __future__ import annotations

import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from hpcpdf import DataError
from hpcpdf.config import RunConfig
from hpcpdf.dataset.master import write_master
from hpcpdf.dataset.reader import open_dataset, read_pdfs
from hpcpdf.dataset.schema import COLUMNS, PARAMS, layout_of, shard_name, shard_settings
from hpcpdf.dataset.shards import write_shard

N = 37


def invented(config: RunConfig, folder: Path) -> dict[str, np.ndarray]:
    """Write shards and a master file over random rows; returns the rows."""
    layout = layout_of(config)
    rng = np.random.default_rng(0)
    everything = layout.empty(N)
    for name, column in COLUMNS.items():
        shape = everything[name].shape
        if name == "shape_key":
            everything[name][:] = [rng.bytes(16).hex().encode() for _ in range(N)]
        elif column.dtype.startswith("f"):
            everything[name][:] = rng.normal(size=shape)
        else:
            everything[name][:] = rng.integers(0, 7, size=shape)
    folder.mkdir(parents=True)
    for index in range(layout.n_shards):
        ids = layout.shard(index)
        part = {name: values[ids.start : ids.stop] for name, values in everything.items()}
        write_shard(folder, index, part, layout, shard_settings(config))
    write_master(folder, config, layout)
    return everything


@pytest.fixture
def config(tmp_path: Path) -> RunConfig:
    return RunConfig.model_validate(
        {"run": {"out": tmp_path}, "clusters": {"n": N, "max_atoms": 11}, "dataset": {"shard_size": 10}}
    )


@pytest.fixture
def folder(config: RunConfig, tmp_path: Path) -> Path:
    invented(config, tmp_path / "dataset")
    return tmp_path / "dataset"


def test_columns_come_back(config: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hpcpdf.dataset.reader._BLOCK", 8)
    rows = invented(config, tmp_path / "dataset")
    dataset = open_dataset(tmp_path / "dataset")
    assert len(dataset) == N
    assert dataset.r.shape == (301,)
    for split in ("train", "validation", "test"):
        chosen = dataset.rows(split)
        loaded = dataset.load(split)
        assert set(loaded) == set(COLUMNS)
        for name, values in loaded.items():
            np.testing.assert_array_equal(values, rows[name][chosen])
            assert values.dtype == rows[name].dtype
    assert sorted(np.concatenate([dataset.rows(s) for s in ("train", "validation", "test")])) == list(range(N))
    np.testing.assert_array_equal(dataset.take(np.array([36, 2]), ["z"])["z"], rows["z"][[2, 36]])
    assert dataset.take(np.array([], dtype=int), ["pdf"])["pdf"].shape == (0, 301)


def test_a_moved_folder_and_another_process(folder: Path, tmp_path: Path) -> None:
    moved = Path(shutil.move(folder, tmp_path / "elsewhere"))
    dataset = pickle.loads(pickle.dumps(open_dataset(moved / "dataset.h5")))
    assert np.all(np.isfinite(dataset.load("train", ["pdf"])["pdf"]))


def attribute(name: str, value: Any) -> Callable[[Path], object]:
    def change(folder: Path) -> None:
        with h5py.File(folder / "dataset.h5", "r+") as file:
            file.attrs[name] = value

    return change


def without(name: str) -> Callable[[Path], object]:
    def change(folder: Path) -> None:
        with h5py.File(folder / "dataset.h5", "r+") as file:
            del file[name]

    return change


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


BAD: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing": (lambda f: (f / "dataset.h5").unlink(), r"dataset.h5: no such file"),
    "no folder": (shutil.rmtree, r"dataset: no such file"),
    "empty": (lambda f: (f / "dataset.h5").write_bytes(b""), r"is empty"),
    "truncated": (lambda f: cut(f / "dataset.h5"), r"truncated"),
    "text": (lambda f: (f / "dataset.h5").write_text("r G\n1 2\n"), r"cannot be read as HDF5"),
    "another format": (attribute("format", "other"), r"not an hpcpdf-dataset file \(attribute format is 'other'\)"),
    "another version": (attribute("format_version", 9), r"version 9.*reads version 1"),
    "no column": (without("nn"), r"lacks nn"),
    "shard missing": (lambda f: (f / shard_name(2)).unlink(), r"shard-00002.h5: shard is missing; run generate"),
    "shard truncated": (lambda f: cut(f / shard_name(3)), r"shard-00003.h5.*truncated"),
    "shard replaced": (lambda f: shutil.copy(f / "dataset.h5", f / shard_name(0)), r"shard-00000.h5: not an"),
}


@pytest.mark.parametrize("kind", BAD)
def test_bad_data_sets_are_one_line_naming_the_file(folder: Path, kind: str) -> None:
    spoil, message = BAD[kind]
    spoil(folder)
    with pytest.raises(DataError, match=message) as caught:
        open_dataset(folder)
    assert "\n" not in str(caught.value)
    assert str(folder) in str(caught.value)


def test_unknown_names(folder: Path) -> None:
    dataset = open_dataset(folder)
    with pytest.raises(DataError, match="no split 'dev'; expected one of train"):
        dataset.rows("dev")  # type: ignore[arg-type]
    with pytest.raises(DataError, match=r"no column 'xyz'"):
        dataset.load("train", ["xyz"])


def test_pdfs_of_a_data_set(folder: Path) -> None:
    pdfs = read_pdfs(folder)
    assert len(pdfs) == N
    assert pdfs.columns == ("z", "params")
    dataset = open_dataset(folder)
    rows = pdfs.read(5, 9)
    np.testing.assert_array_equal(rows["pdf"], dataset.take(np.arange(5, 9), ["pdf"])["pdf"])
    assert rows["params"].shape == (4, len(PARAMS))
    (folder / shard_name(1)).unlink()
    with pytest.raises(DataError, match="shard is missing"):
        read_pdfs(folder)


def write(path: Path, **columns: Any) -> Path:
    with h5py.File(path, "w") as file:
        for name, values in columns.items():
            file[name] = values
    return path


def test_pdfs_of_another_programme(tmp_path: Path) -> None:
    g = np.random.default_rng(0).normal(size=(4, 50))
    pdfs = read_pdfs(write(tmp_path / "some.h5", pdf=g, r=np.linspace(0.1, 5, 50), z=[78, 79, 79, 79]))
    assert (pdfs.n, pdfs.columns) == (4, ("z",))
    np.testing.assert_array_equal(pdfs.read()["pdf"], g)
    np.testing.assert_array_equal(pdfs.read(2)["z"], [79, 79])


R = np.linspace(0.0, 5.0, 6)
BAD_PDFS: dict[str, tuple[dict[str, Any], str]] = {
    "nothing": ({}, "no dataset 'pdf'; it has nothing"),
    "no r": ({"pdf": np.ones((2, 6))}, "no dataset 'r'"),
    "group": ({"pdf/x": np.ones((2, 6)), "r": R}, "no dataset 'pdf'"),
    "one row": ({"pdf": np.ones(6), "r": R}, r"expected \(n, R\)"),
    "lengths": ({"pdf": np.ones((2, 5)), "r": R}, r"expected \(n, R\)"),
    "text": ({"pdf": np.full((2, 6), b"a"), "r": R}, "expected numbers"),
    "descending": ({"pdf": np.ones((2, 6)), "r": R[::-1]}, "must ascend"),
    "NaN in r": ({"pdf": np.ones((2, 6)), "r": np.where(R > 4, np.nan, R)}, "must ascend"),
    "negative r": ({"pdf": np.ones((2, 6)), "r": R - 1}, "must ascend"),
    "elements": ({"pdf": np.ones((2, 6)), "r": R, "z": [78]}, r"z has shape \(1,\), expected \(2,\)"),
}


@pytest.mark.parametrize("kind", BAD_PDFS)
def test_bad_pdf_sets(tmp_path: Path, kind: str) -> None:
    columns, message = BAD_PDFS[kind]
    with pytest.raises(DataError, match=message):
        read_pdfs(write(tmp_path / "bad.h5", **columns))
