"""Where the signal of a PDF ends, from the data alone: particles of known diameter, noise of known size."""

from __future__ import annotations

import os
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from ase.cluster import Icosahedron, Octahedron
from scipy.spatial.distance import pdist

from hpcpdf import PdfParams, fit_pdf, read_gr, simulate_pdf
from hpcpdf.cli.main import main
from hpcpdf.errors import ConfigError
from hpcpdf.pdf.gr import MeasuredPdf, write_gr
from hpcpdf.pdf.range import LEAST, auto_rmax, chosen_range, signal_end

BOND = 2.77
PARTICLES = {
    "octahedron": Octahedron("Pt", 5, 1, latticeconstant=BOND * np.sqrt(2.0)).positions,
    "larger": Octahedron("Pt", 9, 3, latticeconstant=BOND * np.sqrt(2.0)).positions,
    "icosahedron": Icosahedron("Pt", 4, latticeconstant=BOND * np.sqrt(2.0)).positions,
}
INSTRUMENTS = {
    "sharp": PdfParams(rmax=40.0, rstep=0.05, qmin=0.8, qmax=25.0, qdamp=0.01, biso=0.3),
    "broad": PdfParams(rmax=40.0, rstep=0.1, qmin=1.1, qmax=20.5, qdamp=0.06, biso=0.8),
}


@cache
def clean(particle: str, instrument: str) -> MeasuredPdf:
    params = INSTRUMENTS[instrument]
    return MeasuredPdf(*simulate_pdf(PARTICLES[particle], params), None, params.qmin, params.qmax)


def noisy(pdf: MeasuredPdf, level: float, seed: int, qdamp: float = 0.0) -> MeasuredPdf:
    """White noise in F(Q), relative to the root mean square of F, damped by `qdamp` in r."""
    rng = np.random.default_rng(seed)
    q = np.arange(pdf.qmin or 0.0, pdf.qmax or 0.0, 0.04)
    sine = np.sin(np.outer(q, pdf.r))
    f = sine @ pdf.g * pdf.rstep
    noise = rng.normal(0.0, level * np.sqrt(np.mean(f**2)), q.size) @ sine * (2.0 / np.pi * 0.04)
    return replace(pdf, g=pdf.g + noise * np.exp(-0.5 * (qdamp * pdf.r) ** 2))


@pytest.mark.parametrize("particle", PARTICLES)
@pytest.mark.parametrize("instrument", INSTRUMENTS)
def test_a_clean_signal_ends_at_the_longest_distance(particle: str, instrument: str) -> None:
    diameter = float(pdist(PARTICLES[particle]).max())
    end = signal_end(clean(particle, instrument))
    assert diameter - BOND <= end <= diameter + 2.5 * BOND
    assert diameter <= auto_rmax(clean(particle, instrument)) <= 40.0


@pytest.mark.parametrize("damped", [False, True])
@pytest.mark.parametrize("level", [0.02, 0.05])
def test_noise_hides_the_end_but_is_no_signal(level: float, damped: bool) -> None:
    for instrument, params in INSTRUMENTS.items():
        ends = []
        for seed in range(12):
            pdf = noisy(clean("octahedron", instrument), level, seed, params.qdamp if damped else 0.0)
            ends.append(signal_end(pdf))
            assert LEAST <= auto_rmax(pdf) <= pdf.r[-1]
        diameter = float(pdist(PARTICLES["octahedron"]).max())
        assert diameter - 2.5 * BOND < np.median(ends) < diameter + BOND
        # The farthest of twelve is no outlier in the noise.
        assert max(ends) < diameter + 2.0 * BOND


def test_more_noise_never_shows_more() -> None:
    pdf = clean("larger", "sharp")
    means = [np.mean([signal_end(noisy(pdf, level, seed)) for seed in range(6)]) for level in (0.005, 0.05, 0.5)]
    assert means[0] >= means[1] >= means[2]
    assert means[0] > means[2] + BOND


@pytest.mark.parametrize("level", [0.0, 0.02])
def test_data_that_end_before_the_signal_are_used_to_their_end(level: float) -> None:
    pdf = noisy(clean("larger", "sharp"), level, 3)
    for end in (9.0, 14.0, 18.0):
        part = pdf.between(0.0, end)
        assert signal_end(part) == auto_rmax(part) == part.r[-1]


def test_the_scale_and_the_step_of_the_data_make_no_difference() -> None:
    pdf = noisy(clean("octahedron", "sharp"), 0.02, 1)
    end = signal_end(pdf)
    assert signal_end(replace(pdf, g=1e-4 * pdf.g)) == end
    fine = np.arange(0.0, float(pdf.r[-1]), 0.01)
    assert signal_end(replace(pdf, r=fine, g=pdf.on_grid(fine)[0])) == pytest.approx(end, abs=2.1)


def test_data_that_begin_late_and_know_no_q() -> None:
    pdf = noisy(clean("octahedron", "sharp"), 0.02, 1)
    part = pdf.between(1.5, 40.0)
    end = signal_end(MeasuredPdf(part.r, part.g))
    assert end == pytest.approx(signal_end(pdf), abs=4.1)


def test_a_few_points_are_all_used() -> None:
    short = MeasuredPdf(np.arange(12) * 0.2, np.sin(np.arange(12.0)))
    assert auto_rmax(short) == short.r[-1]


def test_ranges() -> None:
    pdf = clean("octahedron", "sharp")
    assert chosen_range(pdf, (1.5, 20)) == (1.5, 20.0)
    assert chosen_range(pdf, (1.5, "auto")) == (1.5, auto_rmax(pdf))
    with pytest.raises(ConfigError, match="expected a number of Å or 'auto'"):
        chosen_range(pdf, (1.5, "far"))
    for wrong in ((3.0, 2.0), (-1.0, 5.0), (39.0, "auto")):
        with pytest.raises(ConfigError, match="0 <= low < high"):
            chosen_range(pdf, wrong)


def test_a_fit_says_how_far_it_went() -> None:
    pdf = clean("octahedron", "sharp")
    fit = fit_pdf(PARTICLES["octahedron"], pdf, (1.5, "auto"))
    assert fit.r[-1] == pytest.approx(auto_rmax(pdf), abs=0.05)
    assert fit.rw < 1e-3
    assert any("the signal sinks into noise" in note for note in fit.notes)


def test_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    pdf = clean("octahedron", "sharp")
    write_gr(tmp_path / "a.gr", pdf)
    base = ["solve", str(tmp_path / "a.gr"), "-e", "Pt", "-o", str(tmp_path / "out"), "--dry-run", "--rmax"]
    assert main([*base, "auto"]) == 0
    assert f"fitted up to {auto_rmax(pdf):g} A" in capsys.readouterr().out
    assert main([*base, "17.5"]) == 0
    assert main([*base, "far"]) == 2
    assert "neither a number of angstrom nor 'auto'" in " ".join(capsys.readouterr().err.split())


MEASURED = os.environ.get("HPCPDF_MEASURED")


@pytest.mark.skipif(not MEASURED, reason="HPCPDF_MEASURED names no folder with measured PDFs")
@pytest.mark.parametrize(("name", "low", "high"), [("JQ_S1", 34, 47), ("Au144pMBA", 11, 17), ("Ni-bulk", 60, 60)])
def test_measured(name: str, low: float, high: float) -> None:
    """Platinum fades out near 40 Å of 50; a cluster of 144 atoms is 15 Å wide; bulk nickel goes on to the end."""
    assert low <= signal_end(read_gr(Path(MEASURED or "") / f"{name}.gr")) <= high
