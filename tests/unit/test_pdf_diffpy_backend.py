"""The diffpy backend: a stand-in module checks what it is told; the real one, when installed, what comes out."""

from __future__ import annotations

import importlib.util
import sys
from dataclasses import asdict
from types import ModuleType
from typing import Any, ClassVar

import numpy as np
import pytest
from ase import Atoms

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


if importlib.util.find_spec("diffpy") is not None:

    @pytest.mark.diffpy
    def test_agrees_with_the_native_engine() -> None:
        atoms = Atoms("Pt4", 2.0 * np.array([[0, 0, 0], [1, 1, 0], [1, 0, 1], [0, 1, 1.1]]))
        _, native = simulate_pdf(atoms, PdfParams(), transform="diffpy")
        _, theirs = simulate_pdf(atoms, PdfParams(), transform="diffpy", backend="diffpy")
        assert np.abs(native - theirs).max() <= 1e-9 * np.abs(theirs).max()
