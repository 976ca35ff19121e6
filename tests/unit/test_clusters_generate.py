"""Elements, the reference grid, the published data set, and clusters by sample."""

import numpy as np
import pytest
from ase.cluster import FaceCenteredCubic
from ase.data import atomic_numbers, reference_states

from hpcpdf import ConfigError
from hpcpdf.clusters.canonical import canonical_form, distance_list, shape_key
from hpcpdf.clusters.cluster import Cluster, unique
from hpcpdf.clusters.elements import METALS, metallic_radius
from hpcpdf.clusters.generate import make_cluster
from hpcpdf.clusters.reference import PAPER_SIZE, paper_clusters, reference_shapes
from hpcpdf.config import FAMILIES, ClustersSection

SIZES = [13, 19, 43, 55, 63, 79, 85, 87, 93]


def _bulk_radii(symbol):
    """Half the distances of the nearest neighbours in the element, corrected from bcc to twelve of them."""
    state = reference_states[atomic_numbers[symbol]]
    if state["symmetry"] == "fcc":
        return [state["a"] / np.sqrt(8.0)]
    if state["symmetry"] == "hcp":
        a, c = state["a"], state["a"] * state["c/a"]
        return [a / 2.0, np.sqrt(a * a / 3.0 + c * c / 4.0) / 2.0]
    if state["symmetry"] == "bcc":
        return [state["a"] * np.sqrt(3.0) / 4.0 / 0.97]
    return []


def test_metals_and_radii():
    assert len(METALS) == len(set(METALS)) == 28
    compared = [symbol for symbol in METALS if _bulk_radii(symbol)]
    assert len(compared) >= 25
    for symbol in compared:
        radii = _bulk_radii(symbol)
        assert 0.97 * min(radii) <= metallic_radius(symbol) <= 1.03 * max(radii), symbol


@pytest.mark.parametrize(("symbol", "hint"), [("au", "did you mean Au"), ("Xx", "Pt"), ("O", "known"), ("", "known")])
def test_element_without_radius(symbol, hint):
    with pytest.raises(ConfigError, match=hint) as caught:
        metallic_radius(symbol)
    assert "\n" not in str(caught.value)


def test_reference_grid_has_nine_shapes():
    assert [shape.n_atoms for shape in reference_shapes()] == SIZES
    assert len({shape.key for shape in reference_shapes()}) == 9


@pytest.mark.slow
def test_reference_shapes_are_all_of_the_grid():
    keys = set()
    for h in range(1, 9):
        for k in range(1, 8):
            for m in range(1, 8):
                atoms = FaceCenteredCubic("Au", [(1, 0, 0), (1, 1, 0), (1, 1, 1)], (h, k, m), latticeconstant=4.08)
                if 5 <= len(atoms) <= 100:
                    keys.add(shape_key(atoms.positions))
    assert keys == {shape.key for shape in reference_shapes()}


def test_paper_clusters():
    clusters = paper_clusters(3)
    assert len(clusters) == PAPER_SIZE == 3137
    assert len({(c.shape.key, round(c.nn, 4)) for c in clusters}) == 3137
    assert len(unique(clusters)) == 3137
    assert {c.element for c in clusters} == set(METALS)
    assert sorted({c.n_atoms for c in clusters}) == SIZES
    for cluster in clusters:
        assert 0.99 <= cluster.nn / (2.0 * metallic_radius(cluster.element)) <= 1.01
    again, other = paper_clusters(3), paper_clusters(4)
    assert clusters == again
    assert clusters != other


@pytest.mark.parametrize("family", FAMILIES)
def test_cluster_in_angstrom(family):
    section = ClustersSection(families=(family,), elements=("Pt", "Au"), nn_spread=0.02)
    cluster = make_cluster(section, seed=1, sample_id=5)
    assert cluster.family == family
    assert cluster.atoms.get_chemical_formula() == f"{cluster.element}{cluster.n_atoms}"
    np.testing.assert_array_equal(cluster.atoms.positions, cluster.positions)
    assert distance_list(cluster.positions)[0] == pytest.approx(cluster.nn, rel=1e-9)
    assert abs(cluster.nn / (2.0 * metallic_radius(cluster.element)) - 1.0) <= 0.02
    form, _ = canonical_form(cluster.positions)
    assert shape_key(form) == cluster.shape.key


def test_samples_take_turns_and_depend_on_seed_and_number_alone():
    section = ClustersSection(min_atoms=10, max_atoms=60)
    clusters = [make_cluster(section, 7, k) for k in range(21)]
    assert [c.family for c in clusters] == list(FAMILIES) * 3
    assert make_cluster(section, 7, 13) == clusters[13]
    assert make_cluster(section, 8, 13) != clusters[13]
    assert all(10 <= c.n_atoms <= 60 for c in clusters)


def test_unknown_element_in_the_configuration():
    with pytest.raises(ConfigError, match="Uuo"):
        make_cluster(ClustersSection(elements=("Uuo",)), 0, 0)


def test_unique_keeps_the_first_of_each_distance_list():
    small, large = reference_shapes()[0], reference_shapes()[3]
    first = Cluster(small, "Ag", 2.88)
    clusters = [first, Cluster(large, "Ag", 2.88), Cluster(small, "Au", 2.88), Cluster(small, "Ag", 2.89), first]
    assert unique(clusters) == [clusters[0], clusters[1], clusters[3]]
