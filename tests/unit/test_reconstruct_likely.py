"""The fast way: what one structure at a time gives, many at a time."""

from __future__ import annotations

import dataclasses
import logging

import numpy as np
import pytest
import torch
from small_model import clusters, new_model, pdf_batch, trained

from hpcpdf import DataError, PdfParams, simulate_pdf
from hpcpdf.clusters.template import template
from hpcpdf.config import FAMILIES, ReconstructSection
from hpcpdf.dataset.schema import PARAMS
from hpcpdf.model.features import all_to_network_grid, to_network_grid
from hpcpdf.model.site_cvae import _BONDED, _largest_piece
from hpcpdf.model.sites import largest_pieces
from hpcpdf.pdf.kernel import Positions
from hpcpdf.pdf.metrics import best_scale, pearson, rw
from hpcpdf.reconstruct import batch, likely
from hpcpdf.reconstruct.batch import Job, RowStatus, read_results, reconstruct
from hpcpdf.reconstruct.likely import Likely
from hpcpdf.reconstruct.propose import assemble
from hpcpdf.reconstruct.score import Scorer
from hpcpdf.reconstruct.sources import ArraySource
from hpcpdf.stage import Context

SECTION = ReconstructSection(n_samples=1, r_range=(1.5, 12.0))
N = 40
KINDS = ("site-cvae", "cvae-2020", "dae-2020")


@pytest.fixture(scope="module")
def pdfs():
    return pdf_batch(clusters(N, seed=2))


@pytest.fixture(scope="module")
def source(pdfs):
    params = np.tile([getattr(PdfParams(), name) for name in PARAMS], (N, 1))
    arrays = {"row": np.arange(N), "pdf": pdfs.pdf, "z": np.full(N, 78), "params": params}
    return ArraySource(0.1 * np.arange(pdfs.pdf.shape[1]), arrays)


@pytest.fixture(autouse=True)
def small_passes(monkeypatch):
    monkeypatch.setattr(likely, "PASS", 8)
    monkeypatch.setattr(batch, "LIKELY_BLOCK", 16)


def model_of(kind):
    return trained() if kind == "site-cvae" else new_model(kind, latent=2, seed=4).eval()


def structures(found):
    """Positions of each row of what `Likely` gives."""
    return np.split(found["positions"], np.cumsum(found["n_atoms"])[:-1])


@pytest.mark.parametrize("kind", KINDS)
def test_same_structures_as_one_at_a_time(source, pdfs, kind):
    model = model_of(kind)
    found = Likely(model, source.r, SECTION.r_range)(source.arrays)
    for k in range(N):
        (predicted,) = model.sample(pdfs[k : k + 1], 1, torch.Generator().manual_seed(1), spread=0.0).structures
        (positions,) = assemble([predicted], model, n_threads=1)
        assert found["n_atoms"][k] == len(positions)
        assert found["family"][k].decode() == predicted.family
        np.testing.assert_allclose(structures(found)[k], positions, atol=2e-4)
    assert (found["status"] == RowStatus.DONE).all()


@pytest.mark.parametrize("family", FAMILIES)
def test_pieces_are_those_of_one_structure(family):
    rng = np.random.default_rng(3)
    n_sites = len(template(family))
    occupied = np.zeros((60, n_sites), dtype=bool)
    for row in occupied[1:]:
        near = int(rng.integers(2, n_sites))
        row[rng.permutation(near)[: rng.integers(0, 60)]] = True
    for one, sites in zip(occupied, largest_pieces(family, _BONDED, occupied), strict=True):
        np.testing.assert_array_equal(sites, _largest_piece(family, one))


@pytest.mark.parametrize("r", [0.1 * np.arange(301), 0.02 * np.arange(700) + 1.3, np.linspace(0.0, 33.0, 517)])
def test_grids_are_those_of_one_pdf(r):
    values = np.random.default_rng(1).normal(size=(5, len(r))).astype(np.float32)
    np.testing.assert_array_equal(all_to_network_grid(r, values), [to_network_grid(r, one) for one in values])


def test_scores_are_those_of_a_simulation(pdfs):
    rng = np.random.default_rng(5)
    r = 0.1 * np.arange(301)
    structures = [1.01 * one.positions + rng.normal(0.0, 0.1, (one.n_atoms, 3)) for one in clusters(N, seed=2)]
    found = Scorer(r, (1.5, 20.0))(Positions.of(structures), pdfs.pdf, pdfs.qmin, pdfs.qmax)
    used = (r >= 1.5 - 1e-9) & (r <= 20.0 + 1e-9)
    assert np.median(found.rw) > 0.1, "the structures are not those of the PDFs"
    for k, positions in enumerate(structures):
        params = PdfParams(biso=float(found.biso[k]), qdamp=float(found.qdamp[k]))
        calculated = simulate_pdf(positions, params, n_threads=1)[1][used]
        observed = pdfs.pdf[k][used]
        assert found.rw[k] == pytest.approx(rw(observed, calculated, fit_scale=True), abs=0.005)
        assert found.pearson[k] == pytest.approx(pearson(observed, calculated), abs=0.005)
        assert found.scale[k] == pytest.approx(best_scale(observed, calculated), rel=0.01)


def test_limits_of_the_transform_are_those_of_each_pdf(pdfs):
    """PDFs with limits of their own are scored as in company of their like."""
    structures = [one.positions for one in clusters(4, seed=2)]
    r = 0.1 * np.arange(301)
    limits = [(0.8, 25.0), (1.5, 18.0), (0.5, 21.0), (0.8, 25.0)]
    curves = np.array(
        [
            simulate_pdf(x, PdfParams(qmin=low, qmax=high), n_threads=1)[1]
            for x, (low, high) in zip(structures, limits, strict=True)
        ]
    )
    low, high = np.array(limits).T
    score = Scorer(r, (1.5, 20.0))
    mixed = score(Positions.of(structures), curves, low, high)
    assert mixed.rw.max() < 0.08
    for k in range(4):
        alone = score(Positions.of(structures[k : k + 1]), curves[k : k + 1], low[k : k + 1], high[k : k + 1])
        assert mixed.rw[k] == pytest.approx(alone.rw[0], abs=1e-3)
    wrong = score(Positions.of(structures), curves, np.full(4, 0.8), np.full(4, 25.0))
    assert (wrong.rw[1:3] > mixed.rw[1:3] + 0.05).all()


def result(job, out, **context):
    reconstruct(job, out, Context(**context))
    return read_results(out)


@pytest.mark.parametrize("kind", KINDS)
def test_threads_and_ranks_change_nothing(source, tmp_path, kind):
    job = Job(source, model_of(kind), SECTION, seed=0, fast=True, n_threads=1)
    reconstruct(job, tmp_path / "one.h5", Context())
    reconstruct(dataclasses.replace(job, n_threads=3), tmp_path / "threads.h5", Context())
    batch.reconstruct_share(job, tmp_path / "ranks.h5", Context(rank=1, world=2), 1, 2)
    reconstruct(job, tmp_path / "ranks.h5", Context(rank=0, world=2))
    one = (tmp_path / "one.h5").read_bytes()
    assert (tmp_path / "threads.h5").read_bytes() == one
    assert (tmp_path / "ranks.h5").read_bytes() == one


def test_unusable_pdfs_are_marked_and_passed_over(source, tmp_path, caplog):
    arrays = {name: values.copy() for name, values in source.arrays.items()}
    arrays["pdf"][3, 200] = np.inf
    arrays["pdf"][4, 200] = np.nan
    arrays["pdf"][5, 15:] *= 0.0
    arrays["z"][6] = 0
    arrays["z"][7] = 3000
    arrays["params"][9, 1] = np.nan
    arrays["pdf"][16:24] = np.nan  # a whole pass
    job = Job(ArraySource(source.r, arrays), trained(), SECTION, seed=0, fast=True, n_threads=1)
    with caplog.at_level(logging.WARNING, "hpcpdf"):
        summary = reconstruct(job, tmp_path / "out.h5", Context())
    assert summary["passed_over"] == {"not_finite": 10, "no_signal": 1, "unknown_element": 2, "bad_limits": 1}
    assert "14 of 40 PDFs were passed over (10 not_finite" in caplog.text
    found = read_results(tmp_path / "out.h5")
    bad = found["status"] != RowStatus.DONE
    assert np.flatnonzero(bad).tolist() == [3, 4, 5, 6, 7, 9, *range(16, 24)]
    assert np.isnan(found["positions"][bad]).all()
    assert (found["n_atoms"][bad] == 0).all()
    for name in ("rw", "pearson", "scale", "biso", "qdamp"):
        assert np.isnan(found[name][bad]).all()
        assert np.isfinite(found[name][~bad]).all()
    whole = Likely(trained(), source.r, SECTION.r_range)(source.arrays)
    for k in np.flatnonzero(~bad):
        n = int(found["n_atoms"][k])
        assert n == whole["n_atoms"][k]
        np.testing.assert_allclose(found["positions"][k, :n], structures(whole)[k], atol=2e-4)


def test_a_peak_that_the_network_does_not_see_is_no_signal(source):
    """Between two points of the network's grid, so that the network would be given nothing but zeros."""
    r = 0.02 * np.arange(1500)
    arrays = {name: values[:2] for name, values in source.arrays.items()}
    pdf = np.full((2, len(r)), -0.1)
    pdf[:, 502] = 1.0
    pdf[1, 500] = 1.0
    found = Likely(trained(), r, SECTION.r_range)({**arrays, "pdf": pdf})
    assert found["status"].tolist() == [RowStatus.NO_SIGNAL, RowStatus.DONE]


def test_a_range_without_data_is_refused_at_once(source):
    with pytest.raises(DataError, match=r"0 points between 40 and 50 Å; the PDFs cover 0 to 30 Å"):
        Job(source, trained(), SECTION.model_copy(update={"r_range": (40.0, 50.0)}), seed=0)


def test_what_cannot_be_trilaterated_is_marked(source, tmp_path):
    model = new_model("cvae-2020", latent=2, seed=4).eval()
    inner = model.most_likely

    def spoiled(pdfs):
        predicted = inner(pdfs)
        predicted.distances[2, 0, 1] = np.nan
        return predicted

    model.most_likely = spoiled
    job = Job(source, model, SECTION, seed=0, fast=True, n_threads=1)
    summary = reconstruct(job, tmp_path / "out.h5", Context())
    assert summary["passed_over"] == {"not_placed": N // 8}
    found = read_results(tmp_path / "out.h5")
    lost = found["status"] == RowStatus.NOT_PLACED
    assert np.flatnonzero(lost).tolist() == list(range(2, N, 8))
    assert np.isnan(found["positions"][lost]).all()
    assert np.isfinite(found["rw"][~lost]).all()
