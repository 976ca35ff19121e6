"""Site templates: symmetry, lengths, agreement with ASE's own builders."""

import numpy as np
import pytest
from ase.cluster import (
    BodyCenteredCubic,
    Decahedron,
    FaceCenteredCubic,
    HexagonalClosedPacked,
    Icosahedron,
    Octahedron,
    SimpleCubic,
)
from scipy.spatial.distance import pdist

from hpcpdf import ConfigError, DataError
from hpcpdf.clusters.template import canonical_sites, make_shape, template
from hpcpdf.config import FAMILIES

ORDER = {"fcc": 48, "sc": 48, "bcc": 48, "octahedron": 48, "hcp": 12, "decahedron": 20, "icosahedron": 120}
CUBIC = [(1, 0, 0), (1, 1, 0), (1, 1, 1)]
CUBE_FACES = [(1, 0, 0), (-1, 0, 0), (0, 1, 0), (0, -1, 0), (0, 0, 1), (0, 0, -1)]


@pytest.mark.parametrize("family", FAMILIES)
def test_point_group(family):
    frame = template(family)
    operations = frame.operations
    assert len(operations) == ORDER[family]
    np.testing.assert_allclose(operations[0], np.eye(3), atol=1e-15)
    np.testing.assert_allclose(
        operations @ operations.transpose(0, 2, 1), np.broadcast_to(np.eye(3), operations.shape), atol=1e-12
    )
    product = np.einsum("aij,bjk->abik", operations, operations).reshape(-1, 9)
    gap = np.abs(product[:, None, :] - operations.reshape(1, -1, 9)).max(axis=2).min(axis=1)
    assert gap.max() < 1e-12
    assert len(np.unique(frame.images, axis=0)) == len(operations)
    assert (np.sort(frame.images, axis=1) == np.arange(len(frame))).all()


@pytest.mark.parametrize("family", FAMILIES)
def test_sites_are_ordered_and_spaced_by_one(family):
    frame = template(family)
    radius = np.linalg.norm(frame.sites, axis=1)
    assert radius[0] == 0.0
    assert (np.diff(radius) > -1e-6).all()
    assert pdist(frame.sites).min() == pytest.approx(1.0, abs=1e-9)
    assert 300 <= len(frame) <= 900
    for centre in frame.centres[:40]:
        near = np.flatnonzero(np.linalg.norm(frame.sites - frame.sites[centre], axis=1) < 1.6)
        seen = frame.recentre(near, int(centre))
        if seen is not None:
            moved = (frame.sites[near] - frame.sites[centre]) * (-1.0 if frame.flips(int(centre)) else 1.0)
            np.testing.assert_allclose(frame.sites[seen], moved, atol=1e-9)


def _builder_cases():
    a = np.sqrt(2.0)
    unequal = [2, 1, 3, 2, 1, 2]
    yield "fcc", FaceCenteredCubic("Au", CUBIC, [3, 4, 3], latticeconstant=a)
    yield "fcc", FaceCenteredCubic("Au", CUBE_FACES, unequal, latticeconstant=a)
    yield "sc", SimpleCubic("Po", CUBIC, [2, 3, 4], latticeconstant=1.0)
    yield "sc", SimpleCubic("Po", CUBE_FACES, unequal, latticeconstant=1.0)
    yield "bcc", BodyCenteredCubic("Fe", CUBIC, [3, 3, 4], latticeconstant=2.0 / np.sqrt(3.0))
    yield "bcc", BodyCenteredCubic("Fe", CUBE_FACES, unequal, latticeconstant=2.0 / np.sqrt(3.0))
    hexagonal = {"a": 1.0, "c": np.sqrt(8.0 / 3.0)}
    surfaces = [(0, 0, 0, 1), (1, 0, -1, 0), (1, 0, -1, 1)]
    yield "hcp", HexagonalClosedPacked("Co", surfaces, [4, 2, 3], latticeconstant=hexagonal)
    yield "hcp", HexagonalClosedPacked("Co", surfaces[:2], [3, 3], latticeconstant=hexagonal)
    for length, cutoff in [(2, 0), (4, 0), (5, 1), (5, 2), (6, 2), (7, 3)]:
        yield "octahedron", Octahedron("Au", length, cutoff, latticeconstant=a)
    for p, q, r in [(2, 2, 0), (3, 1, 0), (1, 5, 0), (2, 2, 1), (3, 2, 1), (4, 1, 0), (2, 3, 1)]:
        yield "decahedron", Decahedron("Au", p, q, r, latticeconstant=a)
    for shells in (2, 3, 4, 5):
        yield "icosahedron", Icosahedron("Au", shells, latticeconstant=a)


@pytest.mark.parametrize(("family", "atoms"), list(_builder_cases()), ids=lambda value: str(value))
def test_template_holds_the_builders_cluster(family, atoms):
    frame = template(family)
    positions = atoms.positions - atoms.positions.mean(axis=0)
    sites = _place(frame, positions)
    np.testing.assert_allclose(np.sort(pdist(frame.sites[sites])), np.sort(pdist(positions)), atol=1e-8)
    shape = make_shape(family, canonical_sites(family, sites))
    np.testing.assert_allclose(np.sort(pdist(shape.positions)), np.sort(pdist(positions)), atol=1e-8)


def _place(frame, positions):
    """Template sites under a cluster, tried from every site of the cluster as the origin, in a few orientations."""
    quarter = np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    third = np.array([[-0.5, -np.sqrt(0.75), 0.0], [np.sqrt(0.75), -0.5, 0.0], [0.0, 0.0, 1.0]])
    swap = np.array([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    for turn in (np.eye(3), quarter, swap, quarter @ third, -np.eye(3), np.roll(np.eye(3), 1, axis=0)):
        for origin in positions[np.argsort(np.linalg.norm(positions, axis=1))][:12]:
            moved = (positions - origin) @ turn.T
            gap = np.linalg.norm(moved[:, None, :] - frame.sites[None, :, :], axis=2)
            if gap.min(axis=1).max() < 1e-6:
                return gap.argmin(axis=1)
    raise AssertionError(f"{frame.family}: the template does not hold this cluster of {len(positions)} atoms")


def test_unknown_family_and_bad_sites():
    with pytest.raises(ConfigError, match="cube"):
        template("cube")
    for sites in ([], [-1, 3], [10_000]):
        with pytest.raises(DataError, match="fcc"):
            canonical_sites("fcc", sites)
