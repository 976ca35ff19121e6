"""Derivatives of R_w^2 and G against central differences."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from ase import Atoms

from hpcpdf import ConfigError, PdfParams, simulate_pdf
from hpcpdf.pdf.gradient import pdf_vjp, rw2_gradient

PARAMS = [
    PdfParams(rstep=0.01, rmax=15.0),
    PdfParams(delta2=2.0, qbroad=0.01, biso=0.5),
    PdfParams(rmin=2.0, rstep=0.05, delta1=0.3, scale=0.4),
    PdfParams(qmin=0.0, qdamp=0.0, qmax=20.0),
]


def cluster(rng: np.random.Generator, n: int) -> np.ndarray:
    grid = 2.8 * np.stack(np.meshgrid(*[np.arange(4)] * 3), axis=-1).reshape(-1, 3)[:n]
    return grid + rng.normal(scale=0.1, size=grid.shape)


def slope(function: Any, step: float) -> float:
    """Central difference of fourth order."""
    one, two = (function(step) - function(-step), function(2.0 * step) - function(-2.0 * step))
    return float((8.0 * one - two) / (12.0 * step))


@pytest.mark.parametrize("seed", range(100))
def test_rw2_of_random_clusters(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n, params = int(rng.integers(5, 60)), PARAMS[seed % len(PARAMS)]
    x, direction = cluster(rng, n), rng.normal(size=(n, 3))
    symbols = rng.choice(["Pt", "O"], n) if seed % 3 == 0 else None

    def structure(positions: np.ndarray) -> Any:
        return positions if symbols is None else Atoms(symbols, positions)

    observed = simulate_pdf(structure(cluster(rng, n)), params)[1]

    def rw2(positions: np.ndarray, params: PdfParams = params, zoom: float = 1.0) -> float:
        return float(rw2_gradient([structure(positions)], params, observed, zoom=zoom, n_threads=1).rw2[0])

    found = rw2_gradient([structure(x)], params, observed, zoom=1.01, n_threads=1)
    assert found.rw2[0] == pytest.approx(((observed - found.g[0]) ** 2).sum() / (observed**2).sum(), rel=1e-12)
    expected = slope(lambda t: rw2(x + t * direction, zoom=1.01), 2e-5)
    size = np.linalg.norm(found.positions[0]) * np.linalg.norm(direction)
    assert (found.positions[0] * direction).sum() == pytest.approx(expected, abs=1e-6 * size)
    slopes = {"zoom": slope(lambda t: rw2(x, zoom=1.01 + t), 1e-5)}
    names = ["scale", "biso", *(["qdamp"] if params.qdamp else []), *(["delta2"] if params.delta2 else [])]
    for name in names:
        at = getattr(params, name)
        # Small enough a step that the Q grid, which follows the widest peak, does not jump.
        slopes[name] = slope(lambda t, name=name, at=at: rw2(x, replace(params, **{name: at + t}), 1.01), 1e-5)
    for name, value in slopes.items():
        assert getattr(found, name)[0] == pytest.approx(value, rel=1e-6, abs=1e-6), name


def test_g_of_the_gradient_is_that_of_the_simulation() -> None:
    rng = np.random.default_rng(0)
    structures = [cluster(rng, n) for n in (40, 13, 25)]
    r, g = simulate_pdf(structures, PARAMS[1])
    found = pdf_vjp(structures, PARAMS[1], g)
    np.testing.assert_array_equal(found.r, r)
    np.testing.assert_allclose(found.g, g, rtol=0.0, atol=1e-12 * np.abs(g).max())


def test_each_point_of_g() -> None:
    """A unit vector upstream gives the derivatives of one point."""
    rng = np.random.default_rng(1)
    x, params = cluster(rng, 20), PARAMS[1]
    _, g = simulate_pdf(x, params)
    for point in (25, 60, 140):
        found = pdf_vjp([x], params, np.eye(len(g))[point])
        move = np.zeros_like(x)
        move[4, 1] = 1.0
        expected = slope(lambda t, i=point, move=move: simulate_pdf(x + t * move, params)[1][i], 1e-4)
        assert found.positions[0][4, 1] == pytest.approx(expected, abs=1e-6 * np.abs(found.positions[0]).max())


def test_batches_and_threads_do_not_change_the_result() -> None:
    rng = np.random.default_rng(2)
    structures = [cluster(rng, int(n)) for n in rng.integers(2, 60, 40)]
    observed = simulate_pdf(cluster(rng, 30), PARAMS[1])[1]
    one, three = (rw2_gradient(structures, PARAMS[1], observed, n_threads=n) for n in (1, 3))
    alone = rw2_gradient(structures[17:18], PARAMS[1], observed)
    for mine, theirs in ((one.positions, three.positions), (one.positions[17:18], alone.positions)):
        for a, b in zip(mine, theirs, strict=True):
            np.testing.assert_array_equal(a, b)
    for name in ("rw2", "zoom", "biso", "scale", "qdamp", "delta2", "g"):
        np.testing.assert_array_equal(getattr(one, name), getattr(three, name))
        np.testing.assert_array_equal(getattr(one, name)[17], getattr(alone, name)[0])


def test_refuses_what_it_cannot_do() -> None:
    rng = np.random.default_rng(3)
    x, params = cluster(rng, 10), PdfParams()
    g = simulate_pdf(x, params)[1]
    own = Atoms("Pt10", x)
    own.set_array("biso", np.linspace(0.1, 0.5, 10))
    with pytest.raises(ConfigError, match="biso"):
        rw2_gradient([own], params, g)
    with pytest.raises(ConfigError, match="list"):
        rw2_gradient(x, params, g)
    with pytest.raises(ConfigError, match="shape"):
        rw2_gradient([x], params, g[1:])
    with pytest.raises(ConfigError, match="zero"):
        rw2_gradient([x], params, 0.0 * g)
    with pytest.raises(ConfigError, match="zoom"):
        rw2_gradient([x], params, g, zoom=0.0)
    with pytest.raises(ConfigError, match="closer"):
        rw2_gradient([0.4 * x], PdfParams(delta2=4.0), g)
    with pytest.raises(ConfigError, match="precision"):
        rw2_gradient([Atoms("H10", x)], params, g)
    with pytest.raises(ConfigError, match="all bare"):
        rw2_gradient([x, Atoms("Pt10", x)], params, g)
    assert rw2_gradient([], params, g).rw2.shape == (0,)
