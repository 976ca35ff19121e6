"""Random shapes: what every one of them must be, and how varied they are together."""

import numpy as np
import pytest
from scipy.spatial.distance import squareform

from hpcpdf import ConfigError
from hpcpdf.clusters.canonical import distance_list, shape_key
from hpcpdf.clusters.draw import TINY, draw_shape
from hpcpdf.clusters.reference import reference_shapes
from hpcpdf.clusters.template import NEIGHBOUR_CUTOFF, canonical_sites, template
from hpcpdf.config import FAMILIES


def _bonds(shape):
    positions = shape.positions
    distances = np.linalg.norm(positions[:, None] - positions[None], axis=2)
    np.testing.assert_allclose(np.sort(squareform(distances, checks=False)), distance_list(positions), atol=1e-9)
    return (distances < NEIGHBOUR_CUTOFF) & (distances > 0.0)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_shape_is_whole_canonical_and_within_bounds(family):
    rng = np.random.default_rng(0)
    for low, high in [(5, 200)] * 60 + [(5, 9), (16, 18), (20, 30), (180, 200)] * 4:
        shape = draw_shape(family, rng, low, high)
        assert low <= shape.n_atoms <= high
        assert shape.family == family
        np.testing.assert_array_equal(canonical_sites(family, shape.sites), shape.sites)
        assert shape.key == shape_key(3.1 * shape.positions)
        bonds = _bonds(shape)
        if shape.n_atoms > TINY:
            assert bonds.sum(axis=1).min() >= 3
        reached = np.zeros(shape.n_atoms, dtype=bool)
        reached[0] = True
        for _ in range(shape.n_atoms):
            reached = reached | bonds[reached].any(axis=0)
        assert reached.all()


@pytest.mark.parametrize("family", FAMILIES)
def test_same_seed_same_shape(family):
    first = [draw_shape(family, np.random.default_rng(seed)) for seed in range(20)]
    again = [draw_shape(family, np.random.default_rng(seed)) for seed in range(20)]
    assert first == again
    assert len({shape.key for shape in first}) > 10


@pytest.mark.parametrize("family", FAMILIES)
def test_sizes_are_spread_evenly_and_shapes_differ(family):
    rng = np.random.default_rng(1)
    shapes = [draw_shape(family, rng) for _ in range(800)]
    share = np.histogram([shape.n_atoms for shape in shapes], np.linspace(5, 201, 5))[0] / len(shapes)
    assert share.min() > 0.13
    assert share.max() < 0.4
    assert len({shape.key for shape in shapes}) > 400


def test_fcc_draws_include_symmetric_clusters_of_the_reference():
    rng = np.random.default_rng(2)
    drawn = {draw_shape("fcc", rng, 5, 60).key for _ in range(600)}
    assert {shape.key for shape in reference_shapes() if shape.n_atoms <= 60} <= drawn


def test_octahedra_share_the_fcc_sites():
    np.testing.assert_array_equal(template("octahedron").sites, template("fcc").sites)
    assert template("octahedron").digest != template("fcc").digest


def test_decahedra_keep_their_axis_and_icosahedra_their_centre():
    rng = np.random.default_rng(3)
    for _ in range(100):
        x, y, z = draw_shape("decahedron", rng, 20, 200).positions.T
        ring = np.abs(np.hypot(x, y) - np.sqrt(0.75)) < 1e-6
        assert len(np.unique(np.rint(np.arctan2(y, x)[ring] / (2 * np.pi / 5) * 4) % 20)) == 5
        assert np.unique(np.rint(2 * z)).size > 1
        assert draw_shape("icosahedron", rng, 20, 200).sites[0] == 0


def test_bounds_that_hold_no_cluster():
    with pytest.raises(ConfigError, match="2 to 5 atoms"):
        draw_shape("decahedron", np.random.default_rng(0), 2, 5)
