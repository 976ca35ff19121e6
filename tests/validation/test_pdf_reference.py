"""Agreement with diffpy.srreal's DebyePDFCalculator: 30 clusters in 7 parameter sets, computed with libdiffpy 1.4.0."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from diffpy_tests import needs_diffpy

from hpcpdf import PdfParams, simulate_pdf
from hpcpdf.pdf.clusters import as_clusters
from hpcpdf.pdf.grids import extended_grid
from hpcpdf.pdf.simulate import Accuracy, debye_f

REFERENCE = Path(__file__).with_name("pdf_reference.npz")
SETS = ("A01", "A10", "B01", "B10", "C01", "D02", "E05")


@pytest.fixture(scope="module")
def reference() -> dict[str, np.ndarray]:
    with np.load(REFERENCE) as data:
        return dict(data)


def params_of(reference: dict[str, Any], name: str) -> PdfParams:
    entry = json.loads(str(reference["sets_json"]))[name]
    radiation = {"X": "xray", "N": "neutron"}[entry["rad"]]
    return PdfParams(**entry["kw"], biso=8 * math.pi**2 * entry["uiso"], radiation=radiation)


def cases(reference: dict[str, Any], name: str) -> list[tuple[str, Atoms]]:
    found = []
    for cluster, symbol in zip(reference["names"], reference["elements"], strict=True):
        if f"{cluster}/{name}/G" in reference:
            positions = reference[f"{cluster}/pos"]
            found.append((str(cluster), Atoms([str(symbol)] * len(positions), positions)))
    return found


def test_reference_is_complete(reference: dict[str, np.ndarray]) -> None:
    assert sum(len(cases(reference, name)) for name in SETS) >= 200


@pytest.mark.parametrize("name", SETS)
def test_grids(reference: dict[str, np.ndarray], name: str) -> None:
    params = params_of(reference, name)
    grid = extended_grid(params, params.uiso)
    np.testing.assert_allclose([grid.qstep, grid.d_min, grid.d_max], reference[f"{name}/grid"], rtol=1e-12)
    assert grid.n_q == len(reference[f"{name}/Q"])


@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize("bare", [False, True], ids=["atoms", "bare"])
@pytest.mark.parametrize("accuracy", ["direct", "fast"])
def test_pdf(reference: dict[str, np.ndarray], name: str, bare: bool, accuracy: Accuracy) -> None:
    params = params_of(reference, name)
    names, atoms = zip(*cases(reference, name), strict=True)
    structures = [item.positions for item in atoms] if bare else list(atoms)
    r, g = simulate_pdf(structures, params, transform="diffpy", accuracy=accuracy, n_threads=2)
    np.testing.assert_allclose(r, reference[f"{name}/r"], atol=1e-12)
    # Set D is truncated by the scattering power, which a bare array does not have.
    tolerance = 1e-6 if accuracy == "fast" or (bare and name == "D02") else 1e-10
    for cluster, mine in zip(names, g, strict=True):
        theirs = reference[f"{cluster}/{name}/G"]
        assert np.abs(mine - theirs).max() <= tolerance * np.abs(theirs).max(), cluster


@needs_diffpy
@pytest.mark.parametrize("name", SETS)
def test_the_installed_diffpy_gives_the_reference(reference: dict[str, np.ndarray], name: str) -> None:
    params = params_of(reference, name)
    names, atoms = zip(*(case for case in cases(reference, name) if len(case[1]) < 150), strict=True)
    _, g = simulate_pdf(list(atoms), params, backend="diffpy")
    for cluster, theirs in zip(names, g, strict=True):
        expected = reference[f"{cluster}/{name}/G"]
        assert np.abs(theirs - expected).max() <= 1e-9 * np.abs(expected).max(), cluster


@pytest.mark.parametrize("name", SETS)
def test_structure_function(reference: dict[str, np.ndarray], name: str) -> None:
    params = params_of(reference, name)
    names, atoms = zip(*cases(reference, name), strict=True)
    clusters, _ = as_clusters(list(atoms), params)
    f = debye_f(clusters, params, extended_grid(params, params.uiso), n_threads=1)
    for cluster, mine in zip(names, f, strict=True):
        theirs = reference[f"{cluster}/{name}/F"]
        assert np.abs(mine - theirs).max() <= 1e-10 * np.abs(theirs).max(), cluster
