"""Canonical forms do not depend on where, how and in which order a cluster is given."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

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
