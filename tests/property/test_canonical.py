"""Canonical forms do not depend on where, how and in which order a cluster is given."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpcpdf.clusters.canonical import canonical_form, distance_list, shape_key
from hpcpdf.clusters.draw import draw_shape
from hpcpdf.clusters.template import canonical_sites, make_shape, template
from hpcpdf.config import FAMILIES

SEEDS = st.integers(0, 2**32 - 1)


@pytest.mark.parametrize("family", FAMILIES)
@settings(max_examples=60, deadline=None)
@given(seed=SEEDS)
def test_sites_of_every_image_are_the_same(family, seed):
    rng = np.random.default_rng(seed)
    frame = template(family)
    shape = draw_shape(family, rng, 5, 120)
    for operation in rng.choice(len(frame.operations), 6):
        image = frame.images[operation][shape.sites]
        for centre in rng.permutation(frame.centres[:60])[:6]:
            moved = frame.recentre(image, int(centre))
            if moved is not None:
                np.testing.assert_array_equal(canonical_sites(family, rng.permutation(moved)), shape.sites)


@pytest.mark.parametrize("family", FAMILIES)
@settings(max_examples=30, deadline=None)
@given(seed=SEEDS)
def test_images_really_are_images(family, seed):
    rng = np.random.default_rng(seed)
    frame = template(family)
    shape = draw_shape(family, rng)
    operation = int(rng.integers(len(frame.operations)))
    image = frame.images[operation][shape.sites]
    np.testing.assert_allclose(frame.sites[image], shape.positions @ frame.operations[operation].T, atol=1e-9)
    assert make_shape(family, np.sort(image)).key == shape.key


@pytest.mark.parametrize("family", FAMILIES)
def test_one_more_atom_rarely_turns_the_frame(family):
    rng = np.random.default_rng(5)
    frame = template(family)
    kept = []
    while len(kept) < 60:
        shape = draw_shape(family, rng, 20, 200)
        occupied = np.append(np.isin(np.arange(len(frame)), shape.sites), False)
        free = np.flatnonzero(~occupied[:-1] & (occupied[frame.neighbours].sum(axis=1) >= 3))
        if free.size:
            grown = canonical_sites(family, np.append(shape.sites, rng.choice(free)))
            kept.append(np.isin(shape.sites, grown).all())
    assert np.mean(kept) > 0.7


def _random_rotation(rng):
    q, r = np.linalg.qr(rng.standard_normal((3, 3)))
    return q * np.sign(np.diag(r))


@pytest.mark.parametrize("kind", ["ideal", "relaxed"])
@pytest.mark.parametrize("family", FAMILIES)
@settings(max_examples=25, deadline=None)
@given(seed=SEEDS)
def test_form_of_every_image_is_the_same(family, kind, seed):
    rng = np.random.default_rng(seed)
    positions = 2.77 * draw_shape(family, rng, 5, 200).positions
    if kind == "relaxed":
        positions = positions + 0.05 * rng.standard_normal(positions.shape)
    form, order = canonical_form(positions)
    np.testing.assert_allclose(distance_list(form), distance_list(positions), atol=1e-9)
    np.testing.assert_allclose(
        np.linalg.norm(form, axis=1), np.linalg.norm(positions - positions.mean(axis=0), axis=1)[order], atol=1e-9
    )
    for _ in range(3):
        shuffle = rng.permutation(len(positions))
        image = (positions @ _random_rotation(rng).T + 7.0 * rng.standard_normal(3))[shuffle]
        again, order = canonical_form(image)
        np.testing.assert_allclose(again, form, atol=1e-6)
        assert sorted(order) == list(range(len(image)))
        assert shape_key(image * 1.1) == shape_key(positions)


@settings(max_examples=200, deadline=None)
@given(seed=SEEDS, n=st.integers(0, 9), flat=st.integers(0, 3))
def test_form_of_tiny_flat_and_straight_clusters(seed, n, flat):
    rng = np.random.default_rng(seed)
    positions = rng.integers(-2, 3, (n, 3)) * (np.arange(3) >= flat) + 0.0
    form, _ = canonical_form(positions)
    image = positions[rng.permutation(n)] @ _random_rotation(rng).T + rng.standard_normal(3)
    np.testing.assert_allclose(canonical_form(image)[0], form, atol=1e-6)
    np.testing.assert_allclose(canonical_form(form)[0], form, atol=1e-6)


@pytest.mark.parametrize("family", ["fcc", "octahedron", "hcp", "icosahedron"])
def test_form_of_the_most_symmetric_clusters(family):
    rng = np.random.default_rng(2)
    frame = template(family)
    for radius in (1.01, 1.5, 2.1, 2.6, 3.2):
        positions = 2.5 * frame.sites[np.linalg.norm(frame.sites, axis=1) < radius]
        form, _ = canonical_form(positions)
        for noise in (0.0, 0.0, 1e-12, 1e-8):
            image = rng.permutation(positions) @ _random_rotation(rng).T + 100.0
            image += noise * rng.standard_normal(image.shape)
            np.testing.assert_allclose(canonical_form(image)[0], form, atol=1e-6)
