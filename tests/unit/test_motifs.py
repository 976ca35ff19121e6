"""Neighbours of an average atom, against crystals and particles that are built and counted."""

from __future__ import annotations

import math

import numpy as np
import pytest
from ase.cluster import Icosahedron
from scipy.spatial.distance import pdist

from hpcpdf.clusters.template import ideal_sites
from hpcpdf.errors import ConfigError
from hpcpdf.lattice.crystal import bulk_shells
from hpcpdf.sample.motifs import FACETTED, MOTIFS, Spread, equal_sphere, largest, moments, neighbours, stacking

ENDLESS = Spread(1e9, 0.0)
LAYER = math.sqrt(2.0 / 3.0)


def drawn_sequence(faults: float, n: int, rng: np.random.Generator) -> np.ndarray:
    """Places (0, 1, 2) of layers, each of which continues or reverses the order of those before it."""
    turns = np.cumprod(np.where(rng.random(n) < faults, -1, 1))
    return np.cumsum(turns) % 3


@pytest.mark.parametrize("faults", [0.0, 0.07, 0.5, 1.0])
def test_layers_lie_above_each_other_as_often_as_in_drawn_sequences(faults):
    places = drawn_sequence(faults, 200_000, np.random.default_rng(3))
    counted = [np.mean(places[m:] == places[: len(places) - m]) for m in range(9)]
    np.testing.assert_allclose(stacking(faults, 8), counted, atol=0.01)


@pytest.mark.parametrize(("faults", "family"), [(1e-15, "fcc"), (1.0, "hcp")])
def test_no_faults_are_fcc_and_nothing_else_is_hcp(faults, family):
    distance, number = neighbours("fcc", 7.0, ENDLESS, faults)
    seen = number > 1e-9
    expected = bulk_shells(family, 7.0)
    np.testing.assert_allclose(distance[seen], expected[0], rtol=1e-12)
    np.testing.assert_allclose(number[seen], expected[1], rtol=1e-6)


def test_faulted_neighbours_are_those_of_a_drawn_crystal():
    faults, reach = 0.2, 3.2
    rng = np.random.default_rng(5)
    places = drawn_sequence(faults, 4000, rng)
    a, b = np.meshgrid(np.arange(-5, 6), np.arange(-5, 6))
    plane = np.stack([a + 0.5 * b, 0.5 * math.sqrt(3.0) * b], axis=-1).reshape(-1, 2)
    shift = np.array([0.5, math.sqrt(3.0) / 6.0])
    found: dict[int, float] = {}
    top = int(reach / LAYER)
    for centre in range(top, len(places) - top):
        for m in range(-top, top + 1):
            other = plane + ((places[centre + m] - places[centre]) % 3) * shift
            thirds = np.rint(3.0 * (np.sum(other**2, axis=1) + (m * LAYER) ** 2)).astype(int)
            for key, count in zip(*np.unique(thirds[thirds <= 3.0 * reach**2], return_counts=True), strict=True):
                found[key] = found.get(key, 0.0) + count / (len(places) - 2 * top)
    distance, number = neighbours("fcc", reach, ENDLESS, faults)
    inside = distance < reach
    for d, n in zip(distance[inside], number[inside], strict=True):
        assert n == pytest.approx(found.get(round(3.0 * d**2), 0.0), abs=0.35), d


@pytest.mark.parametrize("family", ["fcc", "bcc", "sc"])
def test_facetted_particles_have_these_neighbours_on_average(family):
    rng = np.random.default_rng(11)
    sites = ideal_sites(family, 9.0)[0]
    kinds = np.array([[1, 1, 1], [1, 1, 0], [1, 0, 0]], dtype=float)
    normals = {tuple(np.array(k)[list(p)] * s) for k in kinds for p in ((0, 1, 2), (1, 2, 0), (2, 0, 1)) for s in SIGNS}
    normals = np.array(sorted(normals))
    normals /= np.linalg.norm(normals, axis=1)[:, None]
    bins = np.arange(0.55, 11.0, 1.1)
    counted, expected = np.zeros(len(bins) - 1), np.zeros(len(bins) - 1)
    for _ in range(12):
        height = 4.5 * rng.uniform(0.8, 1.2, len(normals))
        points = sites[np.all((sites - rng.uniform(-0.5, 0.5, 3)) @ normals.T <= height, axis=1)]
        size = equal_sphere(len(points), family)
        counted += 2.0 * np.histogram(pdist(points), bins)[0] / len(points)
        distance, number = neighbours(family, 12.0, Spread(size, 0.0))
        expected += np.histogram(distance, bins, weights=number)[0]
    # Two in a hundred of what an atom has at most in such a shell.
    np.testing.assert_allclose(counted, expected, atol=0.04 * expected.max() / 2.0, rtol=0.03)


SIGNS = [np.array([x, y, z]) for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)]


def test_spread_is_the_lognormal_law_weighed_by_atoms():
    spread = Spread(30.0, 0.04)
    rng = np.random.default_rng(1)
    atoms = 30.0 * np.exp(0.2 * rng.standard_normal(400_000))
    particles = 1.0 / atoms**3
    mean = np.average(atoms, weights=particles)
    assert spread.atom_mean == pytest.approx(atoms.mean(), rel=2e-3)
    assert spread.mean == pytest.approx(mean, rel=2e-3)
    assert spread.width == pytest.approx(math.sqrt(np.average((atoms - mean) ** 2, weights=particles)), rel=1e-2)
    gamma = rng.gamma(1.0 / math.expm1(0.04), spread.atom_mean * math.expm1(0.04), 400_000)
    off = abs(np.average(gamma, weights=gamma**-3.0) - spread.mean)
    assert spread.law()[0] == pytest.approx(off, abs=0.02)
    sizes, weights = spread.nodes()
    assert weights @ sizes == pytest.approx(spread.atom_mean, rel=1e-9)


def test_icosahedron_of_one_size_is_counted_exactly():
    points = Icosahedron("Pt", 4).positions
    points = points / pdist(points).min()
    size = equal_sphere(147, "icosahedron")
    distance, number = neighbours("icosahedron", 20.0, Spread(size, 0.0))
    assert number.sum() == pytest.approx(146.0)
    assert (number @ distance**2) == pytest.approx(2.0 * np.sum(pdist(points) ** 2) / 147, rel=1e-5)
    assert moments("icosahedron", Spread(size, 0.0)) == pytest.approx((size, 0.0, size), abs=1e-6)


@pytest.mark.parametrize("family", MOTIFS)
def test_every_atom_of_a_particle_is_counted(family):
    size = min(6.0, largest(family))
    distance, number = neighbours(family, 14.0, Spread(size, 0.0))
    n_atoms = (size / equal_sphere(1.0, family)) ** 3
    # Spheres that facets spread are, weighed by atoms, larger in the mean.
    swollen = 1.0 if math.isfinite(largest(family)) else math.exp(4.5 * FACETTED**2)
    assert number.sum() + 1.0 == pytest.approx(n_atoms * swollen, rel=0.06)
    assert np.all(np.diff(distance) > 0.0)
    assert np.all(number >= 0.0)


def test_unknown_motif_is_named():
    with pytest.raises(ConfigError, match="unknown motif 'quasi'; known: fcc, hcp"):
        neighbours("quasi", 3.0, ENDLESS)
