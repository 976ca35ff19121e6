"""Geometry is that of the lattice, does not depend on the description, and tells real clusters from broken ones."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from ase.cluster import Octahedron
from scipy.spatial.transform import Rotation
from small_model import clusters

from hpcpdf import ConfigError, DataError, PdfParams
from hpcpdf.clusters.template import template
from hpcpdf.evaluate.intermediates import (
    CRITERIA,
    criteria_from,
    measure,
    pairs,
    thermal_snapshots,
    valid,
    validity,
)
from hpcpdf.evaluate.nearest import RealClusters
from hpcpdf.evaluate.ways import judge_ways

BISO = 0.3
NN = 2.77
CUBOCTAHEDRON = Octahedron("Pt", 5, 2).positions  # 55 atoms


def _fcc(n: int, nn: float = NN) -> np.ndarray:
    return template("fcc").sites[:n] * nn


def _drawn(n: int, seed: int) -> list[np.ndarray]:
    """Clusters of many shapes, cut from the lattice by unequal layers."""
    return [item.positions for item in clusters(n, seed=seed, min_atoms=13, max_atoms=79, families=("fcc",))]


REAL = _drawn(30, 1)
CLUSTERS = RealClusters(REAL, PdfParams(biso=BISO))


@pytest.fixture(scope="module")
def criteria():
    snapshots = thermal_snapshots(REAL, BISO, 0)
    return criteria_from([measure(item) for item in snapshots], CLUSTERS.find(snapshots).rw)


def _failed(structure, criteria) -> set[str]:
    found = validity([measure(structure)], CLUSTERS.find([structure]).rw, criteria)
    assert set(found) == set(CRITERIA)
    return {name for name, passed in found.items() if not passed[0]}


def test_geometry_of_a_cuboctahedron():
    found = measure(CUBOCTAHEDRON)
    # 12 inner atoms of the second shell and the centre have 12 neighbours; corners 5, edges 7, faces 8: 432 in all.
    assert found.n_atoms == 55
    assert found.coordination == pytest.approx(432 / 55)
    assert (found.least_neighbours, found.overlaps, found.connected) == (5, 0, True)
    assert found.shortest == pytest.approx(3.92 / np.sqrt(2))
    assert found.nn_mean == pytest.approx(3.92 / np.sqrt(2))
    assert found.nn_spread == pytest.approx(0.0, abs=1e-9)
    assert found.deficit == pytest.approx((1 - 432 / 55 / 12) * 55 ** (1 / 3))


def test_geometry_does_not_depend_on_the_description():
    rng = np.random.default_rng(3)
    structure = CUBOCTAHEDRON + rng.normal(0.0, 0.15, CUBOCTAHEDRON.shape)
    expected = measure(structure)
    for _ in range(5):
        turn = Rotation.random(rng=rng).as_matrix() * rng.choice([-1, 1])
        other = measure(rng.permutation(structure @ turn.T + rng.normal(0, 9, 3)))
        for name in ("n_atoms", "coordination", "least_neighbours", "overlaps", "connected"):
            assert getattr(other, name) == getattr(expected, name)
        for name in ("shortest", "nn_mean", "nn_spread"):
            assert getattr(other, name) == pytest.approx(getattr(expected, name), rel=1e-9)


def test_spread_measures_the_noise():
    rng = np.random.default_rng(4)
    for width in (0.02, 0.06, 0.1):
        spread = np.mean([measure(_fcc(79) + rng.normal(0, width, (79, 3))).nn_spread for _ in range(20)])
        assert spread == pytest.approx(np.sqrt(2) * width / NN, rel=0.05)


def test_snapshots_have_the_variance_that_biso_says():
    structures = [np.zeros((500, 3))] * 20
    moved = np.array(thermal_snapshots(structures, BISO, 5))
    assert moved.var() == pytest.approx(BISO / (8 * np.pi**2), rel=0.03)
    np.testing.assert_array_equal(moved[7], thermal_snapshots(structures[:8], BISO, 5)[7])
    assert not np.array_equal(moved[7], moved[8])


def test_real_clusters_are_valid_in_other_shapes_too(criteria):
    assert _failed(_fcc(55), criteria) == set()
    known = {len(item) for item in REAL}
    others = [item for item in _drawn(60, 2) if len(item) not in known][:15]
    assert len(others) == 15
    for structures in (others, thermal_snapshots(others, BISO, 1)):
        passed = valid([measure(item) for item in structures], CLUSTERS.find(structures).rw, criteria)
        assert passed.mean() > 0.7


def test_broken_clusters_fail_where_they_are_broken(criteria):
    onto = _fcc(55)
    onto[54] = onto[20]
    assert {"overlaps", "shortest"} <= _failed(onto, criteria)
    blurred = _fcc(55) + np.random.default_rng(0).normal(0.0, 0.2, (55, 3))
    assert {"spread", "shortest"} <= _failed(blurred, criteria)
    halves = _fcc(55)
    halves[halves[:, 0] > 0.1] += [3.0, 0.0, 0.0]
    assert "connected" in _failed(halves, criteria)
    assert "distance" in _failed(_fcc(55, 4.0), criteria)
    chain = np.arange(20)[:, None] * [[NN, 0.0, 0.0]]
    assert {"coordination", "least_neighbours", "rw_nearest"} <= _failed(chain, criteria)
    lonely = np.vstack([_fcc(55), [[20.0, 0.0, 0.0]]])
    assert {"connected", "least_neighbours"} <= _failed(lonely, criteria)


def test_what_is_no_structure_meets_nothing(criteria):
    for nothing in (np.full((5, 3), np.nan), np.zeros((1, 3)), np.zeros((0, 3))):
        assert _failed(nothing, criteria) == set(CRITERIA)
    assert {"distance", "connected", "rw_nearest", "spread"} <= _failed(np.zeros((6, 3)), criteria)


def test_coverage_decides_how_strict_the_limits_are():
    geometry = [measure(item) for item in thermal_snapshots(REAL * 5, BISO, 0)]
    rw = np.linspace(0.1, 0.3, len(geometry))
    strict, wide = (criteria_from(geometry, rw, coverage=share) for share in (0.5, 1.0))
    assert strict.nn_spread < wide.nn_spread == max(item.nn_spread for item in geometry)
    assert strict.shortest > wide.shortest
    assert strict.nn_mean[0] > wide.nn_mean[0]
    assert strict.nn_mean[1] < wide.nn_mean[1]
    assert valid(geometry, rw, wide).all()
    assert 0.0 < valid(geometry, rw, strict).mean() < 0.5


def test_pairs_are_of_different_sizes_and_never_twice():
    n_atoms = np.repeat([13, 19, 43, 55], 10)
    found = pairs(n_atoms, 300, seed=3)
    assert found.shape == (300, 2)
    assert np.all(n_atoms[found[:, 0]] != n_atoms[found[:, 1]])
    assert len({frozenset(pair) for pair in found.tolist()}) == 300
    # Either direction: growing and shrinking.
    growing = np.mean(n_atoms[found[:, 0]] < n_atoms[found[:, 1]])
    assert 0.4 < growing < 0.6
    np.testing.assert_array_equal(found, pairs(n_atoms, 300, seed=3))
    assert not np.array_equal(found, pairs(n_atoms, 300, seed=4))
    assert len(pairs(n_atoms, 600, seed=0)) == 600


def test_clusters_of_one_size_have_no_ways():
    case = SimpleNamespace(test={"n_atoms": np.full(5, 13)})
    assert judge_ways(case, None, n_pairs=3, steps=5) is None


def test_wrong_use(criteria):
    with pytest.raises(DataError, match="there are 600"):
        pairs(np.repeat([13, 19, 43, 55], 10), 601, seed=0)
    with pytest.raises(DataError, match="expected \\(n_atoms, 3\\)"):
        measure(np.zeros((5, 2)))
    with pytest.raises(DataError, match="expected as many"):
        criteria_from([measure(_fcc(13))], [0.1, 0.2])
    with pytest.raises(ConfigError, match="coverage = 0"):
        criteria_from([measure(_fcc(13))], [0.1], coverage=0.0)
    with pytest.raises(DataError, match="R_w of shape"):
        validity([measure(_fcc(13))], [0.1, 0.2], criteria)
