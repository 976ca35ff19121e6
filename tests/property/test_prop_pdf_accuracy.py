"""simulate_pdf by tables stays within its bound of the direct sum, for any parameters and structures."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from ase import Atoms
from hypothesis import given, settings
from hypothesis import strategies as st

from hpcpdf import PdfParams, simulate_pdf
from hpcpdf.pdf.clusters import as_clusters
from hpcpdf.pdf.grids import extended_grid
from hpcpdf.pdf.simulate import debye_f


def zero_or(low: float, high: float) -> st.SearchStrategy[float]:
    return st.just(0.0) | st.floats(low, high)


@st.composite
def parameters(draw: st.DrawFn) -> PdfParams:
    rmin, qmin = draw(zero_or(0.01, 20.0)), draw(zero_or(0.01, 3.0))
    return PdfParams(
        rmin=rmin,
        rmax=rmin + draw(st.floats(1.0, 40.0)),
        rstep=draw(st.sampled_from([0.01, 0.02, 0.1, 0.3]) | st.floats(0.005, 0.5)),
        qmin=qmin,
        qmax=qmin + draw(st.floats(1.0, 40.0)),
        qdamp=draw(zero_or(0.001, 0.3)),
        qbroad=draw(zero_or(0.001, 0.1)),
        delta1=draw(zero_or(0.01, 2.0)),
        delta2=draw(zero_or(0.01, 6.0)),
        biso=draw(zero_or(0.001, 10.0)),
        radiation=draw(st.sampled_from(["xray", "neutron"])),
        precision=draw(st.sampled_from([0.0, 1e-6])),
    )


@st.composite
def structures(draw: st.DrawFn) -> Any:
    n, seed = draw(st.integers(2, 60)), draw(st.integers(0, 2**32 - 1))
    rng = np.random.default_rng(seed)
    size = draw(st.floats(2.0, 12.0))
    positions = size * rng.uniform(-1.0, 1.0, (n, 3))
    if draw(st.booleans()):  # atoms at least 2 Å apart, as in matter
        kept = [positions[0]]
        for atom in positions[1:]:
            if np.linalg.norm(np.array(kept) - atom, axis=1).min() > 2.0:
                kept.append(atom)
        positions = np.array(kept)
    if draw(st.booleans()):
        return positions
    return Atoms(rng.choice(draw(st.sampled_from([["Pt"], ["Pt", "O"], ["Au", "Ti", "H"]])), len(positions)), positions)


@settings(max_examples=400, deadline=None, derandomize=True)
@given(structures(), parameters(), st.sampled_from(["exact", "diffpy"]))
def test_fast_is_within_1e_6_of_direct(structure: Any, params: PdfParams, transform: Any) -> None:
    r, direct = simulate_pdf(structure, params, transform=transform, accuracy="direct", n_threads=1)
    _, fast = simulate_pdf(structure, params, transform=transform, n_threads=1)
    # Where waves cancel to less than 1e-4 of what they could add up to there is no PDF to be accurate to.
    clusters, _ = as_clusters(structure, params)
    grid = extended_grid(params, clusters[0].u_max)
    most = 2.0 / math.pi * grid.qstep * np.abs(debye_f([*clusters], params, grid, 1)[:, grid.k_first :]).sum()
    most *= params.scale * np.exp(-0.5 * (params.qdamp * r[0]) ** 2)
    assert np.abs(fast - direct).max() <= 1e-6 * max(np.abs(direct).max(), 1e-4 * most)
