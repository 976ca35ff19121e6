"""Figures show the data they are given and are saved without a display."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from report_cases import solved

from hpcpdf.report import figures


def test_pdf_figure_shows_observed_calculated_difference(tmp_path: Path) -> None:
    best = solved()[0][0]
    figure = figures.pdf_figure(best.r, best.g_obs, best.g_calc, title="Pt", rw=best.rw)
    axes = figure.axes[0]
    observed, calculated, difference, zero = axes.lines[:4]
    every = len(best.r) // len(observed.get_xdata()) + 1
    np.testing.assert_array_equal(observed.get_ydata(), best.g_obs[::every])
    np.testing.assert_array_equal(calculated.get_ydata(), best.g_calc)
    offset = zero.get_ydata()[0]
    np.testing.assert_allclose(np.asarray(difference.get_ydata()) - offset, best.g_obs - best.g_calc, atol=1e-12)
    # The difference stays clear of the curves, and nothing is cut off.
    assert max(difference.get_ydata()) < min(best.g_obs.min(), best.g_calc.min())
    assert axes.get_ylim()[0] < min(difference.get_ydata())
    assert axes.get_ylim()[1] > best.g_obs.max()
    assert axes.get_xlabel() == "r (Å)"
    assert axes.get_ylabel() == "G (Å⁻²)"
    png, pdf = figures.save(figure, tmp_path / "fit.v1")
    assert png.name == "fit.v1.png"
    assert png.read_bytes()[:4] == b"\x89PNG"
    assert pdf.read_bytes()[:4] == b"%PDF"
    assert b"/Subtype /Image" not in pdf.read_bytes()


def test_same_figure_same_bytes(tmp_path: Path) -> None:
    best = solved()[0][0]
    for name in ("a", "b"):
        figures.save(figures.pdf_figure(best.r, best.g_obs, best.g_calc), tmp_path / name)
    for kind in ("png", "pdf"):
        assert (tmp_path / f"a.{kind}").read_bytes() == (tmp_path / f"b.{kind}").read_bytes()


@pytest.mark.parametrize("n", [1, 2, 40])
def test_small_inputs_are_drawn(n: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(n)
    true = rng.integers(5, 200, n)
    drawn = [
        figures.atoms_figure(true, true),
        figures.spread_figure(np.where(rng.random((n, 20)) < 0.1, np.nan, rng.random((n, 20)))),
        figures.rw_figure({"network": rng.random(n), "look-up": [0.0] * n}),
        figures.learning_figure({"train": rng.random(n), "validation": rng.random(n) - 0.5}, best=1),
        figures.sizes_figure({"train": true, "validation": true[:0], "test": true[:1]}),
        figures.bars_figure({f"family {i}": i for i in range(n % 9 + 1)}),
    ]
    for index, figure in enumerate(drawn):
        for path in figures.save(figure, tmp_path / str(index)):
            assert path.stat().st_size > 1000


def test_cumulative_shares_reach_one() -> None:
    figure = figures.rw_figure({"network": [0.3, 0.1, np.nan, 0.2]})
    line = figure.axes[0].lines[0]
    assert line.get_ydata()[-1] == 1.0
    assert line.get_xdata()[-1] == 0.3
    assert "median 0.2" in line.get_label()


def test_several_fits() -> None:
    cases = solved()[0][:3]
    figure = figures.fits_figure([(c.family, c.r, c.g_obs, c.g_calc, c.rw) for c in cases])
    assert [axes.get_visible() for axes in figure.axes] == [True, True, True, False]
