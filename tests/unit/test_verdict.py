"""One word for an answer, from its numbers alone."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from math import nan

import numpy as np
import pytest
from report_cases import clusters, solved
from solutions import posterior

from hpcpdf.reconstruct.solution import Candidate, Posterior, Sample, Solution
from hpcpdf.reconstruct.verdict import verdict, weigh
from hpcpdf.report.judge import judge

_NONE = Posterior()


def best(rw: float) -> Candidate:
    return replace(solved()[0][0], rw=rw)


def ragged(rw: float) -> Candidate:
    atoms = clusters()[0][0]
    outer = np.argsort(np.linalg.norm(atoms.positions, axis=1))[-8:]
    atoms.positions[outer] *= 1.0 + 1.5 / np.linalg.norm(atoms.positions[outer], axis=1, keepdims=True)
    return replace(best(rw), atoms=atoms)


@pytest.mark.parametrize(
    ("rw", "word"), [(0.0, "good"), (0.15, "good"), (0.16, "fair"), (0.4, "fair"), (0.41, "poor"), (nan, "poor")]
)
def test_a_single_compact_candidate(rw: float, word: str) -> None:
    assert verdict([best(rw)], 0.8, 22.0, _NONE) == word


@pytest.mark.parametrize(("rw", "word"), [(0.1, "fair"), (0.24, "fair"), (0.26, "poor")])
def test_loose_atoms_are_never_good(rw: float, word: str) -> None:
    assert verdict([ragged(rw)], 0.8, 22.0, _NONE) == word


def test_candidates_that_fit_alike_must_agree() -> None:
    other = replace(solved()[0][1], rw=0.102)
    assert verdict([best(0.1), other], 0.8, 22.0, _NONE) == "fair"
    assert verdict([best(0.1), replace(other, rw=0.12)], 0.8, 22.0, _NONE) == "good"


def test_the_posterior_decides_what_else_explains_the_data() -> None:
    narrow = Posterior(tuple(Sample(79 + k % 3, 12.4, 8.5, "fcc", 1.0) for k in range(30)))
    wide = Posterior(tuple(Sample(79 + 3 * k, 12.4 + 0.1 * k, 8.5, "fcc", 1.0) for k in range(30)))
    mixed = Posterior((*narrow.samples, Sample(79, 12.4, 8.5, "decahedron", 10.0)))
    other = replace(solved()[0][1], rw=0.102)
    assert verdict([best(0.1), other], 0.8, 22.0, narrow) == "good"
    assert verdict([best(0.1)], 0.8, 22.0, wide) == "fair"
    assert verdict([best(0.1)], 0.8, 22.0, mixed) == "fair"
    assert weigh([best(0.1)], 0.8, 22.0, mixed).open == ("structure type",)
    assert weigh([best(0.1)], 0.8, 22.0, wide).open == ("number of atoms", "largest distance")


def test_the_report_uses_the_word_of_the_answer() -> None:
    cases, pdf = solved()
    plain = judge(cases, pdf)
    assert plain.verdict == verdict(cases, pdf.qmin, pdf.qmax, _NONE)
    kept = Solution(candidates=tuple(cases), verdict="poor", posterior=posterior())
    assert judge(kept, pdf).verdict == "poor"


def test_the_verdict_needs_neither_torch_nor_matplotlib_nor_the_report() -> None:
    code = "import sys, hpcpdf.reconstruct.verdict; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], timeout=120, capture_output=True, text=True, check=True)
    assert not {"torch", "matplotlib", "hpcpdf.report", "scipy.stats"} & set(done.stdout.split())
