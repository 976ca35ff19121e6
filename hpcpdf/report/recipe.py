"""``refine.py``: the best candidate once more, by DiffPy-CMI, from the parameters that were found."""

from __future__ import annotations

from hpcpdf.pdf.params import PdfParams
from hpcpdf.reconstruct.solution import Candidate
from hpcpdf.report.structures import formula

_RECIPE = '''\
"""Refine {structure} against the fitted points of {source} with DiffPy-CMI.

Start values are those that hpcpdf found, R_w = {rw:.4f}. Needs diffpy.srfit 3, diffpy.srreal and scipy:
conda install -c conda-forge diffpy.srfit diffpy.srreal
A file named on the command line takes r, G observed and G refined.
"""

import sys
from pathlib import Path

import numpy as np
from diffpy.srfit.fitbase import FitContribution, FitRecipe, FitResults, Profile
from diffpy.srreal.pdfcalculator import DebyePDFCalculator
from diffpy.structure import Atom, Structure
from scipy.optimize import least_squares

HERE = Path(__file__).resolve().parent

# The fitted points: r in angstrom, G in 1/angstrom^2.
r_obs, g_obs = np.loadtxt(HERE / "fit.csv", delimiter=",", skiprows=1, usecols=(0, 1), unpack=True)

rows = [line.split()[:4] for line in (HERE / "{file}").read_text().splitlines()[2:]]
symbols = [row[0] for row in rows]
positions = np.array([row[1:] for row in rows], dtype=float)


def pdf(r, scale, zoom, biso, qdamp, delta2):
    """G(r) of the cluster by the Debye equation."""
    cluster = Structure([Atom(s, xyz=x, Uisoequiv=biso / (8.0 * np.pi**2)) for s, x in zip(symbols, zoom * positions)])
    calculator = DebyePDFCalculator()
    calculator.setScatteringFactorTableByType("{radiation}")
    calculator.qmin, calculator.qmax = {qmin!r}, {qmax!r}
    calculator.qdamp, calculator.qbroad = qdamp, {qbroad!r}
    calculator.delta1, calculator.delta2 = {delta1!r}, delta2
    calculator.rmin, calculator.rstep = r[0], (r[-1] - r[0]) / (len(r) - 1)
    calculator.rmax = r[-1] + 0.5 * calculator.rstep
    x, g = calculator(cluster)
    return scale * np.interp(r, x, g)


profile = Profile()
profile.setObservedProfile(r_obs, g_obs)
contribution = FitContribution("cluster")
contribution.setProfile(profile, xname="r")
contribution.registerFunction(pdf)
contribution.setEquation("pdf")

recipe = FitRecipe()
recipe.clearFitHooks()
recipe.addContribution(contribution)
recipe.addVar(contribution.scale, {scale!r})
recipe.addVar(contribution.zoom, 1.0)  # of the coordinates, which are stretched already
recipe.addVar(contribution.biso, {biso!r})  # angstrom^2
recipe.addVar(contribution.qdamp, {qdamp!r}{qdamp_fixed})  # 1/angstrom
recipe.addVar(contribution.delta2, {delta2!r}{delta2_fixed})  # angstrom^2


def rw():
    """As PDFgui computes it, with unit weights."""
    return np.sqrt(np.sum((g_obs - contribution.evaluate()) ** 2) / np.sum(g_obs**2))


if __name__ == "__main__":
    print(f"R_w to begin with: {{rw():.4f}}")
    least_squares(recipe.residual, recipe.values, x_scale="jac", diff_step=1e-5)
    print(f"R_w refined: {{rw():.4f}}")
    print(FitResults(recipe))
    if len(sys.argv) > 1:
        np.savetxt(sys.argv[1], np.column_stack([r_obs, g_obs, contribution.evaluate()]), delimiter=",")
'''

_FIXED = ", fixed=True"


def recipe(candidate: Candidate, params: PdfParams, source: str, file: str, *, qdamp_known: bool = False) -> str:
    """Text of a Python script that refines a candidate with diffpy.srfit and diffpy.srreal.

    Scale, zoom, Biso, Qdamp unless known and, where it was worth it, δ2 are free; coordinates are not. It reads
    ``fit.csv`` and the structure beside it.

    Parameters
    ----------
    candidate
        What is refined.
    params
        Instrument as it was fitted: qmin, qmax, qbroad, delta1 and radiation count.
    source
        What the data came from, for the reader.
    file
        Name of the candidate's .xyz file.
    qdamp_known
        Whether Qdamp stays as it is, known from a standard.
    """
    return _RECIPE.format(
        structure=f"{formula(candidate)} ({candidate.family})",
        source=_plain(source),
        rw=candidate.rw,
        file=file,
        radiation={"xray": "X", "neutron": "N"}[params.radiation],
        qmin=float(params.qmin),
        qmax=float(params.qmax),
        qbroad=float(params.qbroad),
        delta1=float(params.delta1),
        scale=float(candidate.scale),
        biso=float(candidate.biso),
        qdamp=float(candidate.qdamp),
        delta2=float(candidate.delta2),
        qdamp_fixed=_FIXED if qdamp_known else "",
        delta2_fixed="" if candidate.delta2 else _FIXED,
    )


def _plain(text: str) -> str:
    """Text that may stand in a docstring, whatever a file is called."""
    return "".join(c if c.isprintable() and c not in '"\\' else "_" for c in text)
