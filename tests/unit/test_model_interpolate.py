"""The way between two PDFs in latent space ends where each PDF's own mean leads."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hpcpdf.clusters.template import template
from hpcpdf.config import ModelSection
from hpcpdf.model.features import PdfBatch
from hpcpdf.model.store import build
from hpcpdf.pdf.params import PdfParams
from hpcpdf.pdf.simulate import simulate_pdf

KINDS = ["site-cvae", "cvae-2020", "dae-2020"]


@pytest.fixture(scope="module")
def ends() -> PdfBatch:
    sites = template("fcc").sites
    pdfs = [simulate_pdf(sites[:n] * nn, PdfParams(), n_threads=1)[1] for n, nn in ((13, 2.70), (55, 2.85))]
    both = np.ones(2)
    return PdfBatch(np.array(pdfs), 0.8 * both, 25.0 * both, 2.77 * both)


def _model(kind):
    torch.manual_seed(3)
    return build(ModelSection(kind=kind, latent=4, hidden=32), length=20.0).eval()


@pytest.mark.parametrize("kind", KINDS)
def test_the_ends_are_what_each_pdf_gives_without_spread(kind, ends):
    model = _model(kind)
    way = model.interpolate(ends, np.array([0.0, 1.0]))
    for index, end in enumerate(way):
        alone = model.sample(ends[index : index + 1], 1, torch.Generator(), spread=0.0).structures[0]
        np.testing.assert_allclose(end.distances, alone.distances, atol=1e-5)
        np.testing.assert_allclose(end.satellite_distances, alone.satellite_distances, atol=1e-5)
        assert end.family == alone.family


@pytest.mark.parametrize("kind", KINDS)
def test_a_way_to_itself_stands_still(kind, ends):
    first = ends[np.array([0, 0])]
    way = _model(kind).interpolate(first, np.linspace(0.0, 1.0, 4))
    for step in way:
        np.testing.assert_allclose(step.distances, way[0].distances, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_the_way_is_the_same_backwards(kind, ends):
    model = _model(kind)
    there = model.interpolate(ends, np.array([0.25, 0.5]))
    back = model.interpolate(ends[np.array([1, 0])], np.array([0.75, 0.5]))
    for one, other in zip(there, back, strict=True):
        np.testing.assert_allclose(one.distances, other.distances, atol=1e-5)


def test_site_models_interpolate_the_scale(ends):
    near, middle, far = (step.nn for step in _model("site-cvae").interpolate(ends, np.array([0.0, 0.5, 1.0])))
    assert near < middle < far
    assert middle == pytest.approx((near + far) / 2)
