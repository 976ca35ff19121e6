"""The diffpy backend: a stand-in module checks what it is told; the real one, when installed, what comes out."""

from __future__ import annotations

import sys
from dataclasses import asdict
from types import ModuleType
from typing import Any, ClassVar

import numpy as np
import pytest
from ase import Atoms
from diffpy_tests import needs_diffpy

from hpcpdf import ConfigError, PdfParams, simulate_pdf
from hpcpdf.pdf.grids import r_grid


class RecordingCalculator:
    """Keeps what it is given, and answers with a PDF that tells structures apart."""

    made: ClassVar[list[RecordingCalculator]] = []

    def __init__(self) -> None:
        self.made.append(self)

    def setScatteringFactorTableByType(self, kind: str) -> None:
        self.kind = kind

    def __call__(self, structure: list[Any]) -> tuple[np.ndarray, np.ndarray]:
        self.structure = structure
        names = ("rmin", "rmax", "rstep")
        r = r_grid(PdfParams(**{name: getattr(self, name) for name in names}))
        return r, np.full(len(r), float(len(structure)))


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> type[RecordingCalculator]:
    RecordingCalculator.made = []
    modules: dict[str, dict[str, Any]] = {
        "diffpy": {},
        "diffpy.srreal": {},
        "diffpy.srreal.pdfcalculator": {"DebyePDFCalculator": RecordingCalculator},
        "diffpy.structure": {"Structure": list, "Atom": lambda symbol, **more: {"symbol": symbol, **more}},
    }
    for name, content in modules.items():
        module = ModuleType(name)
        module.__dict__.update(content)
        monkeypatch.setitem(sys.modules, name, module)
    return RecordingCalculator


def test_passes_everything_on(stand_in: type[RecordingCalculator]) -> None:
    params = PdfParams(
        rmin=1.0, rmax=9.0, qmin=0.5, qmax=22.0, qdamp=0.03, qbroad=0.01, delta1=0.2, delta2=1.5, scale=0.7,
        radiation="neutron", precision=1e-5, maxextension=8.0,
    )  # fmt: skip
    atoms = Atoms("AuCu", [[0.0, 0.0, 0.0], [0.0, 0.0, 2.6]])
    atoms.set_array("biso", np.array([0.3, 0.6]))
    r, g = simulate_pdf([atoms, atoms[:1]], params, transform="diffpy", backend="diffpy")
    np.testing.assert_array_equal(g[:, 0], [2.0, 1.0])
    assert g.shape == (2, len(r))
    first, second = stand_in.made  # one calculator a structure
    assert second.structure != first.structure
    for name, value in asdict(params).items():
        if name not in ("biso", "radiation", "precision"):
            assert getattr(first, name) == value
    assert (first.kind, first.debyeprecision) == ("N", 1e-5)
    assert [atom["symbol"] for atom in first.structure] == ["Au", "Cu"]
    assert [atom["Uisoequiv"] for atom in first.structure] == pytest.approx(atoms.arrays["biso"] / (8 * np.pi**2))
    np.testing.assert_array_equal([atom["xyz"] for atom in first.structure], atoms.positions)


def test_bare_arrays_are_not_truncated(stand_in: type[RecordingCalculator]) -> None:
    simulate_pdf(np.eye(3), PdfParams(), transform="diffpy", backend="diffpy")
    assert stand_in.made[0].debyeprecision == 0.0


def test_has_only_its_own_transform(stand_in: type[RecordingCalculator]) -> None:
    _, named = simulate_pdf(np.eye(3), PdfParams(), transform="diffpy", backend="diffpy")
    _, default = simulate_pdf(np.eye(3), PdfParams(), backend="diffpy")
    assert len(stand_in.made) == 2
    np.testing.assert_array_equal(default, named)


def test_missing_package_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "diffpy.srreal.pdfcalculator", None)
    with pytest.raises(ConfigError, match=r"conda install -c conda-forge diffpy\.srreal"):
        simulate_pdf(np.eye(3), PdfParams(), transform="diffpy", backend="diffpy")


def alloy(rng: np.random.Generator, n: int) -> Atoms:
    grid = 2.7 * np.stack(np.meshgrid(*[np.arange(3)] * 3), axis=-1).reshape(-1, 3)[:n]
    atoms = Atoms(list(rng.choice(["Au", "Cu", "O"], n)), grid + rng.normal(scale=0.2, size=grid.shape))
    atoms.set_array("biso", rng.uniform(0.1, 1.0, n))
    return atoms


@needs_diffpy
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"radiation": "neutron", "qbroad": 0.02, "delta1": 0.4},
        {"delta2": 3.0, "rmin": 3.0, "rmax": 12.0, "scale": 2.0, "maxextension": 2.0},
        {"biso": 3.0, "precision": 0.01, "qmax": 30.0, "qdamp": 0.06},
        {"rstep": 0.01, "rmax": 20.0, "qmin": 0.0, "qmax": 18.0, "biso": 0.0},
    ],
)
def test_agrees_with_the_native_engine(changes: dict[str, Any]) -> None:
    """Every parameter, mixed elements with displacements of their own, one element, and bare positions."""
    rng = np.random.default_rng(0)
    params = PdfParams(**changes)
    mixed = alloy(rng, 20)
    structures = [mixed, alloy(rng, 9), Atoms(["Pt"] * 20, mixed.positions), mixed.positions]
    r, native = simulate_pdf(structures, params, transform="diffpy", accuracy="direct")
    r_theirs, theirs = simulate_pdf(structures, params, backend="diffpy")
    np.testing.assert_allclose(r_theirs, r, rtol=1e-13)
    for mine, other in zip(native, theirs, strict=True):
        assert np.abs(mine - other).max() <= 1e-9 * np.abs(other).max()
