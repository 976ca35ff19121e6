"""IncrementalPdf: after any changes what simulate_pdf gives for the same structure, and exact undoing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.cluster import Octahedron

from hpcpdf import ConfigError, PdfParams, simulate_pdf
from hpcpdf.pdf.incremental import IncrementalPdf

KINDS = ["bare", "Pt", "AuCu"]


def start_of(kind: str, rng: np.random.Generator, n: int = 20) -> np.ndarray | Atoms:
    positions = rng.uniform(0.0, 9.0, (n, 3))
    if kind == "bare":
        return positions
    atoms = Atoms([("Pt" if kind == "Pt" else "Au" if i % 2 else "Cu") for i in range(n)], positions)
    if kind == "AuCu":
        # The first atom, which stays, has the largest: the Q grid follows from it.
        atoms.arrays["biso"] = np.concatenate([[0.9], rng.uniform(0.1, 0.8, n - 1)])
    return atoms


def change(pdf: IncrementalPdf, rng: np.random.Generator, kind: str) -> None:
    what, point = rng.integers(3), rng.uniform(0.0, 9.0, 3)
    if what == 0:
        symbol, biso = (str(rng.choice(["Au", "Cu", "O"])), rng.uniform(0.1, 0.8)) if kind == "AuCu" else (None, None)
        pdf.add(point, symbol, biso)
    elif what == 1 and len(pdf) > 2:
        pdf.remove(int(rng.integers(1, len(pdf))))
    else:
        pdf.move(int(rng.integers(len(pdf))), point)


def anew(pdf: IncrementalPdf, kind: str) -> np.ndarray:
    return simulate_pdf(pdf.positions if kind == "bare" else pdf.atoms, pdf.params, accuracy="direct", n_threads=1)[1]


def distance(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.abs(a - b).max() / np.abs(b).max())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"radiation": "neutron", "delta1": 0.3, "qbroad": 0.02},
        {"delta2": 4.0, "rmin": 5.0, "rmax": 7.0, "qmax": 20.0, "maxextension": 1.5},  # pairs at both ends left out
        {"precision": 0.3, "qmin": 0.0, "scale": -2.0},
    ],
)
def test_any_changes_give_the_pdf_of_the_structure(kind: str, changes: dict[str, Any]) -> None:
    rng = np.random.default_rng(1)
    pdf = IncrementalPdf(start_of(kind, rng), PdfParams(**changes))
    for _ in range(60):
        change(pdf, rng, kind)
        assert distance(pdf.g, anew(pdf, kind)) <= 1e-11


@pytest.mark.parametrize("kind", KINDS)
def test_rounding_after_ten_thousand_moves(kind: str) -> None:
    rng = np.random.default_rng(2)
    pdf = IncrementalPdf(start_of(kind, rng, 13), PdfParams(rmax=12.0))
    for _ in range(10_000):
        pdf.move(int(rng.integers(13)), rng.uniform(0.0, 9.0, 3))
    assert distance(pdf.g, anew(pdf, kind)) <= 1e-11


def test_lattices_keep_their_merged_distances_apart_from_rounding() -> None:
    lattice = np.array(Octahedron("Pt", 5).positions)
    rng = np.random.default_rng(3)
    pdf = IncrementalPdf(lattice, PdfParams())
    for i in rng.permutation(len(lattice)):
        pdf.move(int(i), lattice[i] + [0.0, 0.0, 0.3])
    assert distance(pdf.g, simulate_pdf(lattice, PdfParams(), accuracy="direct")[1]) <= 1e-11


@pytest.mark.parametrize("kind", KINDS)
def test_going_back_is_exact_over_any_number_of_changes(kind: str) -> None:
    rng = np.random.default_rng(4)
    pdf = IncrementalPdf(start_of(kind, rng), PdfParams())
    before, g, positions = pdf.state, pdf.g.copy(), pdf.positions.copy()
    for _ in range(10):
        change(pdf, rng, kind)
    assert not np.array_equal(pdf.g, g)
    pdf.state = before
    np.testing.assert_array_equal(pdf.g, g)
    np.testing.assert_array_equal(pdf.positions, positions)
    if kind != "bare":
        assert len(pdf.atoms) == 20


def test_refresh_removes_the_rounding_of_lost_atoms() -> None:
    lattice = np.array(Octahedron("Pt", 7).positions)
    pdf = IncrementalPdf(lattice + np.random.default_rng(5).normal(scale=0.02, size=lattice.shape), PdfParams())
    while len(pdf) > 3:
        pdf.remove(len(pdf) - 1)
    assert distance(pdf.g, anew(pdf, "bare")) <= 1e-9
    pdf.refresh()
    assert distance(pdf.g, anew(pdf, "bare")) <= 1e-14


@pytest.mark.parametrize("empty", [np.zeros((0, 3)), Atoms()], ids=["bare", "atoms"])
def test_from_nothing_and_back(empty: Any) -> None:
    pdf = IncrementalPdf(empty, PdfParams())
    assert not pdf.g.any()
    for point in np.random.default_rng(6).uniform(0.0, 6.0, (4, 3)):
        pdf.add(point, "Au" if isinstance(empty, Atoms) else None)
    expected = simulate_pdf(pdf.positions, PdfParams(), accuracy="direct")[1]
    assert distance(pdf.g, expected) <= (1e-6 if isinstance(empty, Atoms) else 1e-13)  # truncation by f^2
    for _ in range(4):
        assert pdf.g.any() == (len(pdf) > 1)
        pdf.remove(0)
    assert len(pdf) == 0
    assert not pdf.g.any()


def test_the_grid_stays_when_a_wider_atom_comes() -> None:
    atoms = Atoms("Au2", [[0.0, 0.0, 0.0], [0.0, 0.0, 2.9]])
    pdf = IncrementalPdf(atoms, PdfParams())
    grid = pdf.grid
    pdf.add([0.0, 2.5, 1.4], biso=3.0)
    assert pdf.grid == grid
    # Both grids are fine enough for the same curve.
    near = pdf.r < 8.0
    assert np.abs(pdf.g - anew(pdf, "Au"))[near].max() <= 0.1 * np.abs(pdf.g).max()


def test_what_is_given_is_neither_changed_nor_kept() -> None:
    positions = np.random.default_rng(7).uniform(0.0, 6.0, (5, 3))
    pdf = IncrementalPdf(positions, PdfParams())
    g = pdf.g.copy()
    positions += 1.0
    positions[0] += 1.0
    pdf.refresh()
    np.testing.assert_array_equal(pdf.g, g)
    for array in (pdf.positions, pdf.g):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1.0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda pdf: pdf.move(5, [0, 0, 0]), "index = 5: expected 0 to 3"),
        (lambda pdf: pdf.remove(-1), "index = -1"),
        (lambda pdf: pdf.move(0, [0, 0]), "position"),
        (lambda pdf: pdf.add([0, 0, np.nan], "Au"), "position"),
        (lambda pdf: pdf.add([0, 0, 9]), "symbol: .*'Au', 'Cu'"),
        (lambda pdf: pdf.add([0, 0, 9], "X"), "'X'"),
        (lambda pdf: pdf.add([0, 0, 9], "Au", biso=-1.0), "biso = -1"),
        (lambda pdf: IncrementalPdf([pdf.atoms], PdfParams()), "expected one"),
        (lambda pdf: IncrementalPdf(pdf.positions, PdfParams()).atoms, "bare array"),
        (lambda pdf: IncrementalPdf(pdf.positions, PdfParams()).add([0, 0, 9], "Au"), "bare array"),
    ],
)
def test_refuses(call: Any, message: str) -> None:
    pdf = IncrementalPdf(Atoms("Au2Cu2", 2.5 * np.eye(4, 3)), PdfParams())
    with pytest.raises(ConfigError, match=message):
        call(pdf)
    assert len(pdf) == 4
