"""The node engine against the direct Debye sum, and its derivatives against differences."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from ase.cluster import Decahedron, Icosahedron, Octahedron

from hpcpdf import ConfigError, PdfParams, simulate_pdf
from hpcpdf.pdf.clusters import as_clusters
from hpcpdf.pdf.grids import extended_grid
from hpcpdf.pdf.kernel import NodeKernel, Positions
from hpcpdf.pdf.simulate import debye_f, sine_exact

CLUSTERS = [
    np.array(maker.positions)
    for maker in (Octahedron("Pt", 5, 1), Decahedron("Ag", 3, 2, 1), Icosahedron("Au", 3), Octahedron("Ni", 3))
]


def disordered(seed: int, n: int = 40) -> np.ndarray:
    rng = np.random.default_rng(seed)
    grid = 2.8 * np.stack(np.meshgrid(*[np.arange(4)] * 3), axis=-1).reshape(-1, 3)[:n]
    return grid + rng.normal(scale=0.1, size=grid.shape)


def direct(cluster: np.ndarray, params: PdfParams, r: np.ndarray, grid_of: PdfParams) -> np.ndarray:
    """The direct sum at any r on the Q grid of other parameters."""
    clusters, _ = as_clusters(cluster, params)
    grid = extended_grid(grid_of, grid_of.uiso)
    f = debye_f(clusters, params, grid, n_threads=1)
    return params.scale * np.exp(-0.5 * (params.qdamp * r) ** 2) * sine_exact(f, grid, r, 0.0, 1)[0]


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"qmax": 30.0, "biso": 0.1},
        {"delta1": 0.1, "delta2": 2.0, "qbroad": 0.01},
        {"rmax": 10.0, "rstep": 0.02, "scale": 0.4},
        {"rmin": 5.0, "qmin": 0.0},
    ],
)
def test_matches_direct_sum(changes: dict[str, Any]) -> None:
    params = PdfParams(**changes)
    kernel = NodeKernel(params, max_distance=extended_grid(params, params.uiso).d_max, n_threads=1)
    structures = [*CLUSTERS, disordered(1)]
    r, expected = simulate_pdf(structures, params, n_threads=1)
    np.testing.assert_array_equal(kernel.r, r)
    found = kernel.histogram(structures) @ kernel.matrix() / Positions.of(structures).n_atoms[:, None]
    assert np.abs(found - expected).max() <= 1e-6 * np.abs(expected).max()


def test_any_r_and_changed_parameters() -> None:
    params = PdfParams(delta2=1.0)
    r = np.sort(np.random.default_rng(0).uniform(1.0, 25.0, 200))
    kernel = NodeKernel(params, r, n_threads=1)
    cluster = disordered(2)
    changed = replace(params, biso=0.5, qdamp=0.02, delta2=2.5)
    expected = direct(1.03 * cluster, changed, r, params)
    histogram = kernel.histogram([cluster])
    values = {"zoom": 1.03, "biso": 0.5, "qdamp": 0.02, "delta2": 2.5}
    by_matrix = histogram[0] @ kernel.matrix(**values) / len(cluster)
    by_evaluate = kernel.evaluate(histogram, len(cluster), **values).g[0]
    scale = np.abs(expected).max()
    assert np.abs(by_matrix - expected).max() <= 1e-6 * scale
    assert np.abs(by_evaluate - by_matrix).max() <= 1e-12 * scale


@pytest.mark.parametrize(("name", "step"), [("zoom", 1e-5), ("biso", 1e-4), ("qdamp", 1e-5), ("delta2", 1e-4)])
def test_derivatives(name: str, step: float) -> None:
    kernel = NodeKernel(PdfParams(delta1=0.1, qbroad=0.01), n_threads=1)
    cluster = disordered(3)
    histogram = kernel.histogram([cluster, CLUSTERS[0]])
    n_atoms = [len(cluster), len(CLUSTERS[0])]
    at = {"zoom": 0.98, "biso": 0.4, "qdamp": 0.03, "delta2": 1.5}
    found = kernel.evaluate(histogram, n_atoms, **at).derivatives[name]
    high = kernel.evaluate(histogram, n_atoms, **{**at, name: at[name] + step}, derivatives=()).g
    low = kernel.evaluate(histogram, n_atoms, **{**at, name: at[name] - step}, derivatives=()).g
    difference = (high - low) / (2.0 * step)
    assert np.abs(found - difference).max() <= 1e-6 * np.abs(found).max()


def test_histogram_keeps_moments() -> None:
    """Interpolation weights reproduce polynomials: the sum is N (N - 1), the mean distance stays."""
    kernel = NodeKernel(PdfParams(), n_threads=1)
    for cluster in [*CLUSTERS, disordered(4)]:
        histogram = kernel.histogram([cluster])[0]
        n = len(cluster)
        distance = np.linalg.norm(cluster[:, None] - cluster[None], axis=-1)
        for power in range(8):
            expected = (distance[~np.eye(n, dtype=bool)] ** power).sum()
            assert histogram @ kernel.nodes**power == pytest.approx(expected, rel=1e-9)


def test_short_distances_and_the_ends_of_the_range() -> None:
    kernel = NodeKernel(PdfParams(), max_distance=3.0, n_threads=1)
    last = kernel.nodes[-1]
    for distance in (0.001, 0.01, 0.03, 0.05, 2.999, 3.0):
        histogram = kernel.histogram([np.array([[0.0, 0.0, 0.0], [distance, 0.0, 0.0]])])[0]
        assert histogram.sum() == pytest.approx(2.0)
        assert histogram @ kernel.nodes == pytest.approx(2.0 * distance)
    for distance in (0.0, 3.001, last + 1.0):
        assert not kernel.histogram([np.array([[0.0, 0.0, 0.0], [0.0, distance, 0.0]])]).any()


def test_gather_is_the_adjoint_with_its_gradient() -> None:
    kernel = NodeKernel(PdfParams(), n_threads=1)
    clusters = Positions.of([disordered(5), CLUSTERS[3]])
    field = np.stack([np.sin(kernel.nodes), np.exp(-kernel.nodes)])
    energy, gradient = kernel.gather(clusters, field)
    np.testing.assert_allclose(energy, (kernel.histogram(clusters) * field).sum(axis=1), rtol=1e-12)
    step = 1e-5
    for atom, axis in ((0, 0), (7, 1), (39, 2), (45, 0)):
        moved = []
        for sign in (1.0, -1.0):
            positions = clusters.positions.copy()
            positions[atom, axis] += sign * step
            moved.append(kernel.gather(Positions(positions, clusters.offsets), field)[0].sum())
        assert gradient[atom, axis] == pytest.approx((moved[0] - moved[1]) / (2.0 * step), abs=1e-7)
    for b, ends in enumerate(zip(clusters.offsets[:-1], clusters.offsets[1:], strict=True)):
        np.testing.assert_allclose(gradient[slice(*ends)].sum(axis=0), 0.0, atol=1e-10, err_msg=str(b))


def test_gradient_of_a_misfit() -> None:
    """matrix @ dE/dG gathered gives the gradient of E = sum (G - G_obs)^2 / 2."""
    kernel = NodeKernel(PdfParams(rmax=15.0), n_threads=1)
    matrix = kernel.matrix()
    cluster = disordered(6)
    observed = kernel.histogram([disordered(7)])[0] @ matrix / 40

    def misfit(positions: np.ndarray) -> float:
        return float(0.5 * ((kernel.histogram([positions])[0] @ matrix / 40 - observed) ** 2).sum())

    residual = kernel.histogram([cluster])[0] @ matrix / 40 - observed
    _, gradient = kernel.gather([cluster], matrix @ residual / 40)
    step = 1e-5
    for atom, axis in ((3, 0), (20, 2)):
        shift = np.zeros_like(cluster)
        shift[atom, axis] = step
        difference = (misfit(cluster + shift) - misfit(cluster - shift)) / (2.0 * step)
        assert gradient[atom, axis] == pytest.approx(difference, rel=1e-5, abs=1e-9)


def test_threads_do_not_change_the_result() -> None:
    structures = [disordered(seed) for seed in range(9)]
    one, three = (NodeKernel(PdfParams(), n_threads=n) for n in (1, 3))
    np.testing.assert_array_equal(one.histogram(structures), three.histogram(structures))
    np.testing.assert_array_equal(one.matrix(), three.matrix())
    field = np.random.default_rng(0).normal(size=(9, one.n_nodes))
    for mine, other in zip(one.gather(structures, field), three.gather(structures, field), strict=True):
        np.testing.assert_array_equal(mine, other)


def test_refuses_what_it_cannot_do() -> None:
    with pytest.raises(ConfigError, match="raise rmax"):
        NodeKernel(PdfParams(rmax=10.0), [5.0, 40.0])
    kernel = NodeKernel(PdfParams())
    with pytest.raises(ConfigError, match="zoom"):
        kernel.matrix(zoom=0.0)
    with pytest.raises(ConfigError, match="derivatives"):
        kernel.evaluate(np.zeros(kernel.n_nodes), 1, derivatives=["scale"])
