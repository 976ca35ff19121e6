"""Many PDFs: the same rows whatever the ranks and however often it was interrupted."""

from __future__ import annotations

import dataclasses
import logging

import h5py
import numpy as np
import pytest
from scipy.spatial.distance import pdist
from small_model import clusters, pdf_batch, trained

from hpcpdf import ConfigError, DataError, LaunchError, PdfParams, SolverError, simulate_pdf
from hpcpdf.clusters.template import template
from hpcpdf.config import ReconstructSection
from hpcpdf.dataset.schema import PARAMS
from hpcpdf.reconstruct import batch
from hpcpdf.reconstruct.batch import Job, RowStatus, read_results, reconstruct, reconstruct_file
from hpcpdf.reconstruct.propose import assemble, propose
from hpcpdf.reconstruct.ranked import Ranked
from hpcpdf.reconstruct.sources import ArraySource
from hpcpdf.stage import Context

SECTION = ReconstructSection(n_samples=12, r_range=(1.5, 12.0))
N = 5


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr(batch, "RANKED_BLOCK", 2)


@pytest.fixture(scope="module")
def job():
    params = PdfParams()
    pdfs = pdf_batch(clusters(N, seed=2), params).pdf
    values = np.tile([getattr(params, name) for name in PARAMS], (N, 1))
    arrays = {"row": np.arange(10, 10 + N), "pdf": pdfs, "z": np.full(N, 78), "params": values}
    r = 0.1 * np.arange(pdfs.shape[1])
    return Job(ArraySource(r, arrays), trained(), SECTION, seed=3, n_threads=1)


@pytest.fixture(scope="module")
def expected(job, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(batch, "RANKED_BLOCK", 2)
        return results(job, tmp_path_factory.mktemp("whole") / "out.h5")


def results(job, out, context=None):
    reconstruct(job, out, context or Context())
    return read_results(out)


def assert_same(one, other):
    assert one.keys() == other.keys()
    for name, values in one.items():
        np.testing.assert_array_equal(values, other[name], err_msg=name)


@pytest.fixture
def counted(monkeypatch):
    """Rows that are worked on."""
    worked = []
    one = Ranked.one

    def count(self, arrays):
        worked.append(int(arrays["row"][0]) - 10)
        return one(self, arrays)

    monkeypatch.setattr(Ranked, "one", count)
    return worked


def test_rows_agree_with_themselves(job, expected):
    assert expected["row"].tolist() == list(range(10, 15))
    assert expected["rw_samples"].shape == (N, SECTION.n_samples)
    assert (expected["r"] >= 1.5 - 1e-9).all()
    assert (expected["r"] <= 12.0 + 1e-9).all()
    for k in range(N):
        positions = expected["positions"][k, : expected["n_atoms"][k]]
        assert np.isfinite(positions).all()
        assert np.isnan(expected["positions"][k, expected["n_atoms"][k] :]).all()
        assert expected["n_atoms"][k] in expected["n_atoms_samples"][k]
        observed, calculated = expected["g_obs"][k], expected["g_calc"][k]
        rw = np.linalg.norm(observed - calculated) / np.linalg.norm(observed)
        assert expected["rw"][k] == pytest.approx(rw, abs=1e-6)
        # What the ranking says of the best sample is close to what the fit says.
        assert expected["rw"][k] < np.nanmin(expected["rw_samples"][k]) + 0.02


def test_positions_and_parameters_give_the_curve(job, expected):
    """The file alone is enough to simulate what it calls calculated: zoom is applied to the positions."""
    for k in range(N):
        positions = expected["positions"][k, : expected["n_atoms"][k]].astype(float)
        params = PdfParams(**{name: float(expected[name][k]) for name in ("biso", "qdamp", "delta2")})
        r, g = simulate_pdf(positions, params, n_threads=1)
        calculated = expected["scale"][k] * np.interp(expected["r"], r, g)
        assert np.abs(calculated - expected["g_calc"][k]).max() < 0.03 * np.abs(expected["g_calc"][k]).max()


def test_interrupted_and_run_again(job, expected, tmp_path, monkeypatch, counted):
    out = tmp_path / "out.h5"
    context = Context()
    inner = Ranked.one

    def stop_at_three(self, arrays):
        if arrays["row"][0] == 13:
            context.stop = True
        return inner(self, arrays)

    with monkeypatch.context() as patch:
        patch.setattr(Ranked, "one", stop_at_three)
        with pytest.raises(LaunchError, match="run the same command again"):
            reconstruct(job, out, context)
    assert not out.exists()
    counted.clear()
    assert_same(results(job, out), expected)
    assert counted == [4]
    assert [path.name for path in tmp_path.iterdir()] == ["out.h5"]


def test_two_ranks_give_the_rows_of_one(job, expected, tmp_path, counted):
    out = tmp_path / "out.h5"
    reconstruct(job, out, Context(rank=1, world=2))
    assert counted == [2, 3]
    assert not out.exists()
    assert_same(results(job, out, Context(rank=0, world=2)), expected)
    assert sorted(counted) == list(range(N))


def test_a_damaged_block_is_made_again(job, expected, tmp_path, counted):
    out = tmp_path / "out.h5"
    reconstruct(job, out, Context(rank=1, world=2))
    block = out.with_suffix(".parts") / "000001.h5"
    block.write_bytes(block.read_bytes()[:700])
    assert_same(results(job, out), expected)
    assert sorted(counted) == [0, 1, 2, 2, 3, 3, 4]


def changed(job, what):
    if what == "seed":
        return dataclasses.replace(job, seed=4)
    if what == "section":
        return dataclasses.replace(job, section=SECTION.model_copy(update={"n_samples": 11}))
    arrays, r = job.source.arrays, job.source.r
    if what == "r":
        return dataclasses.replace(job, source=ArraySource(r * 1.01, arrays))
    return dataclasses.replace(job, source=ArraySource(r, {**arrays, "pdf": arrays["pdf"][::-1]}))


@pytest.mark.parametrize("what", ["seed", "section", "r", "pdf"])
def test_blocks_of_another_job_are_not_taken(job, tmp_path, counted, what):
    out = tmp_path / "out.h5"
    reconstruct(changed(job, what), out, Context(rank=2, world=3))
    counted.clear()
    reconstruct(job, out, Context(rank=2, world=3))
    assert counted == [4]
    reconstruct(job, out, Context(rank=2, world=3))
    assert counted == [4], "those of this job are"


def test_a_finished_file_is_left_alone(job, tmp_path, counted):
    out = tmp_path / "out.h5"
    reconstruct(job, out, Context())
    counted.clear()
    before = out.read_bytes()
    reconstruct(job, out, Context())
    assert counted == []
    assert out.read_bytes() == before
    reconstruct(changed(job, "seed"), out, Context())
    assert len(counted) == N


def test_a_row_does_not_depend_on_its_company(job, expected, tmp_path):
    alone = {name: values[3:4] for name, values in job.source.arrays.items()}
    part = dataclasses.replace(job, source=ArraySource(job.source.r, alone))
    found = results(part, tmp_path / "out.h5")
    n = int(expected["n_atoms"][3])
    np.testing.assert_array_equal(found["positions"][0], expected["positions"][3, :n])
    assert found["rw"][0] == expected["rw"][3]


def test_unusable_pdfs_are_marked_and_passed_over(job, expected, tmp_path, caplog, monkeypatch):
    arrays = {name: values.copy() for name, values in job.source.arrays.items()}
    arrays["pdf"][0, 70] = np.nan
    arrays["pdf"][1] = -1.0
    arrays["z"][2] = 2
    arrays["params"][3, :2] = (25.0, 0.8)
    bad = dataclasses.replace(job, source=ArraySource(job.source.r, arrays))
    with caplog.at_level(logging.WARNING, "hpcpdf"):
        summary = reconstruct(bad, tmp_path / "out.h5", Context())
    reasons = {"not_finite": 1, "no_signal": 1, "unknown_element": 1, "bad_limits": 1}
    assert summary["passed_over"] == reasons
    assert "4 of 5 PDFs were passed over" in caplog.text
    found = read_results(tmp_path / "out.h5")
    assert [RowStatus(code).name.lower() for code in found["status"]] == [*reasons, "done"]
    assert np.isnan(found["positions"][:4]).all()
    assert np.isnan(found["rw"][:4]).all()
    assert found["n_atoms"].tolist()[:4] == [0, 0, 0, 0]
    n = int(found["n_atoms"][4])
    np.testing.assert_array_equal(found["positions"][4, :n], expected["positions"][4, :n])
    assert found["rw"][4] == expected["rw"][4]


def test_a_pdf_for_which_nothing_can_be_placed_is_passed_over(job, tmp_path, monkeypatch):
    def nowhere(found, model, n_threads=None):
        return [np.full((item.n_atoms, 3), np.nan) for item in found]

    monkeypatch.setattr("hpcpdf.reconstruct.propose.assemble", nowhere)
    summary = reconstruct(job, tmp_path / "out.h5", Context())
    assert summary["passed_over"] == {"not_placed": N}
    assert (read_results(tmp_path / "out.h5")["status"] == RowStatus.NOT_PLACED).all()


def source_file(job, path, *names):
    with h5py.File(path, "w") as file:
        for name in ("pdf", *names):
            file[name] = job.source.arrays[name]
        file["r"] = job.source.r
    return path


def test_any_file_of_pdfs(job, expected, tmp_path):
    path = source_file(job, tmp_path / "in.h5")
    limits = {"element": "Pt", "qmin": 0.8, "qmax": 25.0}
    out = reconstruct_file(path, tmp_path / "out.h5", job.model, SECTION, Context(), seed=3, **limits)
    assert read_results(out)["row"].tolist() == list(range(N))
    with pytest.raises(ConfigError, match="--element"):
        reconstruct_file(path, tmp_path / "no.h5", job.model, SECTION, Context(), qmin=0.8, qmax=25.0)
    with pytest.raises(ConfigError, match="--qmin"):
        reconstruct_file(path, tmp_path / "no.h5", job.model, SECTION, Context(), element="Pt")
    with pytest.raises(ConfigError, match="is the input file"):
        reconstruct_file(path, path, job.model, SECTION, Context(), **limits)
    assert not (tmp_path / "no.h5").exists()


def test_files_that_are_not_results(job, tmp_path):
    with pytest.raises(DataError, match="run reconstruct first"):
        read_results(tmp_path / "none.h5")
    with pytest.raises(DataError, match="not a file of reconstructions"):
        read_results(source_file(job, tmp_path / "in.h5"))
    out = tmp_path / "out.h5"
    reconstruct(job, out, Context())
    with h5py.File(out, "r+") as file:
        file.attrs["format_version"] = 99
    with pytest.raises(DataError, match="version 99"):
        read_results(out)
    out.write_bytes(out.read_bytes()[:1000])
    with pytest.raises(DataError, match="damaged"):
        read_results(out)


def test_proposals_lie_on_the_sites_they_were_drawn_on():
    proposals = propose(trained(), pdf_batch(clusters(1)), 20, seed=1, n_threads=1)
    assert len(proposals.index) == 20
    assert proposals.index.max() == len(proposals.positions) - 1
    for positions, family, nn in zip(proposals.positions, proposals.families, proposals.nn, strict=True):
        steps = template(family).distances
        allowed = np.unique(np.round(steps[steps > 0], 4)) * nn
        gap = np.abs(pdist(positions)[:, None] - allowed).min(axis=1)
        assert gap.max() < 1e-3


def test_structures_that_cannot_be_assembled_are_left_out(monkeypatch, caplog):
    batch_of_one = pdf_batch(clusters(1))
    whole = propose(trained(), batch_of_one, 20, seed=1, n_threads=1)

    def spoil(indices):
        def spoiled(found, model, n_threads=None):
            positions = assemble(found, model, n_threads)
            return [x * np.nan if k in indices else x for k, x in enumerate(positions)]

        monkeypatch.setattr("hpcpdf.reconstruct.propose.assemble", spoiled)

    spoil({0, 2})
    with caplog.at_level(logging.WARNING):
        found = propose(trained(), batch_of_one, 20, seed=1, n_threads=1)
    assert "2 of" in caplog.text
    kept = whole.index[~np.isin(whole.index, [0, 2])]
    assert len(found.index) == len(kept)
    for k, original in zip(found.index, kept, strict=True):
        np.testing.assert_array_equal(found.positions[k], whole.positions[original])
    spoil(set(range(20)))
    with pytest.raises(SolverError, match="none of the"):
        propose(trained(), batch_of_one, 20, seed=1, n_threads=1)
