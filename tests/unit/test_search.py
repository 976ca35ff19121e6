"""Moves on the template, and the search that makes them."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.sparse.csgraph import connected_components
from scipy.spatial.transform import Rotation
from small_model import clusters

from hpcpdf import PdfParams, simulate_pdf
from hpcpdf.clusters.draw import facets
from hpcpdf.clusters.template import template
from hpcpdf.config import FAMILIES
from hpcpdf.reconstruct.rank import Ranker
from hpcpdf.reconstruct.search import OnSites, Scored, improve, neighbours, on_sites

NN = 2.77


def drawn(family: str, n: int = 4, **limits) -> list[OnSites]:
    limits = {"min_atoms": 15, "max_atoms": 80, **limits}
    return [OnSites(family, np.sort(c.shape.sites)) for c in clusters(n, seed=9, families=[family], **limits)]


def pieces(structure: OnSites) -> int:
    frame = template(structure.family)
    bonded = frame.distances[np.ix_(structure.sites, structure.sites)] < 1.3
    return connected_components(bonded, directed=False)[0]


@pytest.mark.parametrize("family", FAMILIES)
def test_neighbours_are_clusters_one_move_away(family):
    size = len(template(family).sites)
    for structure in drawn(family):
        found = neighbours(structure)
        assert len(found) >= 4
        assert len({item.key for item in found}) == len(found)
        assert structure.key not in {item.key for item in found}
        before = set(structure.sites.tolist())
        for item in found:
            assert item.family == family
            assert (np.diff(item.sites) > 0).all()
            assert item.sites[0] >= 0
            assert item.sites[-1] < size
            assert len(item.sites) >= 4
            after = set(item.sites.tolist())
            assert before < after or after < before, "atoms come or go, not both"
        assert sum(pieces(item) > pieces(structure) for item in found) == 0


def test_single_moves_can_be_undone():
    structure = drawn("fcc", 1)[0]
    for item in neighbours(structure):
        if len(item.sites) == len(structure.sites) + 1:
            assert structure.key in {back.key for back in neighbours(item)}


@pytest.mark.parametrize("family", FAMILIES)
def test_structures_are_found_on_their_sites(family):
    rng = np.random.default_rng(0)
    for structure in drawn(family, 2):
        shaken = structure.positions(NN) + rng.normal(scale=0.03, size=(len(structure.sites), 3))
        found = on_sites(family, rng.permutation(shaken), NN)
        assert found is not None
        assert found.key == structure.key


def test_structures_off_the_sites_are_not_forced_onto_them():
    structure = drawn("fcc", 1)[0]
    positions = structure.positions(NN)
    assert on_sites("", positions, NN) is None
    assert on_sites("fcc", positions, float("nan")) is None
    assert on_sites("fcc", positions @ Rotation.from_euler("z", 20, degrees=True).as_matrix(), NN) is None
    assert on_sites("fcc", np.vstack([positions, positions[:1]]), NN) is None


def ranker(structure: OnSites) -> Ranker:
    params = PdfParams(rmax=20.005, rstep=0.02, qmin=0.9, qmax=23.0, qdamp=0.03, biso=0.5)
    r, g = simulate_pdf(structure.positions(NN), params, n_threads=1)
    return Ranker(r, g, 0.9, 23.0, zooms=(0.99, 1.0, 1.01), bisos=(0.35, 0.5), qdamps=(0.03, 0.05), n_threads=1)


def without_a_layer(structure: OnSites) -> OnSites:
    """The outermost layer of the first facet is gone, if that leaves enough."""
    heights = facets(structure.family)[:, structure.sites]
    for height in heights:
        kept = height < height.max() - 0.01
        if (~kept).sum() >= 2 and kept.sum() >= 0.6 * len(kept):
            return OnSites(structure.family, structure.sites[kept])
    raise AssertionError("no facet with more than one atom")


@pytest.mark.parametrize("family", ["fcc", "hcp", "decahedron"])
def test_a_missing_layer_is_found(family):
    sites = template(family).sites
    truth = OnSites(family, np.flatnonzero(np.linalg.norm(sites, axis=1) < 2.05))
    scan = ranker(truth)
    start = without_a_layer(truth)
    first = Scored(start, float(scan.rank([start.positions(NN)]).rw[0]))
    assert first.rw > 0.03
    found = improve([first], scan.rank, NN, width=4)
    assert found[0].rw < 0.01
    assert found[0].structure.key == truth.key
    assert [item.rw for item in found] == sorted(item.rw for item in found)
    assert len({item.structure.key for item in found}) == len(found)


def test_limits_of_the_search():
    truth = drawn("fcc", 1, min_atoms=30, max_atoms=60)[0]
    scan = ranker(truth)
    start = without_a_layer(truth)
    n = len(start.sites)
    first = Scored(start, 1.0)
    assert max(len(item.structure.sites) for item in improve([first], scan.rank, NN, max_atoms=n, rounds=2)) == n
    assert improve([first], scan.rank, NN, rounds=0) == [first]
    assert improve([], scan.rank, NN) == []
    once = improve([first], scan.rank, NN, rounds=1)
    assert len(improve([first], scan.rank, NN, max_pairs=1.0)) == len(once)
