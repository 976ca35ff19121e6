"""RMSD after alignment and assignment: against brute force, and invariances on real cluster shapes."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from ase.cluster import Decahedron, FaceCenteredCubic, Icosahedron, Octahedron
from scipy.stats import ortho_group, special_ortho_group

from hpcpdf import DataError
from hpcpdf.evaluate.align import align, rmsd

SHAPES = {
    "ico13": Icosahedron("Pt", 2).positions,
    "ico55": Icosahedron("Pt", 3).positions,
    "ico147": Icosahedron("Pt", 4).positions,
    "oct85": Octahedron("Pt", 5).positions,
    "cub55": Octahedron("Pt", 5, 2).positions,
    "dec54": Decahedron("Pt", 3, 2, 0).positions,
    "dec101": Decahedron("Pt", 3, 3, 1).positions,
    "fcc63": FaceCenteredCubic("Pt", [(1, 0, 0), (1, 1, 1)], [2, 3]).positions,
    "chain": np.arange(6)[:, None] * np.array([2.7, 0.0, 0.0]),
    "sheet": np.stack(np.meshgrid(np.arange(4.0), np.arange(3.0), [0.0]), axis=-1).reshape(-1, 3),
    "random": np.random.default_rng(3).normal(size=(40, 3)) * 4.0,
}


def disguised(positions, seed, noise=0.0):
    """The same cluster turned, mirrored, moved, renumbered, with noise."""
    rng = np.random.default_rng(seed)
    turn = ortho_group.rvs(3, random_state=rng)
    moved = positions @ turn.T + rng.normal(size=3) * 10.0
    return rng.permutation(moved + rng.normal(size=moved.shape) * noise)


@pytest.mark.parametrize("name", SHAPES)
def test_a_disguised_cluster_is_found(name):
    for seed in range(4):
        assert rmsd(disguised(SHAPES[name], seed), SHAPES[name]) < 1e-6


@pytest.mark.parametrize("name", SHAPES)
def test_noise_is_what_remains(name):
    sigma = 0.05
    for seed in range(3):
        found = rmsd(disguised(SHAPES[name], seed, sigma), SHAPES[name])
        # Six degrees of freedom are fitted away, and symmetry may find a slightly better pairing.
        assert found < sigma * np.sqrt(3.0) * 1.15


def brute_force(a, b):
    a0, b0 = a - a.mean(axis=0), b - b.mean(axis=0)
    kept = max(np.linalg.svd(b0.T @ a0[list(order)])[1].sum() for order in permutations(range(len(a))))
    return np.sqrt(max(np.sum(a0**2) + np.sum(b0**2) - 2.0 * kept, 0.0) / len(a))


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 6])
def test_small_clusters_are_exact(n):
    rng = np.random.default_rng(n)
    for _ in range(3):
        a, b = rng.normal(size=(n, 3)), rng.normal(size=(n, 3))
        assert rmsd(a, b) == pytest.approx(brute_force(a, b), abs=1e-7)


def test_nearly_the_minimum_for_unrelated_points(monkeypatch):
    # Unrelated points have no pose that stands out: the hardest case for a search from matched frames.
    monkeypatch.setattr("hpcpdf.evaluate.align._EXACT_ATOMS", 0)
    rng = np.random.default_rng(8)
    ratio = []
    for _ in range(10):
        a, b = rng.normal(size=(6, 3)), rng.normal(size=(6, 3))
        ratio.append(rmsd(a, b) / brute_force(a, b))
    assert min(ratio) > 1.0 - 1e-9
    assert np.mean(ratio) < 1.05


def test_symmetric_and_independent_of_the_pose_for_different_shapes():
    a, b = SHAPES["ico55"], SHAPES["cub55"]
    value = rmsd(a, b)
    assert 0.5 < value < 1.5
    assert rmsd(b, a) == pytest.approx(value, abs=0.02)
    for seed in range(3):
        assert rmsd(disguised(a, seed), b) == pytest.approx(value, abs=0.02)


def test_one_displaced_atom():
    a = SHAPES["oct85"].copy()
    a[17] += [0.8, 0.0, 0.0]
    expected = 0.8 * np.sqrt(1.0 / 85.0)
    assert rmsd(disguised(a, 5), SHAPES["oct85"]) == pytest.approx(expected, rel=0.05)


def test_lattices_cut_differently_are_laid_atom_on_atom():
    rng = np.random.default_rng(0)
    full = Octahedron("Pt", 5).positions
    # The same lattice without another corner region each: 70 of 85 atoms, all but a few in common.
    a = full[np.argsort(full @ rng.normal(size=3))[:70]]
    b = full[np.argsort(full @ rng.normal(size=3))[:70]]
    found = align(disguised(a, 1), b)
    on_site = np.linalg.norm(found.positions - b, axis=1) < 1.0
    assert np.count_nonzero(on_site) >= 52


def test_the_alignment_is_what_it_says():
    reference = SHAPES["dec54"]
    positions = disguised(reference, 9, 0.1)
    found = align(positions, reference)
    np.testing.assert_allclose(found.rotation @ found.rotation.T, np.eye(3), atol=1e-12)
    np.testing.assert_allclose(positions[found.order] @ found.rotation.T + found.shift, found.positions, atol=1e-9)
    assert sorted(found.order) == list(range(len(reference)))
    assert found.rmsd == pytest.approx(np.sqrt(np.mean(np.sum((found.positions - reference) ** 2, axis=1))))


def test_handedness_counts_when_asked():
    chiral = np.array([[0.0, 0, 0], [1, 0, 0], [0, 2, 0], [0, 0, 3]])
    mirrored = chiral * [1, 1, -1]
    turned = mirrored @ special_ortho_group.rvs(3, random_state=1).T
    assert rmsd(turned, chiral) < 1e-7
    assert rmsd(turned, chiral, mirror=False) > 0.15
    assert np.linalg.det(align(turned, chiral, mirror=False).rotation) == pytest.approx(1.0)


def test_different_numbers_of_atoms():
    assert np.isnan(rmsd(SHAPES["ico13"], SHAPES["ico55"]))
    with pytest.raises(DataError, match="13 and 55 atoms"):
        align(SHAPES["ico13"], SHAPES["ico55"])


@pytest.mark.parametrize("wrong", [np.zeros((0, 3)), np.zeros((4, 2)), np.full((3, 3), np.nan)])
def test_what_is_no_cluster(wrong):
    with pytest.raises(DataError, match=r"expected \(n, 3\)|not finite"):
        rmsd(wrong, wrong)


def test_coincident_atoms():
    assert rmsd(np.zeros((4, 3)), np.ones((4, 3))) == pytest.approx(0.0, abs=1e-12)
