"""Templates of the lattice engine against the ideal structures, clusters of ASE, and distances worked out again."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from ase.cluster import Decahedron, FaceCenteredCubic, Icosahedron
from scipy.spatial import cKDTree
from scipy.spatial.distance import pdist

from hpcpdf import PdfParams
from hpcpdf.clusters.template import template
from hpcpdf.errors import ConfigError
from hpcpdf.lattice.bounds import fit_family
from hpcpdf.lattice.explore import explore
from hpcpdf.lattice.shells import PdfData
from hpcpdf.lattice.template import LATTICES, TemplateTooLargeError, lattice_template, shell_distances

BULK = {"fcc": 12, "hcp": 12, "bcc": 14, "sc": 6, "decahedron": 12, "icosahedron": 12, "twin": 12}
"""Neighbours in the bulk; the second shell of bcc is counted."""
CRYSTALS = ("fcc", "hcp", "bcc", "sc")
WHOLE = {"fcc": 2, "sc": 2, "bcc": 6, "hcp": 6, "twin": 3}
"""What squared distances have to be multiplied with to be whole numbers."""


def tolerance(family: str) -> float:
    return 1e-3 if family in ("decahedron", "icosahedron") else 1e-6


def place(family: str, positions: np.ndarray, radius: float = 4.5) -> np.ndarray | None:
    """Sites of a family's template that hold a cluster given in bond lengths, in its own axes about its own origin."""
    frame = lattice_template(family, radius, 10.0)
    gap, sites = cKDTree(frame.sites).query(positions, distance_upper_bound=1e-3)
    return np.asarray(sites, dtype=np.int32) if np.isfinite(gap).all() else None


def axes(positions: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Positions turned about the origin so that they lie on `wanted`, found from three neighbours of the origin."""
    shell = positions[np.abs(np.linalg.norm(positions, axis=1) - 1.0) < 0.06]
    goal = wanted[np.abs(np.linalg.norm(wanted, axis=1) - 1.0) < 0.06]
    tree = cKDTree(wanted)
    frame = next(
        three for three in (shell[[0, j, k]] for j in range(1, len(shell)) for k in range(1, j))
        if abs(np.linalg.det(three)) > 0.1
    )  # fmt: skip
    for a in goal:
        for b in goal:
            for c in goal:
                turn = np.linalg.solve(frame, np.array([a, b, c]))
                if np.allclose(turn.T @ turn, np.eye(3), atol=0.01):
                    u, _, v = np.linalg.svd(turn)
                    turned = positions @ (u @ v)
                    if tree.query(turned)[0].max() < 0.02:
                        return np.asarray(turned)
    raise AssertionError("the cluster does not lie on the template")


@pytest.mark.parametrize("family", LATTICES)
def test_sites_of_the_bulk(family):
    frame = lattice_template(family, 4.0, 6.0)
    assert frame.radius >= 4.0
    distance = np.linalg.norm(frame.sites, axis=1)
    assert np.all(np.diff(distance) >= -1e-6)
    assert distance[0] == pytest.approx(0.0, abs=1e-9)
    assert distance[-1] > frame.radius + 0.5
    inside = np.flatnonzero(distance < frame.radius - 0.5)
    bonds = (frame.neighbours[inside] < len(frame)).sum(axis=1)
    assert bonds[0] == BULK[family] == frame.coordination
    np.testing.assert_array_equal(bonds, BULK[family])
    near = cKDTree(frame.sites).query(frame.sites[inside], k=2)[0][:, 1]
    assert near.min() > 0.94
    assert near.max() < 1.06


@pytest.mark.parametrize("family", LATTICES)
def test_operations_keep_the_sites(family):
    frame = lattice_template(family, 3.0, 6.0)
    tree = cKDTree(frame.sites)
    assert len(frame.operations) == {"fcc": 48, "sc": 48, "bcc": 48, "icosahedron": 120, "decahedron": 20}.get(
        family, 12
    )
    for operation in frame.operations:
        np.testing.assert_allclose(operation @ operation.T, np.eye(3), atol=1e-9)
        assert tree.query(frame.sites @ operation.T)[0].max() < 1e-6


@pytest.mark.parametrize("family", LATTICES)
def test_facets_that_symmetry_makes_alike(family):
    """An operation takes a plane to one of the same kind, and levels go out along the normal."""
    frame = lattice_template(family, 3.0, 6.0)
    np.testing.assert_allclose(np.linalg.norm(frame.normals, axis=1), 1.0, atol=1e-9)
    flat = frame.kinds < (frame.kinds.max() if family == "decahedron" else np.iinfo(np.int32).max)
    normals, kinds = frame.normals[flat], frame.kinds[flat]
    tree = cKDTree(normals)
    for operation in frame.operations:
        gap, index = tree.query(normals @ operation.T)
        assert gap.max() < 1e-6
        np.testing.assert_array_equal(kinds[index], kinds)


@pytest.mark.parametrize("family", CRYSTALS)
def test_shells_are_those_of_the_ideal_structure(family):
    """The cluster templates measure every pair; here they follow from the squares alone."""
    expected, _ = template(family).distance_classes
    reach = 5.0
    found = shell_distances(family, reach)
    expected = expected[(expected > 0.0) & (expected <= reach)]
    np.testing.assert_allclose(found[found <= reach], expected, atol=1e-6)
    np.testing.assert_array_equal(found, np.sort(found))
    assert np.all(np.abs(WHOLE[family] * found**2 - np.rint(WHOLE[family] * found**2)) < 1e-6)


@pytest.mark.parametrize("family", ["decahedron", "icosahedron"])
def test_shells_of_twinned_particles(family):
    """Every pair of the cluster template has a shell, and every shell a pair that close."""
    expected, _ = template(family).distance_classes
    reach = 4.0
    found = lattice_template(family, 5.3, reach).distance
    expected = expected[(expected > 0.0) & (expected <= reach)]
    gap = np.abs(expected[:, None] - found).min(axis=1)
    assert gap.max() < tolerance(family)


def test_shells_of_twins_hold_those_of_both_stackings():
    found = shell_distances("twin", 6.0)
    for family in ("fcc", "hcp"):
        squares = shell_distances(family, 6.0) ** 2
        assert np.abs(squares[:, None] - found**2).min(axis=1).max() < 1e-6


@pytest.mark.parametrize("family", LATTICES)
def test_every_pair_is_in_the_class_of_its_distance(family):
    frame = lattice_template(family, 5.0, 8.0)
    random = np.random.default_rng(3)
    checked = 0
    for a, b in random.integers(0, len(frame), (4000, 2)).tolist():
        if a == b:
            continue
        counts = frame.core.shell_counts(np.array([a, b], dtype=np.int32))
        distance = float(np.linalg.norm(frame.sites[a] - frame.sites[b]))
        if counts.sum() == 0:
            assert distance > frame.distance.max() + 1e-6, "longer pairs have no class"
            continue
        assert counts.sum() == 1
        assert frame.distance[np.argmax(counts)] == pytest.approx(distance, abs=tolerance(family))
        checked += 1
    assert checked > 1000


@pytest.mark.parametrize("family", LATTICES)
def test_counts_are_the_distances_of_all_pairs(family):
    frame = lattice_template(family, 4.0, 9.0)
    random = np.random.default_rng(5)
    sites = np.sort(random.choice(np.flatnonzero(np.linalg.norm(frame.sites, axis=1) < 3.0), 70, replace=False))
    counts = frame.core.shell_counts(sites.astype(np.int32))
    assert counts.sum() == 70 * 69 // 2
    found = np.sort(np.repeat(frame.distance, counts))
    np.testing.assert_allclose(found, np.sort(pdist(frame.sites[sites])), atol=tolerance(family))


def test_mackay_icosahedra_lie_on_the_template():
    """The edges are the longer, by 5 % of the bond from the centre to a vertex."""
    for shells, atoms in ((2, 13), (3, 55), (4, 147)):
        cluster = Icosahedron("Pt", shells).positions
        cluster = cluster - cluster.mean(axis=0)
        frame = lattice_template("icosahedron", 4.0, 8.0)
        radial = np.sort(np.linalg.norm(cluster, axis=1))[1]
        goal = frame.sites[:13]
        cluster = cluster / radial * np.linalg.norm(goal[1])
        sites = place("icosahedron", axes(cluster, frame.sites))
        assert sites is not None
        assert len(set(sites.tolist())) == atoms
        assert frame.core.shell_counts(sites).sum() == atoms * (atoms - 1) // 2


@pytest.mark.parametrize(("p", "q", "r"), [(3, 3, 0), (2, 3, 1), (3, 2, 1), (2, 2, 2)])
def test_decahedra_of_marks_lie_on_the_template(p, q, r):
    """With (r > 0) and without notches; five tetrahedra that fill the circle are strained by ASE in their own way."""
    cluster = Decahedron("Pt", p, q, r).positions
    frame = lattice_template("decahedron", 4.5, 9.0)
    cluster = cluster - cluster.mean(axis=0)
    bond = np.sort(pdist(cluster))[0]
    cluster = cluster / bond
    # An atom of the axis comes to the origin; both turn about z.
    on_axis = np.hypot(cluster[:, 0], cluster[:, 1]) < 1e-3
    cluster = cluster - cluster[on_axis][np.argmin(np.abs(cluster[on_axis][:, 2]))]
    counts = np.bincount(np.rint(np.sort(pdist(cluster))[:20]).astype(int))
    assert counts[1] == 20
    height = np.diff(np.unique(np.round(cluster[on_axis][:, 2], 6)))
    flat = np.linalg.norm(frame.sites[np.abs(frame.sites[:, 2]) < 1e-6], axis=1)
    own = np.linalg.norm(cluster[np.abs(cluster[:, 2]) < 1e-6], axis=1)
    # ASE's and ours agree up to the homogeneous strain that closes the gap.
    stretch = np.array([1.0, 1.0, 1.0 / height[0]])
    stretch[:2] = np.unique(np.round(flat, 6))[1] / np.unique(np.round(own, 6))[1]
    cluster = cluster * stretch
    best = None
    for turn in np.deg2rad(np.arange(0.0, 360.0, 6.0)):
        rotation = np.array([[np.cos(turn), -np.sin(turn), 0.0], [np.sin(turn), np.cos(turn), 0.0], [0.0, 0.0, 1.0]])
        best = place("decahedron", cluster @ rotation)
        if best is not None:
            break
    assert best is not None
    assert len(set(best.tolist())) == len(cluster)


def test_octahedra_lie_on_fcc():
    """Truncated as Pt79 and whole; a cubo-octahedron too."""
    for surfaces, layers in ((((1, 0, 0), (1, 1, 1)), (2, 2)), (((1, 0, 0), (1, 1, 1)), (3, 2))):
        cluster = FaceCenteredCubic("Pt", surfaces, layers, latticeconstant=np.sqrt(2.0)).positions
        cluster = cluster - cluster[np.argmin(np.linalg.norm(cluster - cluster.mean(axis=0), axis=1))]
        sites = place("fcc", cluster)
        assert sites is not None
        frame = lattice_template("fcc", 4.5, 10.0)
        counts = frame.core.shell_counts(sites)
        np.testing.assert_allclose(np.sort(np.repeat(frame.distance, counts)), np.sort(pdist(cluster)), atol=1e-6)


def test_a_twin_is_fcc_and_its_mirror_image():
    """Half of the sites on either side of the plane lie on an fcc lattice, and those of both sides do not."""
    frame = lattice_template("twin", 4.0, 8.0)
    np.testing.assert_allclose(np.sort(frame.sites[:, 2]), np.sort(-frame.sites[:, 2]), atol=1e-9)
    inside = np.linalg.norm(frame.sites, axis=1) < 3.0
    squares = np.rint(3.0 * shell_distances("fcc", 8.0) ** 2)

    def on_fcc(part: np.ndarray) -> bool:
        return bool(np.isin(np.rint(3.0 * pdist(frame.sites[part]) ** 2), squares).all())

    above, below = inside & (frame.sites[:, 2] > -1e-6), inside & (frame.sites[:, 2] < 1e-6)
    assert on_fcc(above)
    assert on_fcc(below)
    assert not on_fcc(inside)
    # Sites in the plane have the stacking of hcp: three neighbours above lie over the three below.
    centre = np.flatnonzero(np.abs(frame.sites[frame.neighbours[0]][:, 2]) > 0.1)
    around = frame.sites[frame.neighbours[0]][centre]
    assert len(around) == 6
    np.testing.assert_allclose(cKDTree(around).query(around * [1.0, 1.0, -1.0])[0], 0.0, atol=1e-9)


def test_templates_are_shared_and_grow_in_steps():
    assert lattice_template("fcc", 4.0, 6.0) is lattice_template("fcc", 3.99, 6.0)
    small, large = lattice_template("fcc", 3.0, 6.0), lattice_template("fcc", 5.0, 6.0)
    assert len(large) > len(small)
    np.testing.assert_allclose(large.sites[:19], small.sites[:19], atol=1e-9)


def test_an_unknown_family():
    with pytest.raises(ConfigError, match="unknown lattice family 'fcx'; known: fcc, hcp"):
        lattice_template("fcx", 3.0, 6.0)


@pytest.mark.parametrize("family", LATTICES)
def test_bonds_that_compact_particles_miss(family):
    """What is called usual is what the most compact of many bodies of facets have."""
    frame = lattice_template(family, 5.0, 8.0)
    rng = np.random.default_rng(4)
    heights = frame.sites @ frame.normals.T
    n_kinds = int(frame.kinds.max()) + 1
    least = np.inf
    for _ in range(600):
        distance = rng.uniform(0.75, 1.4, n_kinds)[frame.kinds]
        centre = frame.centres[rng.integers(len(frame.centres))]
        gauge = ((heights - frame.normals @ centre) / distance).max(axis=1)
        inside = gauge <= np.sort(gauge)[rng.integers(100, 350)] + 1e-6
        if np.linalg.norm(frame.sites[inside], axis=1).max() > frame.radius:
            continue
        atoms = int(inside.sum())
        bonds = int(np.append(inside, False)[frame.neighbours[inside]].sum())
        least = min(least, (frame.coordination * atoms - bonds) / atoms ** (2.0 / 3.0))
    assert least == pytest.approx(frame.usual_missing, rel=0.02)


def test_the_many_distances_of_a_large_decahedron_are_told_apart_less_finely():
    frame = lattice_template("decahedron", 11.0, 14.0)
    assert len(lattice_template("decahedron", 6.0, 14.0).distance) < len(frame.distance) < 2**16
    rng = np.random.default_rng(3)
    sites = np.sort(rng.choice(np.flatnonzero(np.linalg.norm(frame.sites, axis=1) < 10.0), 600, replace=False))
    told = np.sort(np.repeat(frame.distance, frame.core.shell_counts(sites.astype(np.int32))))
    true = np.sort(pdist(frame.sites[sites]))
    true = true[: len(told)]
    assert true[-1] == pytest.approx(frame.distance.max(), abs=0.01)
    # A cell of 1/100 in squared distance is that wide at one bond length, where distances are few.
    assert np.abs(told - true).max() < 5e-3
    assert np.sqrt(np.mean((told - true) ** 2)) < 4e-4


def test_a_template_with_too_many_distances_is_refused(monkeypatch):
    monkeypatch.setattr("hpcpdf.lattice.template._COARSER", (1.0,))
    with pytest.raises(TemplateTooLargeError, match="decahedron particles up to 24 bond lengths"):
        lattice_template("decahedron", 11.8, 24.0)


def test_what_cannot_be_searched_is_told(monkeypatch):
    frame = lattice_template("fcc", 4.0, 12.0)
    r = np.arange(1.5, 20.0, 0.1)
    data = PdfData(r, np.zeros_like(r), PdfParams(rmin=1.5, rmax=20.0, rstep=0.1, qmin=0.8, qmax=25.0), 0.03)
    counts = frame.core.shell_counts(np.arange(55, dtype=np.int32))
    g = counts @ data.columns(frame.distance * 2.77, 0.006, 0.0, data.padded(data.envelope(0.03)))
    data = replace(data, g=g[: len(r)])
    fits = [fit_family(data, family) for family in ("decahedron", "fcc")]

    def make(family, radius, reach):
        if family == "decahedron":
            raise TemplateTooLargeError("decahedron particles have too many distances")
        return lattice_template(family, radius, reach)

    monkeypatch.setattr("hpcpdf.lattice.search.lattice_template", make)
    said = []
    searches = explore(data, fits, "quick", seed=0, n_threads=1, tell=lambda text: None, note=said.append)
    assert [search.family for search in searches] == ["fcc"]
    assert said == ["not searched: decahedron particles have too many distances"]
