"""One-rank generation: contents, resuming, damage, duplicates, failures."""

from __future__ import annotations

import hashlib
import json
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from hpcpdf import ConfigError, DataError, LaunchError, PdfParams, simulate_pdf
from hpcpdf.clusters.template import template
from hpcpdf.config import RunConfig
from hpcpdf.dataset import generate, samples
from hpcpdf.dataset.reader import open_dataset
from hpcpdf.dataset.schema import COLUMNS, PARAMS
from hpcpdf.stage import Context


def configure(out: Path, **changes: Any) -> RunConfig:
    data: dict[str, dict[str, Any]] = {
        "run": {"out": out, "seed": 7},
        "clusters": {"n": 50, "max_atoms": 30},
        "pdf": {"rmax": 12.0, "qmax": (15.0, 25.0), "biso": (0.1, 1.0), "qdamp": (0.01, 0.04), "delta2": (0.0, 2.0)},
        "dataset": {"shard_size": 12},
    }
    for key, value in changes.items():
        section, name = key.split("__")
        data[section][name] = value
    return RunConfig.model_validate(data)


def digests(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.glob("*.h5")}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return generate.run(configure(tmp_path_factory.mktemp("finished")), Context())


@pytest.fixture
def copy(finished: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "dataset"))


def test_files(finished: Path) -> None:
    names = {path.name for path in finished.iterdir()}
    assert names == {"dataset.h5", "provenance.json", *(f"shard-0000{k}.h5" for k in range(5))}
    summary = json.loads((finished / "provenance.json").read_text())["summary"]
    assert summary["samples"] + summary["duplicates"] == 50
    assert summary["train"] + summary["validation"] + summary["test"] == summary["samples"]


def test_rows_describe_one_cluster(finished: Path) -> None:
    dataset = open_dataset(finished)
    rows = dataset.take(np.arange(len(dataset)))
    assert set(rows["family"]) == set(range(7))
    for k in range(len(dataset)):
        n = rows["n_atoms"][k]
        sites = rows["sites"][k]
        ideal = template(dataset.families[rows["family"][k]]).sites[sites[:n]] * rows["nn"][k]
        np.testing.assert_allclose(rows["positions"][k, :n], ideal, atol=2e-5)
        assert np.all(np.isnan(rows["positions"][k, n:]))
        assert np.all(sites[n:] == -1)
        pairs = np.linalg.norm(ideal[:, None] - ideal[None], axis=-1)[np.triu_indices(n, 1)]
        assert pairs.min() == pytest.approx(rows["nn"][k], rel=0.06)


def test_pdfs_follow_from_positions_and_parameters(finished: Path) -> None:
    dataset = open_dataset(finished)
    rows = dataset.take(np.arange(len(dataset)), ["positions", "n_atoms", "params", "pdf"])
    for k in range(0, len(dataset), 5):
        values = dict(zip(PARAMS, rows["params"][k], strict=True))
        atoms = rows["positions"][k, : rows["n_atoms"][k]].astype(float)
        r, g = simulate_pdf(atoms, PdfParams(rmin=0.0, rmax=12.0, rstep=0.1, **values))
        np.testing.assert_array_equal(r, dataset.r)
        np.testing.assert_allclose(rows["pdf"][k], g, atol=1e-4 * np.abs(g).max())


def test_parameters_vary_where_asked(finished: Path) -> None:
    params = open_dataset(finished).take(np.arange(50), ["params"])["params"]
    low = dict(zip(PARAMS, params.min(axis=0), strict=True))
    high = dict(zip(PARAMS, params.max(axis=0), strict=True))
    assert (low["qmin"], high["qmin"]) == (0.8, 0.8)
    assert 15.0 <= low["qmax"] < high["qmax"] <= 25.0
    assert 0.1 <= low["biso"] < 0.4 < 0.7 < high["biso"] <= 1.0
    assert np.unique(params[:, PARAMS.index("delta2")]).size == len(params)


def test_fixing_one_parameter_leaves_the_others(tmp_path: Path) -> None:
    varied, fixed = configure(tmp_path), configure(tmp_path, pdf__qmax=20.0)
    first, second = (samples.draw_params(config.pdf, 7, 3) for config in (varied, fixed))
    assert np.flatnonzero(first != second).tolist() == [PARAMS.index("qmax")]


def test_units_everywhere(finished: Path) -> None:
    for path in finished.glob("*.h5"):
        with h5py.File(path) as file:
            assert set(file) == {*COLUMNS, "r"} | ({"split"} if path.name == "dataset.h5" else set())
            assert all(file[name].attrs["units"] for name in file)
            assert file.attrs["format_version"] == 1
            assert json.loads(file.attrs["config"])["run"] == {"seed": 7}


def test_splits_by_shape_share_no_shape(tmp_path: Path) -> None:
    dataset = open_dataset(generate.run(configure(tmp_path, clusters__n=120, clusters__max_atoms=9), Context()))
    shapes = [set(dataset.load(split, ["shape_key"])["shape_key"]) for split in ("train", "validation", "test")]
    assert all(shapes)
    assert len(set.union(*shapes)) == sum(map(len, shapes))


def test_duplicates_are_removed(tmp_path: Path) -> None:
    config = configure(
        tmp_path, clusters__n=80, clusters__max_atoms=7, clusters__nn_spread=0.0, clusters__elements=("Pt", "Au")
    )
    dataset = open_dataset(generate.run(config, Context()))
    rows = dataset.take(np.arange(len(dataset)))
    identity = list(zip(rows["shape_key"], rows["z"], rows["nn"], strict=True))
    assert len(set(identity)) == len(identity) == len(dataset) < 80
    assert dataset.summary["duplicates"] == 80 - len(dataset)
    source = samples.cluster_source(config)
    everything = [source(k) for k in range(80)]
    assert len({(c.shape.key, c.element, c.nn) for c in everything}) == len(dataset)
    for k, sample_id in enumerate(rows["sample_id"]):
        assert everything[sample_id].shape.key.encode()[:32] == rows["shape_key"][k]


def test_paper_recipe(tmp_path: Path) -> None:
    config = configure(tmp_path, clusters__recipe="paper", clusters__n=40, dataset__split="paper")
    dataset = open_dataset(generate.run(config, Context()))
    assert len(dataset) == 40
    assert dataset.max_atoms == 100
    assert set(dataset.take(np.arange(40), ["n_atoms"])["n_atoms"]) <= {13, 19, 43, 55, 63, 79, 85, 87, 93}
    too_many = configure(tmp_path / "more", clusters__recipe="paper", clusters__n=3138)
    with pytest.raises(ConfigError, match=r"n = 3138.*3137"):
        generate.run(too_many, Context())
    assert not (tmp_path / "more").exists()


def test_finished_is_left_alone(copy: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in copy.iterdir()}
    generate.run(configure(copy.parent), Context())
    assert before == {path: path.stat().st_mtime_ns for path in copy.iterdir()}


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1000])


DAMAGE = {
    "missing": Path.unlink,
    "truncated": cut,
    "empty": lambda path: path.write_bytes(b""),
    "another file": lambda path: path.write_text("not HDF5 at all"),
    "one bit": flip,
    "a neighbour's": lambda path: shutil.copy(path.with_name("shard-00001.h5"), path),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged_shards_are_made_again(copy: Path, damage: str) -> None:
    before = digests(copy)
    DAMAGE[damage](copy / "shard-00002.h5")
    assert digests(copy) != before
    generate.run(configure(copy.parent), Context())
    assert digests(copy) == before
    assert (copy / "provenance.json").is_file()


@pytest.mark.parametrize("damage", [Path.unlink, cut, flip])
def test_damaged_master_is_made_again(copy: Path, damage: Any) -> None:
    before = digests(copy)
    damage(copy / "dataset.h5")
    generate.run(configure(copy.parent), Context())
    assert digests(copy) == before


@pytest.mark.parametrize("change", [{"run__seed": 8}, {"pdf__qmin": 1.0}, {"dataset__split": "paper"}])
def test_other_settings_are_refused(copy: Path, change: dict[str, Any]) -> None:
    before = digests(copy)
    with pytest.raises(ConfigError, match="other settings"):
        generate.run(configure(copy.parent, **change), Context())
    if "dataset__split" not in change:
        (copy / "provenance.json").unlink()
        with pytest.raises(ConfigError, match=r"shard-00000.h5: was made with other settings"):
            generate.run(configure(copy.parent, **change), Context())
    assert digests(copy) == before


class Interrupter:
    """Clusters from `source`; from the `after`-th on, something happens first."""

    def __init__(self, source: Any, after: int, action: Any) -> None:
        self.source, self.left, self.action = source, after, action

    def __call__(self, sample_id: int) -> Any:
        self.left -= 1
        if self.left < 0:
            self.action()
        return self.source(sample_id)


def test_stopping_and_going_on(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config, context = configure(tmp_path), Context()
    real = samples.cluster_source

    def stop() -> None:
        context.stop = True

    monkeypatch.setattr(generate, "cluster_source", lambda config: Interrupter(real(config), 30, stop))
    with pytest.raises(LaunchError, match="go on"):
        generate.run(config, context)
    assert sorted(path.name for path in (tmp_path / "dataset").iterdir()) == ["shard-00000.h5", "shard-00001.h5"]
    (tmp_path / "dataset" / ".shard-00002.x1y2.h5").write_bytes(b"left by a killed process")
    monkeypatch.undo()
    generate.run(config, Context())
    assert digests(tmp_path / "dataset") == digests(finished)
    assert not list((tmp_path / "dataset").glob(".*"))


def test_full_disk_is_one_error_and_can_go_on(finished: Path, tmp_path: Path) -> None:
    script = (
        "import resource, sys\n"
        "from hpcpdf.cli.main import main\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, resource.RLIM_INFINITY))\n"
        "sys.exit(main(sys.argv[1:]))\n"
    )
    config = configure(tmp_path)
    toml = tmp_path / "run.toml"
    toml.write_text(as_toml(config))
    done = subprocess.run([sys.executable, "-c", script, "generate", str(toml)], capture_output=True, text=True)
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert "cannot be written" in done.stderr
    assert not list((tmp_path / "dataset").iterdir())
    generate.run(config, Context())
    assert digests(tmp_path / "dataset") == digests(finished)
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[1] == resource.RLIM_INFINITY


def as_toml(config: RunConfig) -> str:
    sections = config.model_dump(mode="json", include={"run", "clusters", "pdf", "dataset"})
    lines = [
        f"[{name}]\n" + "".join(f"{k} = {json.dumps(v)}\n" for k, v in sections[name].items()) for name in sections
    ]
    return "\n".join(lines)


def blocked_folders(tmp_path: Path) -> Iterator[Path]:
    (tmp_path / "file").write_text("in the way")
    yield tmp_path / "file"
    yield Path("/proc/hpcpdf-test")


def test_folder_that_cannot_be_made(tmp_path: Path) -> None:
    for out in blocked_folders(tmp_path):
        with pytest.raises(DataError, match=r"cannot be written \("):
            generate.run(configure(out), Context())
