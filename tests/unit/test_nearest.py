"""The most similar real cluster is the one a structure was made from, whatever its orientation and stretch."""

from __future__ import annotations

import numpy as np
import pytest
from ase.cluster import Decahedron, Icosahedron, Octahedron
from scipy.spatial.transform import Rotation

from hpcpdf import DataError, PdfParams
from hpcpdf.evaluate.nearest import RealClusters

SHAPES = [
    Octahedron("Pt", 3).positions,
    Octahedron("Pt", 5, 1).positions,
    Icosahedron("Pt", 3).positions,
    Decahedron("Pt", 3, 2, 0).positions,
]
REAL = RealClusters(SHAPES, PdfParams())


def test_a_disguised_cluster_is_found_with_its_zoom():
    rng = np.random.default_rng(0)
    turned = [
        rng.permutation(1.02 * item @ Rotation.random(rng=rng).as_matrix().T + rng.normal(0, 5, 3)) for item in SHAPES
    ]
    found = REAL.find(turned)
    np.testing.assert_array_equal(found.index, np.arange(4))
    np.testing.assert_allclose(found.zoom, 1.02, atol=1e-4)
    assert np.all(found.rw < 1e-3)
    for item, shape in zip(found.structures, SHAPES, strict=True):
        np.testing.assert_allclose(item, shape * 1.02, atol=1e-3)


def test_rw_grows_with_disorder():
    noise = np.random.default_rng(1).normal(size=SHAPES[1].shape)
    found = REAL.find([SHAPES[1] + width * noise for width in (0.0, 0.05, 0.1, 0.2)])
    np.testing.assert_array_equal(found.index[:3], 1)
    assert np.all(np.diff(found.rw) > 0.02)


def test_a_disordered_structure_can_be_held_to_its_size():
    noise = np.random.default_rng(2)
    blurred = [item + noise.normal(0.0, 0.25, item.shape) for item in SHAPES]
    held = REAL.find(blurred, same_size=True)
    np.testing.assert_array_equal(held.index, np.arange(4))
    # Free, the choice is at least as similar; held, the nearest size will do where there is none of the same.
    assert np.all(REAL.find(blurred).pearson >= held.pearson - 1e-3)
    assert REAL.find([SHAPES[1][:-1]], same_size=True).index[0] in np.flatnonzero(
        [abs(len(item) - len(SHAPES[1]) + 1) <= 1 for item in SHAPES]
    )


def test_what_is_no_structure_resembles_nothing():
    found = REAL.find([np.full((4, 3), np.nan), SHAPES[0], np.zeros((1, 3)), np.zeros((3, 3))])
    np.testing.assert_array_equal(found.index, [-1, 0, -1, -1])
    np.testing.assert_array_equal(np.isnan(found.zoom), [True, False, True, True])
    np.testing.assert_array_equal(found.rw[[0, 2, 3]], 1.0)
    assert [len(item) for item in found.structures] == [0, len(SHAPES[0]), 0, 0]
    assert REAL.find([]).index.shape == (0,)


def test_padding_is_left_out():
    padded = np.full((60, 3), np.nan)
    padded[: len(SHAPES[0])] = SHAPES[0]
    (found,) = RealClusters([padded], PdfParams()).find([SHAPES[0]]).structures
    np.testing.assert_allclose(found, SHAPES[0], atol=1e-4)


def test_wrong_use():
    with pytest.raises(DataError, match="expected as many"):
        RealClusters(SHAPES, PdfParams(), np.zeros((3, 301)))
    with pytest.raises(DataError, match="at least 1"):
        RealClusters([], PdfParams())
