"""What is in the form of a PDF but of no particle: it is solved, and called poor wherever the answer is read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hpcpdf import read_solution, solve
from hpcpdf.cli.main import main
from hpcpdf.pdf.gr import MeasuredPdf

NOISE = Path(__file__).parent / "data" / "cases" / "noise_only.gr"


def test_noise_is_called_poor_everywhere(tmp_path, capsys):
    out = tmp_path / "out"
    call = ["solve", str(NOISE), "-e", "Pt", "--effort", "quick", "--no-refine", "--rmax", "9", "--out", str(out)]
    assert main(call) == 0
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith("verdict: poor (R_w 0.9") for line in lines)
    # The last word, whatever else scrolled by.
    assert lines[-1].startswith(f"poor fit, draw no conclusions from its structures: {NOISE} (R_w 0.9")
    assert read_solution(out).verdict == "poor"
    html = (out / "report.html").read_text()
    assert 'class="word poor"' in html
    assert 'class="tag poor"' in html


R = np.round(np.arange(0.0, 9.01, 0.05), 3)


def curves() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(5)
    q = np.arange(1.0, 22.0, 0.1)
    return {
        "white on a slope": rng.normal(size=R.size) - 0.1 * R,
        "of the band of the measurement": np.sin(np.outer(R, q)) @ rng.normal(size=q.size),
        "a walk": np.cumsum(rng.normal(size=R.size)),
        "damped wave": np.exp(-R / 3.0) * np.cos(5.0 * R),
    }


@pytest.mark.parametrize("kind", curves())
def test_other_curves_without_a_particle(kind):
    found = solve(
        MeasuredPdf(R, curves()[kind], None, 1.0, 22.0), "Pt", effort="quick", refine=False, r_range=(1.5, 9.0), top=3
    )
    assert found.verdict == "poor"
    assert all(len(one.atoms) >= 2 for one in found)
