"""simulate_pdf: physics, an independent implementation, and what it refuses."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.cluster import Octahedron
from debye_reference import reference_pdf

import hpcpdf
from hpcpdf import ConfigError, PdfParams, simulate_pdf
from hpcpdf.pdf.grids import extended_grid
from hpcpdf.pdf.scattering import scattering_factors
from hpcpdf.pdf.simulate import Accuracy

TOLERANCES: dict[Accuracy, float] = {"direct": 1e-11, "fast": 1e-6}
METALS = ["Sc", "Ti", "V", "Cr", "Mn", "Fe", "Co", "Ni", "Cu", "Zn", "Y", "Zr", "Nb", "Tc", "Ru", "Rh", "Pd", "Ag"]
METALS += ["Cd", "Hf", "Ta", "W", "Re", "Os", "Ir", "Pt", "Au", "Hg"]


def random_cluster(seed: int, n: int = 25) -> np.ndarray:
    rng = np.random.default_rng(seed)
    grid = 2.7 * np.stack(np.meshgrid(*[np.arange(3)] * 3), axis=-1).reshape(-1, 3)[:n]
    return grid + rng.normal(scale=0.2, size=grid.shape)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"radiation": "neutron", "qbroad": 0.02, "delta1": 0.4},
        {"delta2": 9.0, "rmin": 3.0, "rmax": 6.0, "scale": 2.0},
        {"biso": 3.0, "precision": 0.5, "qmax": 30.0},
        {"biso": 0.0, "qmin": 0.0, "qmax": 12.0},
        {"qmax": 0.3, "qmin": 0.0, "rmax": 5.0},
    ],
)
def test_against_a_slow_independent_sum(changes: dict[str, Any]) -> None:
    params = PdfParams(**changes)
    positions = random_cluster(0)
    atoms = Atoms("Au9Cu8O8", positions)
    expected = reference_pdf(atoms, params, np.full(25, params.uiso))
    for accuracy, tolerance in TOLERANCES.items():
        _, g = simulate_pdf(atoms, params, accuracy=accuracy, n_threads=1)
        assert np.abs(g - expected).max() <= tolerance * np.abs(expected).max(), accuracy


def test_displacement_of_each_atom() -> None:
    params = PdfParams(delta2=1.0)
    atoms = Atoms("Pt25", random_cluster(1))
    biso = np.linspace(0.1, 1.2, 25)
    atoms.set_array("biso", biso)
    _, g = simulate_pdf(atoms, params, n_threads=1)
    expected = reference_pdf(atoms, params, biso / (8 * math.pi**2))
    assert np.abs(g - expected).max() <= 1e-11 * np.abs(expected).max()


def test_default_grid_is_the_networks() -> None:
    r, g = simulate_pdf(random_cluster(2), PdfParams())
    assert r.shape == g.shape == (301,)
    np.testing.assert_allclose(r, np.arange(301) * 0.1)


def test_exported_at_top_level() -> None:
    assert hpcpdf.PdfParams is PdfParams
    assert hpcpdf.simulate_pdf is simulate_pdf


def test_element_cancels() -> None:
    positions = Octahedron("Pt", 4).positions
    kinds = [positions, *(Atoms([symbol] * len(positions), positions) for symbol in METALS)]
    for radiation in ("xray", "neutron"):
        _, g = simulate_pdf(kinds, PdfParams(radiation=radiation, precision=0.0))
        assert np.abs(g - g[0]).max() <= 1e-12 * np.abs(g[0]).max()


def test_first_peak_lies_at_the_nearest_neighbour_distance() -> None:
    atoms = Octahedron("Au", 4)
    d = atoms.get_all_distances()
    nearest = d[d > 0.1].min()
    r, g = simulate_pdf(atoms.positions, PdfParams(rstep=0.01, qmax=40.0, qdamp=0.0))
    window = (r > nearest - 0.5) & (r < nearest + 0.5)
    assert r[window][np.argmax(g[window])] == pytest.approx(nearest, abs=0.02)


def test_two_atoms_have_the_closed_form() -> None:
    """F(Q) = exp(-u Q^2) sin(Q d) / d, so G is a difference of two cosine sums, known in closed form without u."""
    d, params = 3.0, PdfParams(biso=0.0, qmin=0.0, qdamp=0.0, rmax=8.0)
    grid = extended_grid(params, 0.0)
    r, g = simulate_pdf(np.array([[0.0, 0.0, 0.0], [0.0, 0.0, d]]), params, accuracy="direct")

    def cosine_sum(x: np.ndarray) -> np.ndarray:
        half = 0.5 * grid.qstep * x
        small = np.abs(np.sin(half)) < 1e-12
        ratio = np.sin((2 * grid.n_q - 1) * half) / np.where(small, 1.0, np.sin(half))
        return np.where(small, grid.n_q, 0.5 * (1.0 + ratio))

    expected = grid.qstep / math.pi / d * (cosine_sum(r - d) - cosine_sum(r + d))
    assert np.abs(g - expected).max() <= 1e-12 * np.abs(expected).max()


@pytest.mark.parametrize("accuracy", ["direct", "fast"])
def test_threads_and_batches_do_not_change_the_result(accuracy: Accuracy) -> None:
    rng = np.random.default_rng(4)
    large = np.array(Octahedron("Pd", 11).positions)  # 891 atoms: several units of parallel work
    structures = [random_cluster(5, 7), large, large + rng.normal(scale=0.05, size=large.shape), random_cluster(6)]
    params = PdfParams(rmax=12.0, delta2=1.0)
    structures += [random_cluster(seed, int(n)) for seed, n in enumerate(np.random.default_rng(9).integers(2, 27, 40))]
    _, one = simulate_pdf(structures, params, accuracy=accuracy, n_threads=1)
    _, four = simulate_pdf(structures, params, accuracy=accuracy, n_threads=4)
    np.testing.assert_array_equal(one, four)
    for b in (2, 3, 30):
        np.testing.assert_array_equal(one[b], simulate_pdf(structures[b], params, accuracy=accuracy, n_threads=1)[1])


def test_a_lattice_and_its_slightly_broken_copy_agree() -> None:
    """Equal distances are merged; nudged beyond merging they must give the same PDF."""
    positions = np.array(Octahedron("Pt", 5).positions)
    nudged = positions * (1.0 + 1e-10 * np.random.default_rng(7).normal(size=positions.shape))
    _, g = simulate_pdf([positions, nudged], PdfParams())
    assert np.abs(g[0] - g[1]).max() <= 1e-7 * np.abs(g[0]).max()


def test_scale_and_envelope() -> None:
    positions = random_cluster(8)
    base = PdfParams(qdamp=0.0)
    r, plain = simulate_pdf(positions, base)
    _, damped = simulate_pdf(positions, replace(base, qdamp=0.05, scale=-3.0))
    np.testing.assert_allclose(damped, -3.0 * np.exp(-0.5 * (0.05 * r) ** 2) * plain, rtol=1e-14)


def test_no_atoms_one_atom_and_coincident_atoms() -> None:
    far = np.array([[0.0, 0.0, 0.0], [500.0, 0.0, 0.0]])
    r, g = simulate_pdf([np.zeros((0, 3)), np.zeros((1, 3)), np.zeros((2, 3)), far], PdfParams())
    assert g.shape == (4, len(r))
    assert not g.any()
    assert simulate_pdf([], PdfParams())[1].shape == (0, 301)
    assert not simulate_pdf(Atoms(), PdfParams())[1].any()


def test_accepted_forms_of_structures() -> None:
    positions = random_cluster(9)
    _, expected = simulate_pdf(positions, PdfParams())
    for same in (positions.tolist(), tuple(map(tuple, positions)), positions[:, ::-1][:, ::-1]):
        np.testing.assert_array_equal(simulate_pdf(same, PdfParams())[1], expected)
    for batch in (np.stack([positions] * 2), [positions, positions], (positions.tolist(), positions)):
        np.testing.assert_array_equal(simulate_pdf(batch, PdfParams())[1], [expected, expected])


@pytest.mark.parametrize(
    ("structures", "message"),
    [
        (np.zeros((4, 2)), r"shape \(n, 3\), got \(4, 2\)"),
        (np.zeros(3), r"shape \(n, 3\)"),
        ([np.zeros((2, 3)), np.zeros((2, 4))], r"structures\[1\]"),
        (np.full((2, 3), np.nan), "NaN"),
        ([[0.0, 0.0, "x"]], "numbers"),
        (3, r"structures|shape"),
        (Atoms("X2", np.eye(3)[:2]), "'X'"),
    ],
)
def test_refuses_structures(structures: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        simulate_pdf(structures, PdfParams())


def test_refuses_bad_displacements() -> None:
    atoms = Atoms("Au2", np.eye(3)[:2])
    atoms.set_array("biso", np.array([0.3, -0.1]))
    with pytest.raises(ConfigError, match="biso"):
        simulate_pdf(atoms, PdfParams())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rstep": 0.0}, "rstep"),
        ({"rmax": 0.0}, "rmax"),
        ({"rmin": -1.0}, "rmin = -1.0"),
        ({"qmin": 26.0}, "qmax"),
        ({"biso": float("nan")}, "biso"),
        ({"qdamp": "much"}, "qdamp"),
        ({"radiation": "electron"}, "xray, neutron"),
    ],
)
def test_refuses_parameters(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        PdfParams(**changes)


def test_refuses_options() -> None:
    cluster = random_cluster(0)
    with pytest.raises(ConfigError, match="transform"):
        simulate_pdf(cluster, PdfParams(), transform="fast")
    with pytest.raises(ConfigError, match="accuracy"):
        simulate_pdf(cluster, PdfParams(), accuracy="exact")
    with pytest.raises(ConfigError, match="backend"):
        simulate_pdf(cluster, PdfParams(), backend="torch")
    with pytest.raises(ConfigError, match="n_threads"):
        simulate_pdf(cluster, PdfParams(), n_threads=0)
    with pytest.raises(ConfigError, match="rstep"):
        simulate_pdf(cluster, PdfParams(rmin=0.01, rmax=0.05))


def test_xray_factors_start_at_the_number_of_electrons_and_fall() -> None:
    from ase.data import atomic_numbers

    q = np.linspace(0.0, 40.0, 81)
    for symbol in METALS:
        f = scattering_factors(symbol, q, "xray")
        assert f[0] == pytest.approx(atomic_numbers[symbol], abs=0.05)
        assert (np.diff(f) < 0.0).all()
        assert f[-1] > 0.0


def test_neutron_lengths() -> None:
    q = np.zeros(2)
    for symbol, length in (("Ni", 10.3), ("Pt", 9.6), ("Au", 7.9), ("Ti", -3.37)):
        np.testing.assert_array_equal(scattering_factors(symbol, q, "neutron"), [length, length])


@pytest.mark.parametrize("level", ["baseline", "avx2", "avx512", "unknown"])
def test_every_instruction_level_gives_the_same_bits(level: str) -> None:
    code = (
        "import hashlib, numpy as np; from hpcpdf import PdfParams, _core, simulate_pdf;"
        "x = np.random.default_rng(1).uniform(0, 15, (40, 3));"
        "g = [simulate_pdf(x, PdfParams(delta2=d, rstep=h), accuracy=a, n_threads=1)[1].tobytes()"
        " for d in (0.0, 1.0) for h in (0.02, 0.1) for a in ('fast', 'direct')];"
        "print(_core.instruction_level(), hashlib.sha256(b''.join(g)).hexdigest())"
    )

    def run(wanted: str) -> list[str]:
        environment = {**os.environ, "HPCPDF_INSTRUCTIONS": wanted}
        done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
        return done.stdout.split()

    used, digest = run(level)
    assert used in ("baseline", "avx2", "avx512")
    assert used == "baseline" or level != "baseline"
    assert digest == run("baseline")[1]


@pytest.mark.parametrize("transform", ["exact", "diffpy"])
def test_what_tables_do_not_serve_is_summed_directly(transform: Any) -> None:
    """Own displacements, truncation, and pairs near the kink of the width, beside others in the same call."""
    x = random_cluster(10)
    mixed = Atoms("Au9Cu8O8", x)
    mixed.set_array("biso", np.linspace(0.1, 1.2, 25))
    close = x.copy()
    close[1] = close[0] + [1.2, 0.0, 0.0]
    structures = [x, mixed, Atoms("H25", x), close, Atoms("Au25", x)]
    params = PdfParams(delta2=2.0)
    _, direct = simulate_pdf(structures, params, transform=transform, accuracy="direct")
    _, fast = simulate_pdf(structures, params, transform=transform)
    same = [bool((a == b).all()) for a, b in zip(direct, fast, strict=True)]
    assert same == [False, True, True, True, False]
    assert np.abs(fast - direct).max() <= 1e-6 * np.abs(direct).max()


def test_pairs_as_long_as_the_tables() -> None:
    """Tables come in lengths of 16 Å, 32 Å and so on; a pair of that length, up to rounding, still counts."""
    rng = np.random.default_rng(11)
    axes = rng.normal(size=(200, 3))
    pairs = [np.array([np.zeros(3), 16.0 * axis / np.linalg.norm(axis)]) for axis in axes]
    _, fast = simulate_pdf(pairs, PdfParams())
    _, direct = simulate_pdf(pairs, PdfParams(), accuracy="direct")
    assert np.abs(fast - direct).max() <= 1e-6 * np.abs(direct).max()


@pytest.mark.slow
def test_a_hundred_thousand_atoms_in_bounded_memory() -> None:
    """A thousand fragments out of each other's reach have the PDF of one; pairs are not kept."""
    script = """
import resource
import numpy as np
from hpcpdf import PdfParams, simulate_pdf
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
one = np.random.default_rng(0).uniform(-6.0, 6.0, (100, 3))
apart = 60.0 * np.stack(np.meshgrid(*[np.arange(10)] * 3), axis=-1).reshape(-1, 1, 3)
expected = simulate_pdf(one, PdfParams())[1]
before = peak()
g = simulate_pdf((one + apart).reshape(-1, 3), PdfParams(), n_threads=2)[1]
print(np.abs(g - expected).max() / np.abs(expected).max(), peak() - before)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    difference, megabytes = map(float, done.stdout.split())
    assert difference <= 1e-6
    assert megabytes < 100
