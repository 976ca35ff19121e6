"""What a PDF says of the sizes in its sample: one size, a spread of sizes, or two motifs with a spread each.

Every description is fitted by least squares (`hpcpdf.sample.mixture`); the Bayesian information criterion over the
independent points of the PDF says which of them is worth its parameters, and one structure may be set against it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from hpcpdf.lattice.bounds import FamilyFit, fit_families
from hpcpdf.lattice.shells import PdfData
from hpcpdf.lattice.sphere import CRYSTALS
from hpcpdf.pdf.params import B_PER_U
from hpcpdf.sample.descriptions import Search, criterion, fitted_by
from hpcpdf.sample.errors import StandardErrors
from hpcpdf.sample.mixture import LARGEST, Mixture, MixtureProblem
from hpcpdf.sample.motifs import MOTIFS

Floats = NDArray[np.float64]

_LONG, _ENOUGH, _FOLLOWED = 60.0, 45.0, 3
"""Å; of longer data, descriptions are looked for up to the second, and the best ones then fitted to all of it."""
ONE_STRUCTURE = "one structure"
CLEAR = 6.0
"""Differences of the criterion from here on are strong evidence (Kass & Raftery, J. Am. Stat. Assoc. 90 (1995) 773)."""


@dataclass(frozen=True)
class MotifSizes:
    """One motif of a sample, with standard errors.

    Attributes
    ----------
    family : str
    weight, weight_error : float
        Share of the atoms.
    mean_diameter, mean_diameter_error : float
        Å; mean over the particles, of the spheres of their volumes. It rests on the lognormal law: what a PDF knows is
        `atom_diameter`.
    width, width_error : float
        Å; standard deviation of the particles' diameters.
    atom_diameter, atom_diameter_error : float
        Å; mean diameter of the particle that an atom is in.
    bond, bond_error : float
        Å.
    faults, faults_error : float
        Probability that a close-packed layer begins a twin; 0 where none was worth it.
    """

    family: str
    weight: float
    weight_error: float
    mean_diameter: float
    mean_diameter_error: float
    width: float
    width_error: float
    atom_diameter: float
    atom_diameter_error: float
    bond: float
    bond_error: float
    faults: float = 0.0
    faults_error: float = 0.0


@dataclass(frozen=True)
class Description:
    """One way to describe the sample, and what it spends.

    Attributes
    ----------
    label : str
    rw : float
        Unit weights.
    parameters : int
        Fitted numbers, scales among them.
    bic : float
        n ln R_w² + parameters ln n; the lower, the better.
    """

    label: str
    rw: float
    parameters: int
    bic: float


@dataclass(frozen=True, eq=False)
class Sizes:
    """Sizes and motifs of a sample.

    Attributes
    ----------
    motifs : tuple of MotifSizes
        The heaviest first.
    rw : float
        Unit weights.
    biso, biso_error, delta2, delta2_error : float
        Å²; common to all motifs.
    qdamp, qdamp_error : float
        1/Å; the error is 0 where the instrument is known.
    descriptions : tuple of Description
        What was compared, the best first.
    preferred : bool
        Whether a spread of sizes or a mixture is a better description than one structure or one size.
    sentence : str
        The same in words.
    r, g_calc : (R,)
        Å and Å⁻².
    """

    motifs: tuple[MotifSizes, ...]
    rw: float
    biso: float
    biso_error: float
    delta2: float
    delta2_error: float
    qdamp: float
    qdamp_error: float
    descriptions: tuple[Description, ...]
    preferred: bool
    sentence: str
    r: Floats = field(repr=False)
    g_calc: Floats = field(repr=False)


def fit_sizes(
    data: PdfData,
    fits: Sequence[FamilyFit] | None = None,
    *,
    structure: tuple[float, int] | None = None,
    motifs: Sequence[str] = MOTIFS,
) -> Sizes | None:
    """Sizes and motifs of a sample, with standard errors.

    Parameters
    ----------
    data
        The PDF; its qdamp is kept where it is known. Widths of spreads need one that is: a damped PDF and a small
        particle look alike.
    fits
        What the families can do at best (`fit_families`), to begin with; None: they are made.
    structure
        R_w and number of parameters of one structure that explains the same points, to be compared with.
    motifs
        That the sample may be made of.

    Returns
    -------
    Sizes or None
        None if no peak lies where a first peak may be.
    """
    fits = fit_families(data) if fits is None else fits
    if not fits:
        return None
    problem = MixtureProblem(data)
    part = data.r <= _ENOUGH
    if float(data.r[-1]) > _LONG:
        near = PdfData(data.r[part], data.g[part], data.params, data.qdamp)
        found = Search(MixtureProblem(near), fits, motifs).run()
        likely = sorted(found, key=lambda fitted: fitted.bic)[:_FOLLOWED]
        found = [fitted_by(problem, one.mixture, one.names) for one in likely]
    else:
        found = Search(problem, fits, motifs).run()
    best = min(found, key=lambda fitted: fitted.bic)
    rows = [Description(one.label, math.sqrt(one.misfit), one.parameters, one.bic) for one in found]
    if structure is not None:
        rw, parameters = structure
        rows.append(Description(ONE_STRUCTURE, rw, parameters, criterion(rw**2, data, parameters)))
    rows.sort(key=lambda row: row.bic)
    errors = StandardErrors(problem, best)
    motif_sizes = sorted((_motif(errors, k) for k in range(len(best.mixture.parts))), key=lambda one: -one.weight)
    biso, biso_error = errors.of(lambda mixture, _: mixture.u * B_PER_U)
    delta2, delta2_error = errors.of(lambda mixture, _: mixture.delta2)
    qdamp, qdamp_error = errors.of(lambda mixture, _: mixture.qdamp)
    return Sizes(
        motifs=tuple(motif_sizes),
        rw=math.sqrt(best.misfit),
        biso=biso,
        biso_error=biso_error,
        delta2=delta2,
        delta2_error=delta2_error,
        qdamp=qdamp,
        qdamp_error=qdamp_error,
        descriptions=tuple(rows),
        preferred=rows[0].label == best.label and best.spread and _is_known(motif_sizes),
        sentence=_sentence(motif_sizes, rows, best.label),
        r=data.r,
        g_calc=errors.weights @ errors.curves,
    )


def _is_known(motifs: Sequence[MotifSizes]) -> bool:
    """Whether there are several motifs, or one whose width is told from none."""
    return len(motifs) > 1 or motifs[0].width > 2.0 * motifs[0].width_error


def _motif(errors: StandardErrors, k: int) -> MotifSizes:
    def share(_: Mixture, weights: Floats) -> float:
        return float(weights[k] / max(float(weights.sum()), 1e-300))

    def moment(index: int) -> tuple[float, float]:
        return errors.of(lambda mixture, _: mixture.parts[k].moments()[index])

    part = errors.mixture.parts[k]
    # What a PDF knows is the distribution over atoms: that over particles rests on its law.
    law = part.spread.law() if part.family in CRYSTALS else (0.0, 0.0)
    (mean, mean_error), (width, width_error) = moment(0), moment(1)
    atom_mean, atom_mean_error = moment(2)
    weight, weight_error = errors.of(share)
    bond, bond_error = errors.of(lambda mixture, _: mixture.parts[k].bond)
    faults, faults_error = errors.of(lambda mixture, _: mixture.parts[k].faults)
    return MotifSizes(
        family=part.family,
        weight=weight,
        weight_error=weight_error,
        mean_diameter=mean,
        mean_diameter_error=math.hypot(mean_error, law[0]),
        width=width,
        width_error=math.hypot(width_error, law[1]),
        atom_diameter=atom_mean,
        atom_diameter_error=atom_mean_error,
        bond=bond,
        bond_error=bond_error,
        faults=faults,
        faults_error=faults_error,
    )


def _sentence(motifs: Sequence[MotifSizes], rows: Sequence[Description], label: str) -> str:
    """What is the best description, and by how much."""
    texts = []
    for motif in motifs:
        text = f"{motif.weight:.0%} " if len(motifs) > 1 else ""
        name = f"twinned {motif.family}" if motif.faults > 0.0 else motif.family
        if motif.mean_diameter > 0.99 * LARGEST:
            texts.append(text + f"{name} without an end")
            continue
        text += f"{name} of {motif.atom_diameter:.1f} ± {motif.atom_diameter_error:.1f} Å"
        if motif.width > 2.0 * motif.width_error:
            text += (
                f" (mean over atoms; over particles {motif.mean_diameter:.1f} ± {motif.mean_diameter_error:.1f} Å, "
                f"width {motif.width:.1f} ± {motif.width_error:.1f} Å)"
            )
        elif motif.width > 0.0:
            text += ", width not determined"
        texts.append(text)
    what = "; ".join(texts)
    own = next(row for row in rows if row.label == label)
    # Of mixtures, the best description by one motif is the rival.
    others = [row for row in rows if row is not own and (len(motifs) == 1 or "+" not in row.label)]
    if not others:
        return f"{what} (R_w {own.rw:.4f})"
    rival = others[0]
    gain = rival.bic - own.bic
    if gain >= CLEAR:
        return f"{what} (R_w {own.rw:.4f}), rather than {rival.label} ({rival.rw:.4f}; criterion lower by {gain:.0f})"
    if gain > -CLEAR:
        return f"{what} (R_w {own.rw:.4f}), or {rival.label} ({rival.rw:.4f}): not decided"
    return f"{rival.label} (R_w {rival.rw:.4f}) rather than {what} ({own.rw:.4f}; criterion lower by {-gain:.0f})"
