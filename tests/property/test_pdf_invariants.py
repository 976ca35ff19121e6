"""What every engine of simulate_pdf must keep: symmetries, units, additivity, and the sum over pairs itself."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from debye_reference import partial_pdfs, reference_pdf
from hypothesis import given, settings
from hypothesis import strategies as st

from hpcpdf import PdfParams, simulate_pdf
from hpcpdf.pdf.grids import extended_grid
from hpcpdf.pdf.params import B_PER_U


@dataclass(frozen=True)
class Level:
    """Options of simulate_pdf, and how far from the exact equations they may be, of max|G|."""

    tolerance: float
    options: dict[str, Any] = field(default_factory=dict)


LEVELS = {"direct": Level(1e-12, {"accuracy": "direct"}), "fast": Level(1e-6, {"accuracy": "fast"})}
SEEDS = st.integers(0, 2**32 - 1)
SEEDED = settings(max_examples=25, deadline=None, derandomize=True)


@pytest.fixture(params=LEVELS, scope="module")
def level(request: pytest.FixtureRequest) -> Level:
    return LEVELS[request.param]


def pdf(structure: Any, params: PdfParams, level: Level, **options: Any) -> np.ndarray:
    return np.asarray(simulate_pdf(structure, params, n_threads=1, **level.options, **options)[1])


def assert_same(g: np.ndarray, expected: np.ndarray, level: Level, tolerance: float = 1e-12) -> None:
    assert np.abs(g - expected).max() <= max(level.tolerance, tolerance) * np.abs(expected).max()


def cluster(rng: np.random.Generator, symbols: list[str], n: int | None = None) -> Atoms:
    """Atoms about 2.7 Å apart; each has a displacement of its own or, which tables serve, all have the same."""
    n = int(rng.integers(4, 20)) if n is None else n
    grid = 2.7 * np.stack(np.meshgrid(*[np.arange(3)] * 3), axis=-1).reshape(-1, 3)
    positions = grid[rng.choice(27, n, replace=False)] + rng.normal(scale=0.15, size=(n, 3))
    atoms = Atoms([*symbols, *rng.choice(symbols, n - len(symbols))], positions)
    atoms.arrays["biso"] = np.full(n, rng.uniform(0.1, 1.2)) if rng.random() < 0.5 else rng.uniform(0.1, 1.2, n)
    return atoms


def parameters(rng: np.random.Generator, **changes: Any) -> PdfParams:
    """Any instrument and sample; rmax lies between two points, away from where rounding decides."""
    rstep = float(rng.choice([0.05, 0.1]))
    drawn = PdfParams(
        rmin=float(rng.choice([0.0, 5.0])), rmax=rstep * (int(rng.integers(150, 300)) + 0.5), rstep=rstep,
        qmin=rng.uniform(0.0, 1.5), qmax=rng.uniform(15.0, 30.0), qdamp=rng.uniform(0.0, 0.06),
        qbroad=float(rng.choice([0.0, 0.03])), delta1=float(rng.choice([0.0, 0.4])),
        delta2=float(rng.choice([0.0, 2.0])), biso=rng.uniform(0.0, 1.0), scale=rng.uniform(0.5, 2.0),
    )  # fmt: skip
    return replace(drawn, **changes)


def test_the_levels_are_two_ways() -> None:
    """Alloys whose atoms share a Biso do go through tables: the digits differ."""
    rng = np.random.default_rng(3)
    atoms, params = cluster(rng, ["Au", "Cu"]), parameters(rng)
    atoms.arrays["biso"][:] = 0.5
    assert (pdf(atoms, params, LEVELS["fast"]) != pdf(atoms, params, LEVELS["direct"])).any()


@pytest.mark.parametrize("transform", ["exact", "diffpy"])
@SEEDED
@given(seed=SEEDS)
def test_order_rotation_reflection_and_shift_do_not_matter(level: Level, transform: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    atoms, params = cluster(rng, ["Au", "Cu"]), parameters(rng)
    turn, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    moved = atoms[rng.permutation(len(atoms))]
    moved.positions = moved.positions @ turn + rng.uniform(-20.0, 20.0, 3)
    for one, other in ((atoms, moved), (atoms.positions, moved.positions)):
        expected = pdf(one, params, level, transform=transform)
        assert_same(pdf(other, params, level, transform=transform), expected, level, 1e-11)


@pytest.mark.parametrize("radiation", ["xray", "neutron"])
@pytest.mark.parametrize("symbols", [["Au", "Cu"], ["Pt", "Ni"]], ids="".join)
@SEEDED
@given(seed=SEEDS)
def test_pairs_of_elements_add_up(level: Level, symbols: list[str], radiation: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    atoms = cluster(rng, symbols)
    params = parameters(rng, radiation=radiation, precision=float(rng.choice([1e-6, 0.3])))
    partials = partial_pdfs(atoms, params, atoms.arrays["biso"] / B_PER_U)
    assert {symbol for kinds in partials for symbol in kinds} == set(symbols)
    assert_same(pdf(atoms, params, level), np.asarray(sum(partials.values())), level)


@SEEDED
@given(seed=SEEDS)
def test_parts_of_an_alloy_are_pdfs_of_its_sublattices(level: Level, seed: int) -> None:
    """With factors that do not depend on Q, G_aa = G(a alone) N_a b_a^2 / (N <b>^2)."""
    rng = np.random.default_rng(seed)
    lengths = {"Pt": 9.6, "Ni": 10.3}
    atoms = cluster(rng, ["Pt", "Pt", "Ni", "Ni"])
    atoms.arrays["biso"][:] = 0.4  # one grid for all
    params = parameters(rng, radiation="neutron")
    partials = partial_pdfs(atoms, params, atoms.arrays["biso"] / B_PER_U)
    mean = np.mean([lengths[symbol] for symbol in atoms.symbols])
    rest = pdf(atoms, params, level)
    largest = np.abs(rest).max()
    for symbol, length in lengths.items():
        alone = atoms[atoms.symbols == symbol]
        part = pdf(alone, params, level) * len(alone) * length**2 / (len(atoms) * mean**2)
        assert np.abs(part - partials.get((symbol, symbol), 0.0)).max() <= 2 * level.tolerance * largest
        rest = rest - part
    assert np.abs(rest - partials[("Ni", "Pt")]).max() <= 4 * level.tolerance * largest


@SEEDED
@given(seed=SEEDS)
def test_one_element_is_the_sum_over_pairs(level: Level, seed: int) -> None:
    rng = np.random.default_rng(seed)
    atoms, params = cluster(rng, ["Au"]), parameters(rng)
    expected = reference_pdf(atoms, params, atoms.arrays["biso"] / B_PER_U)
    assert_same(pdf(atoms, params, level), expected, level)
    unit = Atoms(["X"] * len(atoms), atoms.positions)
    expected = reference_pdf(unit, replace(params, precision=0.0), np.full(len(atoms), params.uiso))
    assert_same(pdf(atoms.positions, params, level), expected, level)


def in_other_units(params: PdfParams, unit: float) -> PdfParams:
    """The same measurement with every length `unit` times as large."""
    lengths = ("rmin", "rmax", "rstep", "delta1", "maxextension")
    inverse = ("qmin", "qmax", "qdamp", "qbroad", "precision")
    squares = ("biso", "delta2")
    powers = {**dict.fromkeys(lengths, 1), **dict.fromkeys(inverse, -1), **dict.fromkeys(squares, 2)}
    return replace(params, **{name: getattr(params, name) * unit**power for name, power in powers.items()})


@SEEDED
@given(seed=SEEDS, unit=st.one_of(st.sampled_from([0.125, 0.5, 2.0, 8.0]), st.floats(0.3, 3.0)))
def test_the_unit_of_length_does_not_matter(level: Level, seed: int, unit: float) -> None:
    """Neutrons, whose factors do not depend on Q: G is an inverse square length and nothing else changes."""
    rng = np.random.default_rng(seed)
    atoms, params = cluster(rng, ["Au", "Cu"]), parameters(rng, radiation="neutron")
    large, scaled = atoms.copy(), in_other_units(params, unit)
    large.positions *= unit
    large.arrays["biso"] *= unit**2
    for one, other in ((atoms, large), (atoms.positions, large.positions)):
        r, _ = simulate_pdf(one, params)
        r_scaled, _ = simulate_pdf(other, scaled)
        np.testing.assert_allclose(r_scaled, unit * r, rtol=1e-14)
        assert_same(pdf(other, scaled, level), pdf(one, params, level) / unit**2, level, 1e-11)


@SEEDED
@given(seed=SEEDS)
def test_fragments_out_of_reach_of_each_other_add_up(level: Level, seed: int) -> None:
    """N G is the sum of the fragments' N G for one element."""
    rng = np.random.default_rng(seed)
    params = parameters(rng)
    fragments = [cluster(rng, ["Pt"]) for _ in range(3)]
    widest = max(float(atoms.arrays["biso"].max()) for atoms in fragments)
    for atoms in fragments:
        same = (atoms.arrays["biso"] == atoms.arrays["biso"][0]).all()
        atoms.arrays["biso"][: len(atoms) if same else 1] = widest  # one grid for all
    reach = extended_grid(params, max(widest, params.biso) / B_PER_U).d_max
    total = Atoms()
    for number, atoms in enumerate(fragments):
        apart = atoms.copy()
        apart.positions += [0.0, 0.0, number * (reach + 20.0)]
        total = apart if number == 0 else total + apart
    for bare in (False, True):
        given_alone = [atoms.positions if bare else atoms for atoms in fragments]
        expected = sum(len(x) * pdf(x, params, level) for x in given_alone)
        assert_same(len(total) * pdf(total.positions if bare else total, params, level), expected, level, 1e-11)
