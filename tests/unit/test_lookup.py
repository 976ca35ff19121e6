"""The look-up baseline: finds what is there, with and without a stretch."""

from __future__ import annotations

import numpy as np
import pytest
from ase.cluster import Decahedron, Icosahedron, Octahedron

from hpcpdf import ConfigError, DataError, PdfParams, simulate_pdf
from hpcpdf.evaluate.lookup import LookUp

SHAPES = [
    Octahedron("Pt", 3).positions,
    Octahedron("Pt", 4, 1).positions,
    Octahedron("Pt", 5, 1).positions,
    Icosahedron("Pt", 3).positions,
    Decahedron("Pt", 3, 2, 0).positions,
]
R, TRAINING = simulate_pdf(SHAPES, PdfParams())


def test_itself():
    match = LookUp(R, TRAINING).find(TRAINING)
    np.testing.assert_array_equal(match.index, np.arange(5))
    np.testing.assert_allclose(match.score, 1.0, atol=1e-6)
    np.testing.assert_array_equal(match.zoom, 1.0)


@pytest.mark.parametrize("measure", ["pearson", "cosine"])
def test_scores_are_what_numpy_says(measure):
    rng = np.random.default_rng(0)
    queries = TRAINING[::-1] + rng.normal(size=TRAINING.shape) * 0.3
    match = LookUp(R, TRAINING, measure=measure).find(7.0 * queries)
    keep = R >= 1.0 - 1e-9
    a, b = queries[:, keep], TRAINING[:, keep]
    if measure == "pearson":
        expected = np.corrcoef(a, b)[:5, 5:]
    else:
        expected = (a @ b.T) / np.outer(np.linalg.norm(a, axis=1), np.linalg.norm(b, axis=1))
    np.testing.assert_array_equal(match.index, expected.argmax(axis=1))
    np.testing.assert_allclose(match.score, expected.max(axis=1), atol=1e-6)


def test_below_one_angstrom_plays_no_part():
    queries = TRAINING.copy()
    queries[:, R < 0.95] = 100.0
    np.testing.assert_allclose(LookUp(R, TRAINING).find(queries).score, 1.0, atol=1e-6)


@pytest.mark.parametrize("zoom", [0.93, 0.985, 1.0, 1.037, 1.08])
def test_a_stretched_structure_is_found_with_its_zoom(zoom):
    _, queries = simulate_pdf([zoom * positions for positions in SHAPES], PdfParams())
    plain = LookUp(R, TRAINING).find(queries)
    match = LookUp(R, TRAINING).find(queries, zoom_range=(0.9, 1.1))
    np.testing.assert_array_equal(match.index, np.arange(5))
    # The instrument's part (qmin, qmax, qdamp) does not stretch with the structure.
    np.testing.assert_allclose(match.zoom, zoom, atol=2e-3)
    assert np.all(match.score > 0.97)
    assert np.all(match.score >= plain.score - 1e-3)


def test_no_queries():
    lookup = LookUp(R, TRAINING)
    for zoom_range in (None, (0.9, 1.1)):
        assert lookup.find(np.zeros((0, R.size)), zoom_range=zoom_range).index.shape == (0,)


def test_more_queries_than_a_chunk():
    match = LookUp(R, TRAINING).find(np.tile(TRAINING, (60, 1)))
    np.testing.assert_array_equal(match.index, np.tile(np.arange(5), 60))


@pytest.mark.parametrize(
    ("make", "error", "cause"),
    [
        (lambda: LookUp(R, TRAINING, measure="l2"), ConfigError, "expected pearson or cosine"),
        (lambda: LookUp(R, TRAINING[:0]), DataError, "n > 0"),
        (lambda: LookUp(R, TRAINING[:, :-1]), DataError, r"expected \(n, 301\)"),
        (lambda: LookUp(R, TRAINING, r_range=(40.0, 50.0)), ConfigError, "no part of the grid"),
        (lambda: LookUp(R, TRAINING).find(TRAINING[:, 1:]), DataError, r"expected \(n, 301\)"),
        (lambda: LookUp(R, TRAINING).find(TRAINING, zoom_range=(1.1, 0.9)), ConfigError, "low <= 1 <= high"),
    ],
)
def test_wrong_use(make, error, cause):
    with pytest.raises(error, match=cause):
        make()
