"""What the searches of several families say together."""

from __future__ import annotations

import numpy as np
import pytest

from hpcpdf import PdfParams, simulate_pdf
from hpcpdf.lattice.bounds import fit_family
from hpcpdf.lattice.posterior import weigh
from hpcpdf.lattice.search import FamilySearch
from hpcpdf.lattice.shells import PdfData
from hpcpdf.lattice.template import lattice_template

PARAMS = PdfParams(rmin=1.5, rmax=20.0, rstep=0.1, qmin=0.8, qmax=24.0, qdamp=0.03, biso=0.5)
BOND = 2.75


def searched(family: str, data: PdfData, cycles: int) -> FamilySearch:
    fit = fit_family(data, family)
    assert fit is not None
    search = FamilySearch(data, fit, 4.0, bond_cost=0.0, stop=data.rounding() ** 2, seed=1, n_threads=1)
    for _ in range(cycles):
        search.advance()
        if search.done:
            break
    return search


@pytest.fixture(scope="module")
def data() -> PdfData:
    """Of a body of fcc without symmetry."""
    sites = lattice_template("fcc", 3.5, 8.0).sites
    body = sites[(sites @ [0.9, 0.3, 0.2] < 1.3) & (np.abs(sites).max(axis=1) < 1.5) & (sites[:, 2] > -1.2)]
    r, g = simulate_pdf(body * BOND, PARAMS, transform="exact", n_threads=1)
    return PdfData.thinned(r, g, PARAMS, PARAMS.qdamp)


def test_what_the_search_of_twins_finds_on_one_side_is_fcc(data):
    """It counts where the search of fcc did no better, and is not told twice where it did."""
    twin = searched("twin", data, 30)
    assert twin.done
    fcc = searched("fcc", data, 30)
    assert fcc.done
    exact = fcc.best
    both = weigh(data, [fcc, twin])
    assert [both[0].family, both[0].search.family] == ["fcc", "fcc"]
    assert sum(one.misfit < 1e-9 for one in both) == 1

    del fcc.pool[exact.key]
    alone = weigh(data, [fcc, twin])
    assert [alone[0].family, alone[0].search.family] == ["fcc", "twin"]
    assert alone[0].misfit < 1e-9
    assert sum(one.probability for one in alone) == pytest.approx(1.0)
